import { readHoldings } from '../api/holdings.ts';
import { FIELD_MANAGER } from '../api/names.ts';
import { numbersOf, type ServicePort, type ServiceView } from '../api/service.ts';
import { quote } from '../api/text.ts';
import type { Port } from '../ports/portSet.ts';
import { concerns } from './entry.ts';
import { predates } from './request.ts';
import type { Entry, Owner, Request, Snapshot } from './types.ts';
import { isOnTemporary, THERE_FIRST } from './words.ts';

/**
 * Ports of a Service that have, or shall have, one number: entries that share a `port` (TCP+UDP). Where one `port`
 * has two numbers that are held or claimed, each number is a slot of its own; a random number beside them is none:
 * its port joins.
 */
export interface Slot {
  readonly ports: readonly ServicePort[];
  /** What it has now; 0: nothing yet. */
  readonly number: Port | 0;
  /** What the request names for it. */
  readonly wanted: Port | undefined;
  /**
   * held: granted before. claimed: not ours to change, whatever we were asked. random: the apiserver picked it.
   * none: no number yet.
   */
  readonly state: 'held' | 'claimed' | 'random' | 'none';
  /** Why it is not ours to rewrite, whether it is held or not: who pinned it, or what it was there before. */
  readonly claim: string | undefined;
}

/** A managed Service seen through what was granted to it: what every check looks at. */
export interface Situation extends Snapshot {
  readonly request: Request;
  readonly owner: Owner;
  readonly slots: readonly Slot[];
  /** The table's entries of this Service, reservations included. */
  readonly entries: ReadonlyMap<Port, Entry>;
  /** What its condition says that it holds. */
  readonly told: readonly Port[];
  /** The range that what it holds was granted from, when it holds anything and that is known. */
  readonly grantedFrom: string | undefined;
  /** The request that was honoured, when it holds anything and that is recorded. */
  readonly honoured: string | undefined;
  /** Its own request differs from the one that was honoured: it wants to move. A lost record counts as unchanged. */
  readonly requestChanged: boolean;
}

/** Puts together who holds what. The table is asked first, then the condition, which survives a lost table. */
export function situationOf(snapshot: Snapshot, request: Request): Situation {
  const { now, seed, service, namespace, ranges, ledger } = snapshot;
  const entries = ledger.entriesOf(service.uid);
  const told = service.condition === undefined ? undefined : readHoldings(service.condition.message);
  // By port: what is reserved for one may be on another, where the apiserver picked just that.
  const isHeld = (port: ServicePort): boolean =>
    concerns(entries.get(port.nodePort)?.ports ?? NOTHING, [port]) ||
    (told?.numbers.includes(port.nodePort) ?? false);
  const slots = slotsOf(service, request, isHeld, wasThereFirst(snapshot, request, told?.numbers));
  let grantedFrom: string | undefined;
  let honoured: string | undefined;
  for (const { state, number } of slots) {
    const entry = state === 'held' ? entries.get(number) : undefined;
    if (entry === undefined) continue;
    if (entry.range !== '') grantedFrom ??= entry.range;
    // A crash in the midst of a move leaves the new request on what it keeps: the old one counts until it is nowhere.
    if (entry.request !== '' && (honoured === undefined || honoured === request.text))
      honoured = entry.request;
  }
  const owner = { key: service.key, uid: service.uid };
  grantedFrom ??= told?.range;
  const requestChanged = request.source === 'service' && honoured !== undefined && honoured !== request.text;
  return {
    now,
    seed,
    service,
    namespace,
    ranges,
    ledger,
    request,
    owner,
    slots,
    entries,
    told: told?.numbers ?? [],
    grantedFrom,
    honoured,
    requestChanged,
  };
}

const NOTHING: readonly string[] = [];

/**
 * Which ports were on their numbers before the default reached the Service, so that it never moves them. The condition
 * remembers: what it calls temporary was not there first, and of a holder it is what the condition says was.
 */
