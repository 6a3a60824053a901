import { has, type Port } from '../ports/portSet.ts';
import { concerns } from './entry.ts';
import type { Range } from './range.ts';
import type { Situation, Slot } from './situation.ts';
import type { PortGrant } from './types.ts';

/** Which number each slot gets from one range. */
export interface Plan {
  readonly grants: readonly PortGrant[];
  /** Numbers that differ from what the Service has: they must be written. */
  readonly writes: number;
  /** Numbers held before that the Service leaves by its own wish. */
  readonly leaves: readonly Port[];
}

/** The range cannot serve all slots: all or nothing. */
export interface Shortage {
  /** How many free numbers it takes. */
  readonly need: number;
  /** How many numbers it has not, whether free ones or those that rest for it: does not change while it waits. */
  readonly lacks: number;
}

/**
 * Finds a number for every slot. Kept: what is held under the same request, and every claim, wherever it lies;
 * what fits. The others get, in this order: the number reserved before a crash, the number they had before,
 * the lowest free one that no earlier waiter is about to get.
 */
export function planFor(situation: Situation, range: Range): Plan | Shortage {
  const { ledger, owner } = situation;
  const chosen = new Map<Slot, Port>();
  const used = new Set<Port>();
  const choose = (slot: Slot, number: Port): void => {
    chosen.set(slot, number);
    used.add(number);
  };
  for (const slot of situation.slots) {
    const number = keeps(situation, slot, range);
    if (number !== undefined) choose(slot, number);
  }
  const open = (): Slot[] => situation.slots.filter((slot) => !chosen.has(slot));
  const lacks = open().length;
  for (const slot of open()) {
    const number = numbersToReturnTo(situation, slot, range).find((port) => !used.has(port));
    if (number !== undefined) choose(slot, number);
  }
  const rest = open();
  // Of the numbers chosen so far, those that anybody could have count against those who wait longer.
  const contested = [...used].filter((number) => ledger.holding(number) === undefined).length;
  const need = rest.length + contested;
  if (need > 0) {
    const free = ledger.lowestFree(range, need).filter((number) => !used.has(number));
    const available = Math.min(ledger.freeBehindWaiters(range, owner.key), free.length + contested);
    if (available < need) return { need, lacks };
    for (const [i, slot] of rest.entries()) choose(slot, free[i] ?? 0);
  }
  return toPlan(situation, chosen);
}

/** The number that the slot has now and keeps, if it does. */
function keeps(situation: Situation, slot: Slot, range: Range): Port | undefined {
  const { state, number } = slot;
  if (slot.claimedBy !== undefined) return number;
  if (state === 'held') return !situation.requestChanged || has(range.effective, number) ? number : undefined;
  if (state === 'none' || hasNumberToReturnTo(situation, slot, range)) return undefined;
  return slot.ports.map(({ nodePort }) => nodePort).find((port) => fits(situation, slot, range, port));
}

function fits({ ledger, owner }: Situation, { ports }: Slot, range: Range, port: Port): boolean {
  return has(range.effective, port) && ledger.isFreeFor(port, owner, ports);
}

/** Numbers of the range that the slot may take up again: reserved for it before a crash, or its own before. */
function numbersToReturnTo(situation: Situation, slot: Slot, range: Range): Port[] {
  const { ledger, owner, entries } = situation;
  const reserved = [...entries]
    .filter(([, entry]) => concerns(entry.ports, slot.ports))
    .map(([port]) => port);
  const former = ledger.returnable(owner, slot.ports);
  return [...reserved, ...former].filter((port) => fits(situation, slot, range, port));
}

/** A re-created Service, or a renamed port, gets its number back while that waits for it, even if the random one would fit. */
function hasNumberToReturnTo(situation: Situation, slot: Slot, range: Range): boolean {
  return numbersToReturnTo(situation, slot, range).some((port) => {
    const by = situation.ledger.holding(port)?.by;
    return by === 'cooldown' || by === 'reservation';
  });
}

function toPlan({ slots }: Situation, chosen: ReadonlyMap<Slot, Port>): Plan {
  const grants = new Map<Port, PortGrant>();
  let writes = 0;
  const leaves: Port[] = [];
  for (const slot of slots) {
    const number = chosen.get(slot) ?? slot.number;
    grants.set(number, { number, ports: [...(grants.get(number)?.ports ?? []), ...slot.ports] });
    if (number === slot.number && slot.ports.every(({ nodePort }) => nodePort === number)) continue;
    writes += 1;
    if (slot.state === 'held') leaves.push(slot.number);
  }
  return { grants: [...grants.values()], writes, leaves };
}
