import { readHoldings } from '../api/holdings.ts';
import { portIdentity, type ServicePort, type ServiceView } from '../api/service.ts';
import type { Entry, Holds, Millis, PortGrant, PreviousOwner } from './types.ts';

/** Owners before the present one that an entry remembers. */
const PREVIOUS_OWNERS = 3;

/** A released number is kept as history that long, unless it is used again before. */
export const HISTORY: Millis = 30 * 24 * 3_600_000;

/** The entry's text in the table: JSON, so that people, `jq` and we can read it. */
export function formatEntry(entry: Entry): string {
  const { since, until, released, previous, ...rest } = entry;
  return JSON.stringify({
    ...rest,
    since: iso(since),
    ...(released === undefined ? {} : { released: iso(released) }),
    ...(until === undefined ? {} : { until: iso(until) }),
    ...(previous === undefined || previous.length === 0
      ? {}
      : { previous: previous.map(({ service, from, to }) => ({ service, from: iso(from), to: iso(to) })) }),
  });
}

/** Reads an entry back; undefined when it is not one. Never throws: people edit tables. */
export function parseEntry(text: string): Entry | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof raw !== 'object' || raw === null) return undefined;
  const { state, service, uid, ports, range, request, since, until, released, previous } = raw as Record<
    string,
    unknown
  >;
  if (state !== 'Held' && state !== 'Released') return undefined;
  if (!isText(service) || !isText(uid) || !isText(range) || !isText(request)) return undefined;
  if (!Array.isArray(ports) || !ports.every(isText)) return undefined;
  const times = [since, until, released].map((time) => (time === undefined ? undefined : parseTime(time)));
  const [sinceMs, untilMs, releasedMs] = times;
  if (sinceMs === undefined || times.some(Number.isNaN) || (state === 'Released' && untilMs === undefined))
    return undefined;
  return {
    state,
    service,
    uid,
    ports,
    range,
    request,
    since: sinceMs,
    ...(untilMs === undefined ? {} : { until: untilMs }),
    ...(releasedMs === undefined ? {} : { released: releasedMs }),
    ...readPrevious(previous),
  };
}

/** The entry of a number that this Service is given, or has and keeps. */
export function heldEntry(
  service: ServiceView,
  { range, request }: Pick<Holds, 'range' | 'request'>,
  { ports }: PortGrant,
  before: Entry | undefined,
  now: Millis,
): Entry {
  const continues = before?.state === 'Held' && before.uid === service.uid;
  const previous = continues ? (before.previous ?? []) : previousOwners(before, service.key);
  return {
    state: 'Held',
    service: service.key,
    uid: service.uid,
    ports: ports.map(portIdentity),
    range,
    request,
    since: continues ? before.since : now,
    ...(previous.length === 0 ? {} : { previous }),
  };
}

/** The entry after its owner lost the number: it rests for `cooldown` ms, then is history. */
export function released(entry: Entry, now: Millis, cooldown: Millis): Entry {
  return { ...entry, state: 'Released', released: now, until: now + cooldown };
}

/**
 * When a released number has rested. Never further away than the cooldown is long: the clock that wrote it may have been
 * ahead of ours.
 */
export function endOfRest({ released = 0, until = 0 }: Entry, now: Millis): Millis {
  return Math.min(until, now + until - released);
}

/**
 * The entry of a number whose reservation came to nothing: who had it before is history again. Nobody returns to the
 * number by it, because for which ports it was is not remembered. Undefined: nobody had it before.
 */
export function givenUp({ range, previous = [] }: Entry): Entry | undefined {
  const [last, ...earlier] = previous;
  if (last === undefined) return undefined;
  const { service, from: since, to } = last;
  const ended = { state: 'Released', service, uid: '', ports: [], range, request: '', since } as const;
  return { ...ended, released: to, until: to, ...(earlier.length === 0 ? {} : { previous: earlier }) };
}

/** The history that a new owner's entry inherits from the one it replaces. */
export function previousOwners(before: Entry | undefined, newOwner: string): readonly PreviousOwner[] {
  if (before === undefined) return [];
  const earlier = before.previous ?? [];
  if (before.service === newOwner) return earlier;
  const { service, since, released: to = since } = before;
  return [{ service, from: since, to }, ...earlier].slice(0, PREVIOUS_OWNERS);
}

/** What it means that the table has this Service as the owner now; undefined: it had it before, or adopts what it has. */
export function newsOf(
  { uid, condition }: ServiceView,
  grant: PortGrant,
  before: Entry | undefined,
): 'reserved' | 'rebuilt' | undefined {
  if (before?.state === 'Held' && before.uid === uid) return undefined;
  if (isToBeWritten(grant)) return 'reserved';
  const told = condition === undefined ? undefined : readHoldings(condition.message);
  return told?.numbers.includes(grant.number) === true ? 'rebuilt' : undefined;
}

/** Whether the Service does not have the number yet on all the ports that it is for. */
export function isToBeWritten({ number, ports }: PortGrant): boolean {
  return ports.some(({ nodePort }) => nodePort !== number);
}

/** The same owner, number and request, whatever the times say. */
export function sameHolding(a: Entry, b: Entry): boolean {
  return (
    a.state === b.state &&
    a.uid === b.uid &&
    a.service === b.service &&
    a.range === b.range &&
    a.request === b.request &&
    a.ports.length === b.ports.length &&
    a.ports.every((port, i) => port === b.ports[i])
  );
}

/** Whether a recorded identity (`http:80/TCP`) means one of these ports: the name is the same, or port and protocol. */
export function concerns(recorded: readonly string[], ports: readonly ServicePort[]): boolean {
  return recorded.some((text) => {
    const colon = text.indexOf(':');
    const name = text.slice(0, colon);
    const rest = text.slice(colon + 1);
    return ports.some(
      (port) => (name !== '' && name === port.name) || rest === `${port.port}/${port.protocol}`,
    );
  });
}

function readPrevious(raw: unknown): { previous?: readonly PreviousOwner[] } {
  if (!Array.isArray(raw)) return {};
  const previous = raw.flatMap((item: unknown) => {
    const { service, from, to } = (item ?? {}) as Record<string, unknown>;
    const owner = { service, from: parseTime(from), to: parseTime(to) };
    return isText(owner.service) && !Number.isNaN(owner.from + owner.to)
      ? [{ ...owner, service: owner.service }]
      : [];
  });
  return { previous };
}

function parseTime(value: unknown): Millis {
  return isText(value) ? Date.parse(value) : Number.NaN;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function iso(time: Millis): string {
  return new Date(time).toISOString().replace('.000Z', 'Z');
}