function wasThereFirst(
  { service, ledger }: Snapshot,
  { since }: Request,
  told: readonly Port[] | undefined,
): (port: ServicePort) => boolean {
  if (!predates(service, since, ledger.gotNodePortsAt(service.uid))) return () => false;
  const message = service.condition?.message ?? '';
  if (told !== undefined) return ({ nodePort }) => message.endsWith(THERE_FIRST) && told.includes(nodePort);
  const isNew = isOnTemporary(message) || isMoving(service, ledger.entriesOf(service.uid));
  return () => !isNew;
}

/** Killed before it was told: a number that is reserved and not there yet, or that we wrote, says that it was to move. */
function isMoving(service: ServiceView, entries: ReadonlyMap<Port, Entry>): boolean {
  if (entries.size === 0) return false;
  const present = new Set(numbersOf(service));
  return (
    [...entries.keys()].some((port) => !present.has(port)) ||
    service.ports.some(({ owner }) => owner === FIELD_MANAGER)
  );
}

/** A port, and what keeps it on its number. */
interface Seen {
  readonly port: ServicePort;
  readonly isHeld: boolean;
  readonly claim: string | undefined;
}

function slotsOf(
  { ports, allocatesNodePorts }: ServiceView,
  request: Request,
  isHeld: (port: ServicePort) => boolean,
  isFirst: (port: ServicePort) => boolean,
): Slot[] {
  const seen = (allocatesNodePorts ? ports : ports.filter(({ nodePort }) => nodePort !== 0)).map(
    (port): Seen =>
      port.nodePort === 0
        ? { port, isHeld: false, claim: undefined }
        : { port, isHeld: isHeld(port), claim: claimOf(port, isFirst) },
  );
  // Nearly every Service has one port.
  if (seen.length === 1) return [slotOf(seen, request)];
  /** By number; where there is none yet by `port`, negative. */
  const slots = new Map<number, Seen[]>();
  for (const each of seen) {
    const id = numberAmong(seen, each) || -each.port.port;
    const slot = slots.get(id);
    if (slot === undefined) slots.set(id, [each]);
    else slot.push(each);
  }
  return Array.from(slots.values(), (together) => slotOf(together, request));
}

function isFixed({ isHeld, claim }: Seen): boolean {
  return isHeld || claim !== undefined;
}

/** Its own number, if that stays; else the one of an entry with the same `port`, first of those that stay. 0: none. */
function numberAmong(all: readonly Seen[], one: Seen): Port | 0 {
  if (isFixed(one)) return one.port.nodePort;
  let first = 0;
  for (const other of all) {
    const { port, nodePort } = other.port;
    if (port !== one.port.port || nodePort === 0) continue;
    if (isFixed(other)) return nodePort;
    if (first === 0) first = nodePort;
  }
  return first;
}

function slotOf(together: readonly Seen[], request: Request): Slot {
  const ports = together.map(({ port }) => port);
  const wanted = request.wanted.get(String(ports[0]?.port));
  const number =
    (together.find(isFixed)?.port ?? ports.find(({ nodePort }) => nodePort !== 0))?.nodePort ?? 0;
  if (number === 0) return { ports, number, wanted, state: 'none', claim: undefined };
  const on = together.filter(({ port }) => port.nodePort === number);
  const claim = on.find((each) => each.claim !== undefined)?.claim;
  // Our own mark proves nothing: a type flip leaves it on a number that the apiserver picked at random.
  const state = on.some(({ isHeld }) => isHeld) ? 'held' : claim === undefined ? 'random' : 'claimed';
  return { ports, number, wanted, state, claim };
}

/** Why the number of a port is not ours to rewrite. */
function claimOf(port: ServicePort, isFirst: (port: ServicePort) => boolean): string | undefined {
  const { owner } = port;
  if (owner !== undefined && owner !== FIELD_MANAGER) return `pinned by ${quote(owner)}`;
  return isFirst(port) ? THERE_FIRST : undefined;
}
