import { hashedFree, lowestFree, randomFree } from '../ports/pick.ts';
import { add, copyOf, has, type Port, remove } from '../ports/portSet.ts';
import { concerns } from './entry.ts';
import type { Range } from './range.ts';
import type { Situation, Slot } from './situation.ts';
import type { PortGrant } from './types.ts';

/** Which number each slot gets from one range. */
export interface Plan {
  readonly grants: readonly PortGrant[];
  /** Numbers held before that the Service leaves by its own wish. */
  readonly leaves: readonly Port[];
}

/** Not all slots can be served, and it is all or nothing. */
export type Obstacle =
  /**
   * The range has too few. need: how many free numbers it takes. lacks: how many numbers the Service has not, whether
   * free ones or those that rest for it; does not change while it waits.
   */
  | { readonly need: number; readonly lacks: number }
  /** Numbers asked for that this Service cannot have now. */
  | { readonly taken: readonly Port[] };

/**
 * Finds a number for every slot. Kept: every claim, wherever it lies; what is held under the same request; what
 * fits. The others get, in this order: the number they name, the one reserved before a crash, the one they had
 * before, and what the strategy picks among those that no earlier waiter is about to get.
 */
export function planFor(situation: Situation, range: Range): Plan | Obstacle {
  const { slots } = situation;
  const chosen = slots.map((slot) => keeps(situation, slot, range));
  const choose = (slot: Slot, number: Port): void => {
    chosen[slots.indexOf(slot)] = number;
  };
  const open = (): Slot[] => slots.filter((_, i) => chosen[i] === undefined);

  const without = open();
  const named = without.filter(({ wanted }) => wanted !== undefined);
  if (named.length > 0) {
    const taken = named
      .map(({ wanted = 0 }) => wanted)
      .filter((wanted, i) => chosen.includes(wanted) || !canHave(situation, wanted, named[i]?.ports ?? []));
    if (taken.length > 0) return { taken };
    for (const slot of named) choose(slot, slot.wanted ?? 0);
  }

  for (const slot of open()) {
    const number = numbersToReturnTo(situation, slot, range).find((port) => !chosen.includes(port));
    if (number !== undefined) choose(slot, number);
  }
  const need = fillUp(situation, range, { open, chosen, choose });
  return need === undefined ? toPlan(situation, chosen) : { need, lacks: without.length };
}

/** By the position of the slot; undefined: none yet. */
type Chosen = readonly (Port | undefined)[];

/** A plan in the making. */
interface Draft {
  readonly open: () => Slot[];
  readonly chosen: Chosen;
  readonly choose: (slot: Slot, number: Port) => void;
}

/** Picks for the slots that are open. Where the range has too few for them: how many free numbers it takes. */
function fillUp(situation: Situation, range: Range, draft: Draft): number | undefined {
  const { ledger, owner } = situation;
  const { open, chosen, choose } = draft;
  const contested = contestedAmong(chosen, situation, range);
  const hasRoomFor = (need: number): boolean => need === 0 || ledger.hasRoomFor(range, owner.key, need);
  // Hash replaces a number that fits by a better one, but not by one that others wait for.
  if (!hasRoomFor(open().length + contested)) {
    for (const slot of open()) {
      const number = fitting(situation, slot, range).find((port) => !chosen.includes(port));
      if (number !== undefined) choose(slot, number);
    }
  }
  const need = open().length + contested;
  return hasRoomFor(need) && pickFor(situation, range, draft) ? undefined : need;
}

/** How many of these numbers anybody could have: they count against those who wait longer. One that it waits for by name is its. */
function contestedAmong(chosen: Chosen, { ledger, owner }: Situation, range: Range): number {
  const isContested = (port: Port | undefined, i: number): boolean =>
    port !== undefined &&
    chosen.indexOf(port) === i &&
    has(range.pickable, port) &&
    ledger.holding(port) === undefined &&
    !ledger.awaits(port, owner.key);
  return chosen.filter(isContested).length;
}

/** The number that the slot has now and keeps, if it does. */
function keeps(situation: Situation, slot: Slot, range: Range): Port | undefined {
  const { number, wanted, state, claim } = slot;
  if (claim !== undefined) return number;
  // Another port of the Service asks for this number by name.
  if (state === 'none' || situation.slots.some((other) => other !== slot && other.wanted === number))
    return undefined;
  if (state === 'held') {
    const isHonoured = !situation.requestChanged && (wanted === undefined || wanted === number);
    return isHonoured || isAskedFor(slot, range, number) ? number : undefined;
  }
  const mayPick = range.strategy !== 'Hash' && !hasNumberToReturnTo(situation, slot, range);
  if (wanted === undefined && !mayPick) return undefined;
  return fitting(situation, slot, range)[0];
}

