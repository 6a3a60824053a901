/**
 * What each Service is known to show, so that each change of it is told once: not again after a retry, a lost answer or
 * a restart, because what was told before us stands in its condition.
 */
import { concerns } from '../allocation/entry.ts';
import type { Decision, Entry, PortGrant } from '../allocation/types.ts';
import { readHoldings } from '../api/holdings.ts';
import { FIELD_MANAGER } from '../api/names.ts';
import { numbersOf, type ServiceView } from '../api/service.ts';
import type { Port } from '../ports/portSet.ts';

/** A number that a Service has got. */
export interface Gain {
  readonly outcome: 'assigned' | 'adopted' | 'moved';
  readonly grant: PortGrant;
  /** The number that its ports were on before; undefined: none, or this one. */
  readonly from: Port | undefined;
}

type Table = (uid: string) => ReadonlyMap<Port, Entry>;

interface Known {
  /** Number → the range that it counts for. */
  held: Map<Port, string>;
  /** The refusal that it shows. */
  refusal: string | undefined;
  /** Our last write to it was not answered: what it shows may be by us. */
  isUnanswered: boolean;
  /** Where a number that it is being given leads away from. */
  origins: Map<Port, { readonly from: Port; readonly moves: boolean }>;
}

export interface KnownServices {
  /** Before the decision is folded in. */
  decided(service: ServiceView, decision: Decision, entriesOf: Table): void;
  /** Our write to the Service was not answered. */
  unanswered(service: ServiceView): void;
  /**
   * The Service shows what was decided; `byUs`: we wrote something. What is new about its numbers, and whether its refusal
   * is. What another process of ours wrote is told by that.
   */
  shows(service: ServiceView, decision: Decision, byUs: boolean): { gains: Gain[]; isRefused: boolean };
  /** The apiserver refused a write: whether that is news. */
  isNewRefusal(service: ServiceView, text: string): boolean;
  forget(uid: string): void;
}

export function createKnownServices(): KnownServices {
  const all = new Map<string, Known>();

  /** Of a Service that is gone meanwhile nothing is kept. */
  const knownOf = (service: ServiceView): Known => all.get(service.uid) ?? asShown(service, () => NOTHING);

  return {
    decided(service, decision, entriesOf) {
      let known = all.get(service.uid);
      if (known === undefined) all.set(service.uid, (known = asShown(service, entriesOf)));
      const { held, origins } = known;
      // What it has lost, and gets again, is news.
      const present = held.size === 0 ? [] : numbersOf(service);
      for (const number of held.keys()) if (!present.includes(number)) held.delete(number);
      if (decision.do !== 'assign' && decision.do !== 'keep') return;
      for (const grant of decision.grants) {
        if (held.has(grant.number)) continue;
        const origin = originOf(service, decision.grants, grant, entriesOf(service.uid));
        if (origin !== undefined) origins.set(grant.number, origin);
      }
    },
    unanswered(service) {
      knownOf(service).isUnanswered = true;
    },
    shows(service, decision, byUs) {
      const known = knownOf(service);
      const { held, refusal, origins, isUnanswered } = known;
      const holds = decision.do === 'refuse' ? decision.holds : 'grants' in decision ? decision : undefined;
      known.held = new Map(holds?.grants.map(({ number }) => [number, holds.range]));
      known.refusal = decision.do === 'refuse' ? textOf(decision.verdict) : undefined;
      known.origins = new Map();
      known.isUnanswered = false;
      if (!byUs && !isUnanswered) return { gains: [], isRefused: false };
      if (decision.do !== 'assign' && decision.do !== 'keep')
        return { gains: [], isRefused: known.refusal !== undefined && known.refusal !== refusal };
      const gains = decision.grants
        .filter(({ number }) => held.get(number) !== decision.range)
        .map((grant) => gainOf(service, grant, origins.get(grant.number)));
      return { gains, isRefused: false };
    },
    isNewRefusal(service, text) {
      const known = knownOf(service);
      if (known.refusal === text) return false;
      known.refusal = text;
      return true;
    },
    forget: (uid) => void all.delete(uid),
  };
}

/** What was told before, as far as the condition tells. */
function asShown(service: ServiceView, entriesOf: Table): Known {
  const { condition, uid } = service;
  const origins = new Map<Port, never>();
  if (condition?.reason === 'Pending') {
    // Killed in the midst of a move: it kept what it has and is not for the ports of a number that it was to leave.
    const present = numbersOf(service);
    const entries = entriesOf(uid);
    const left = new Set(
      [...condition.message.matchAll(/\d+/g)].flatMap(([port]) => entries.get(Number(port))?.ports ?? []),
    );
    const own = [...entries].filter(
      ([port, { ports }]) => present.includes(port) && !ports.some((each) => left.has(each)),
    );
    const held = new Map(own.map(([port, { range }]) => [port, range]));
    return { held, refusal: undefined, isUnanswered: false, origins };
  }
  const told = condition === undefined ? undefined : readHoldings(condition.message);
  const refusal = condition?.status === 'False' ? textOf(condition) : undefined;
  const held = new Map(told?.numbers.map((port) => [port, told.range]));
  return { held, refusal, isUnanswered: false, origins };
}

function originOf(
  service: ServiceView,
  grants: readonly PortGrant[],
  { number, ports }: PortGrant,
  entries: ReadonlyMap<Port, Entry>,
): { from: Port; moves: boolean } | undefined {
  const { condition } = service;
  const told = readHoldings(condition?.message ?? '')?.numbers ?? [];
  const present = numbersOf(service);
  // A reservation that came to nothing is nowhere: not on the Service, nor in what it shows.
  const wasThere = (port: Port): boolean =>
    present.includes(port) || told.includes(port) || condition?.reason === 'Pending';
  for (const [port, entry] of entries) {
    const isKept = grants.some((grant) => grant.number === port);
    if (!isKept && concerns(entry.ports, ports) && wasThere(port)) return { from: port, moves: true };
  }
  const now = ports.find(({ nodePort }) => nodePort !== 0 && nodePort !== number)?.nodePort;
  return now === undefined ? undefined : { from: now, moves: told.includes(now) };
}

function gainOf(
  service: ServiceView,
  grant: PortGrant,
  origin: { from: Port; moves: boolean } | undefined,
): Gain {
  if (origin?.moves === true) return { outcome: 'moved', grant, from: origin.from };
  const isWritten = grant.ports.some(
    ({ nodePort, owner }) => nodePort !== grant.number || owner === FIELD_MANAGER,
  );
  return { outcome: isWritten ? 'assigned' : 'adopted', grant, from: origin?.from };
}

function textOf({ reason, message }: { reason: string; message: string }): string {
  return `${reason}: ${message}`;
}

const NOTHING: ReadonlyMap<Port, Entry> = new Map();
