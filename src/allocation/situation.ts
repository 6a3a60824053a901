import { FIELD_MANAGER } from '../api/names.ts';
import { readHoldings } from '../api/holdings.ts';
import type { ServicePort } from '../api/service.ts';
import type { Port } from '../ports/portSet.ts';
import { concerns } from './entry.ts';
import type { Entry, Owner, Request, Snapshot } from './types.ts';

/**
 * Ports of a Service that have, or shall have, one number: entries that share a `port` (TCP+UDP). Where one `port`
 * has two numbers that are held or claimed, each number is a slot of its own; a random number beside them is none:
 * its port joins.
 */
export interface Slot {
  readonly ports: readonly ServicePort[];
  /** What it has now; 0: nothing yet. */
  readonly number: Port | 0;
  /**
   * held: granted before. claimed: another manager owns the number. random: the apiserver picked it.
   * none: no number yet.
   */
  readonly state: 'held' | 'claimed' | 'random' | 'none';
  /** The other manager that owns the number, whether it is held or only claimed: it is never rewritten. */
  readonly claimedBy?: string;
}

/** A managed Service seen through what was granted to it: what every check looks at. */
export interface Situation extends Snapshot {
  readonly request: Request;
  readonly owner: Owner;
  readonly slots: readonly Slot[];
  /** The table's entries of this Service, reservations included. */
  readonly entries: ReadonlyMap<Port, Entry>;
  /** The range that what it holds was granted from, when it holds anything and that is known. */
  readonly grantedFrom: string | undefined;
  /** The request that was honoured, when it holds anything and that is recorded. */
  readonly honoured: string | undefined;
  /** Its own request differs from the one that was honoured: it wants to move. A lost record counts as unchanged. */
  readonly requestChanged: boolean;
}

/** Puts together who holds what. The table is asked first, then the condition, which survives a lost table. */
export function situationOf(snapshot: Snapshot, request: Request): Situation {
  const { service, ledger } = snapshot;
  const entries = ledger.entriesOf(service.uid);
  const told = service.condition === undefined ? undefined : readHoldings(service.condition.message);
  // By port: what is reserved for one may be on another, where the apiserver picked just that.
  const isHeld = (port: ServicePort): boolean =>
    concerns(entries.get(port.nodePort)?.ports ?? [], [port]) ||
    (told?.numbers.includes(port.nodePort) ?? false);
  const ports = service.ports.filter((port) => hasNumber(port) || service.allocatesNodePorts);
  const slots = slotsOf(ports, isHeld);
  const held = slots.flatMap(({ state, number }) => (state === 'held' ? (entries.get(number) ?? []) : []));
  const honoured = held.find((entry) => entry.request !== '')?.request;
  return {
    ...snapshot,
    request,
    owner: { key: service.key, uid: service.uid },
    slots,
    entries,
    grantedFrom: held.find(({ range }) => range !== '')?.range ?? told?.range,
    honoured,
    requestChanged: honoured !== undefined && honoured !== request.text,
  };
}

function slotsOf(ports: readonly ServicePort[], isHeld: (port: ServicePort) => boolean): Slot[] {
  const isFixed = (port: ServicePort): boolean =>
    port.nodePort !== 0 && (isHeld(port) || claimantOf(port) !== undefined);
  const slots = new Map<string, ServicePort[]>();
  for (const port of ports) {
    const siblings = ports.filter((p) => p.port === port.port && p.nodePort !== 0);
    const number = (isFixed(port) ? port : (siblings.find(isFixed) ?? siblings[0]))?.nodePort;
    const id = number === undefined ? `port ${port.port}` : `number ${number}`;
    slots.set(id, [...(slots.get(id) ?? []), port]);
  }
  return [...slots.values()].map((together) =>
    slotOf(together, (together.find(isFixed) ?? together.find(hasNumber))?.nodePort ?? 0, isHeld),
  );
}

function slotOf(
  ports: readonly ServicePort[],
  number: Port | 0,
  isHeld: (port: ServicePort) => boolean,
): Slot {
  if (number === 0) return { ports, number, state: 'none' };
  const claimedBy = ports
    .filter(({ nodePort }) => nodePort === number)
    .map(claimantOf)
    .find(Boolean);
  const claim = claimedBy === undefined ? {} : { claimedBy };
  if (ports.some((port) => port.nodePort === number && isHeld(port)))
    return { ports, number, state: 'held', ...claim };
  // Our own mark proves nothing: a type flip leaves it on a number that the apiserver picked at random.
  return { ports, number, state: claimedBy === undefined ? 'random' : 'claimed', ...claim };
}

function hasNumber({ nodePort }: ServicePort): boolean {
  return nodePort !== 0;
}

function claimantOf({ owner }: ServicePort): string | undefined {
  return owner === FIELD_MANAGER ? undefined : owner;
}