/** Numbers that the apiserver picked for the slot and that may stay, as far as the range and others go. */
function fitting(situation: Situation, slot: Slot, range: Range): Port[] {
  if (slot.state !== 'random') return [];
  return slot.ports
    .map(({ nodePort }) => nodePort)
    .filter((port) => port !== 0 && isAskedFor(slot, range, port) && isFree(situation, slot, port));
}

/** Whether the range would give the slot this number, were it free. */
function isAskedFor({ wanted }: Slot, range: Range, port: Port): boolean {
  return wanted === undefined ? has(range.pickable, port) : wanted === port && has(range.effective, port);
}

function isFree({ ledger, owner }: Situation, { ports }: Slot, port: Port): boolean {
  return ledger.isFreeFor(port, owner, ports);
}

/** Whether this Service may have the number that it names. Its own health check's is not free for its ports. */
function canHave({ ledger, owner, service }: Situation, port: Port, ports: Slot['ports']): boolean {
  return (
    port !== service.healthCheckNodePort &&
    ledger.isFreeFor(port, owner, ports) &&
    ledger.isNext(port, owner.key)
  );
}

/** Numbers of the range that the slot may take up again: reserved for it before a crash, or its own before. */
function numbersToReturnTo(situation: Situation, slot: Slot, range: Range): Port[] {
  const { ledger, owner, entries } = situation;
  const former = ledger.returnable(owner, slot.ports);
  if (entries.size === 0 && former.length === 0) return [];
  const reserved = [...entries].flatMap(([port, entry]) => (concerns(entry.ports, slot.ports) ? port : []));
  // One that rests no more is anybody's: those who wait for it by number come first.
  const isItsTurn = (port: Port): boolean =>
    ledger.holding(port) !== undefined || ledger.isNext(port, owner.key);
  return [...reserved, ...former].filter(
    (port) => has(range.pickable, port) && isFree(situation, slot, port) && isItsTurn(port),
  );
}

/** A re-created Service, or a renamed port, gets its number back while that waits for it, even if the random one would fit. */
function hasNumberToReturnTo(situation: Situation, slot: Slot, range: Range): boolean {
  return numbersToReturnTo(situation, slot, range).some((port) => {
    const by = situation.ledger.holding(port)?.by;
    return by === 'cooldown' || by === 'reservation';
  });
}

/** What the strategy picks. False when the range has not enough. */
function pickFor(situation: Situation, range: Range, { open, chosen, choose }: Draft): boolean {
  const { ledger, service, seed } = situation;
  const slots = open();
  if (slots.length === 0) return true;
  if (range.strategy === 'Sequential') {
    const picked = lowestFree(range.pickable, ledger.spokenFor, chosen.length).filter(
      (port) => !chosen.includes(port),
    );
    for (const [i, slot] of slots.entries()) choose(slot, picked[i] ?? 0);
    return picked.length >= slots.length;
  }
  const blocked = copyOf(ledger.spokenFor);
  // What the apiserver gave it at random is its own to keep, should the strategy come to the same number.
  for (const slot of slots) for (const port of fitting(situation, slot, range)) remove(blocked, port);
  for (const port of chosen) if (port !== undefined) add(blocked, port);
  for (const slot of slots) {
    const id = slot.ports[0]?.name || String(slot.ports[0]?.port);
    const number =
      range.strategy === 'Hash'
        ? hashedFree(range.pickable, blocked, `${service.key}/${id}`)
        : randomFree(range.pickable, blocked, `${seed}/${service.uid}/${id}`);
    if (number === undefined) return false;
    add(blocked, number);
    choose(slot, number);
  }
  return true;
}

function toPlan({ slots }: Situation, chosen: Chosen): Plan {
  const grants: PortGrant[] = [];
  const leaves: Port[] = [];
  for (const [i, slot] of slots.entries()) {
    const number = chosen[i] ?? slot.number;
    const same = grants.findIndex((grant) => grant.number === number);
    if (same < 0) grants.push({ number, ports: slot.ports });
    else grants[same] = { number, ports: [...(grants[same]?.ports ?? []), ...slot.ports] };
    if (slot.state === 'held' && number !== slot.number) leaves.push(slot.number);
  }
  return { grants, leaves };
}
