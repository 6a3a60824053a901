/**
 * The ledger: who holds each number, and why nobody may have it. The one owner of state that changes.
 *
 *   Services (the truth, as the watch shows them) ──► holders ─┐
 *   table entries (Held, Released until …)        ──► entries ─┼──► taken: one bit a number
 *   refusals of the apiserver (until …)           ──► resting  ┤
 *   blocks of the table that cannot be read       ──► unreadable
 *
 * A Held entry whose Service does not have the number is a reservation; a promise, while the decision that made it is the
 * Service's latest. What a call changed is collected and
 * fetched with `drain`: entries to write to the table, numbers that became free, numbers to count again.
 * Nothing here does I/O or reads a clock: times come in as arguments.
 */
import { numbersOf, type ServiceView, waitsSince } from '../api/service.ts';
import { add, countWithout, has, type Port, portSet, remove } from '../ports/portSet.ts';
import type { CheckName } from './checks.ts';
import { createEntries } from './entries.ts';
import {
  concerns,
  endOfRest,
  givenUp,
  HISTORY,
  heldEntry,
  isToBeWritten,
  newsOf,
  released,
  sameHolding,
} from './entry.ts';
import { holdingOf, isFreeFor as isFree, kindOf } from './holding.ts';
import type { Range } from './range.ts';
import { createRests } from './rests.ts';
import type { Decision, Entry, Holds, LedgerView, Millis, Owner, PortGrant, Transition } from './types.ts';
import { createWaiting, numbersAmong, type Waiter } from './waiting.ts';

export interface LedgerChanges {
  /** By number; undefined: the table shall have no entry. */
  readonly entries: ReadonlyMap<Port, Entry | undefined>;
  /** What happened to numbers, in order. */
  readonly transitions: readonly Transition[];
  /** Services, by namespace/name, that may be served now. */
  readonly wake: readonly string[];
  /** Numbers whose holding changed. */
  readonly touched: ReadonlySet<Port>;
  /** PortRanges that entries which changed were for, before or after: they count numbers beside their own, too. */
  readonly recounted: ReadonlySet<string>;
}

export interface Ledger extends LedgerView {
  /**
   * A Service as the watch shows it: before, after, or both. One that is no longer shown stays the owner in the
   * table until `gone`: a list can be older than what was seen.
   */
  observe(before: ServiceView | undefined, after: ServiceView | undefined, now: Millis): void;
  /** Folds a decision in, so that the next one sees it. */
  fold(service: ServiceView, decision: Decision, now: Millis): void;
  /** Takes an entry from the table as it is, without asking for it to be written. */
  restore(port: Port, entry: Entry, now: Millis): void;
  /** UIDs that the table gives numbers to under this namespace/name. */
  ownersAt(key: string): readonly string[];
  /** The Service of this UID is gone, which somebody made sure of: its numbers rest, then are free. */
  gone(uid: string, now: Millis): void;
  /** The apiserver refused this number to this Service: its reservation ends and nobody gets the number for a while. */
  refused(uid: string, port: Port, now: Millis): void;
  /** Numbers of a table block that cannot be read: not given out until it is. */
  setUnreadable(ports: Iterable<Port>, unreadable: boolean): void;
  /** Lets what has rested long enough be free. */
  advance(now: Millis): void;
  /** Drops entries that were released longer ago than history is kept. */
  forgetHistory(now: Millis): void;
  /** When `advance` is next worth calling; Infinity if never. */
  nextDeadline(): Millis;
  /** Numbers that more than one live Service has: a defect of the cluster (kubernetes #64466), never made by us. */
  duplicates(): Iterable<readonly [Port, readonly Owner[]]>;
  /** How many numbers Services have, managed or not, in PortRanges or beside them. */
  inUse(): number;
  /** Changes since the last call. */
  drain(ranges: ReadonlyMap<string, Range>): LedgerChanges;
}

/** `cooldownOf`: ms that numbers of this PortRange rest after their release. */
export function createLedger(options: { cooldownOf: (range: string) => Millis }): Ledger {
  const holders = new Map<Port, Owner[]>();
  const entries = createEntries();
  const resting = createRests();
  const unreadable = portSet();
  const taken = portSet();
  const known = { holders, entries, resting, unreadable, taken };
  const waiting = createWaiting();
  /** taken, and the numbers that somebody waits for by name. */
  const spokenFor = portSet();
  /** Reserved by a decision for a Service that has not been decided anew since: its write may be done by now. */
  const promised = new Set<Port>();
  /** UID → when it got node ports, of Services that had none when they were seen first. */
  const newcomers = new Map<string, Millis>();
  let changed = new Map<Port, Entry | undefined>();
  let transitions: Transition[] = [];
  let touched = new Set<Port>();
  let recounted = new Set<string>();
  let someoneMayBeServed = false;
  /** Services to decide again for another reason: they sit on a number that rests no more, or say who has one. */
  let concerned = new Set<string>();
  let revision = 0;

  /** Recomputes the one bit of a number from all that is known about it. */
  function settleBit(port: Port): void {
    revision += 1;
    touched.add(port);
    for (const key of waiting.namersOf(port)) concerned.add(key);
    const isHeld = holders.has(port) || entries.get(port)?.state === 'Held';
    const isTaken = isHeld || resting.has(port) || has(unreadable, port);
    if (isTaken) add(taken, port);
    else if (has(taken, port)) {
      remove(taken, port);
      someoneMayBeServed = true;
    }
    speakFor(port);
  }

  function speakFor(port: Port): void {
    if (has(taken, port) || waiting.forPort(port).length > 0) add(spokenFor, port);
    else remove(spokenFor, port);
  }

  function put(port: Port, entry: Entry | undefined, now: Millis): void {
    const before = entries.get(port);
    if (before !== undefined) recounted.add(before.range);
    if (entry !== undefined) recounted.add(entry.range);
    const stays = entry?.state === 'Held' && entry.uid === before?.uid;
    if (!stays && promised.delete(port)) wakeOthersOn(port, before?.uid);
    entries.set(port, entry);
    resting.end(port);
    if (entry?.state === 'Released') resting.begin(port, endOfRest(entry, now), now);
    settleBit(port);
  }

  function write(port: Port, entry: Entry | undefined, now: Millis): void {
    changed.set(port, entry);
    put(port, entry, now);
  }

  /** Whoever else shows the number may be recorded now. */
  function wakeOthersOn(port: Port, owner: string | undefined): void {
    for (const { key, uid } of holders.get(port) ?? []) if (uid !== owner) concerned.add(key);
  }

  function forgetHolder(port: Port, uid: string): void {
    const left = (holders.get(port) ?? []).filter((owner) => owner.uid !== uid);
    if (left.length > 0) holders.set(port, left);
    else holders.delete(port);
    // What made the apiserver refuse it is over.
    resting.forgive(port);
    settleBit(port);
  }

  function release(port: Port, now: Millis, check: CheckName, to?: Port): void {
    const entry = entries.get(port);
    if (entry?.state !== 'Held') return;
    const after = released(entry, now, options.cooldownOf(entry.range));
    transitions.push({ kind: 'released', port, entry, until: after.until, to, check });
    write(port, after, now);
  }

  /** Its owner keeps the number, and it is ours no more. */
  function letGo(port: Port, now: Millis, check: CheckName): void {
    const entry = entries.get(port);
    if (entry !== undefined) transitions.push({ kind: 'released', port, entry, check });
    write(port, undefined, now);
  }

  function observe(before: ServiceView | undefined, after: ServiceView | undefined, now: Millis): void {
    if (before !== undefined && after !== undefined && before.uid !== after.uid) {
      // Deleted and made again between two looks: somebody else with the same name.
      observe(before, undefined, now);
      return observe(undefined, after, now);
    }
    const gone = new Set(before === undefined ? [] : numbersOf(before));
    const isNewcomer = before !== undefined && gone.size === 0;
    for (const port of after === undefined ? [] : numbersOf(after)) {
      if (gone.delete(port) || after === undefined) continue;
      // What made the apiserver refuse it is known.
      resting.forgive(port);
      holders.set(port, [...(holders.get(port) ?? []), { key: after.key, uid: after.uid }]);
      settleBit(port);
      if (isNewcomer) newcomers.set(after.uid, now);
    }
    if (before === undefined) return;
    for (const port of gone) forgetHolder(port, before.uid);
    if (after !== undefined) return;
    newcomers.delete(before.uid);
    const waiter = waiting.remove(before.key);
    if (waiter !== undefined) leftTheLine(waiter);
  }

  /** Lists the Service among those who wait, or no longer. */
  function standInLine(service: ServiceView, decision: Decision, now: Millis): void {
    const { key, createdAt } = service;
    const before = waiting.remove(key);
    const { needs, waitsFor, names } = decision.do === 'refuse' ? decision : NOT_REFUSED;
    if (waitsFor.length > 0 || names.length > 0) {
      // After a restart the condition tells since when.
      const told = before === undefined ? waitsSince(service) : undefined;
      const since = told ?? now;
      const namedSince = new Map(names.map((port) => [port, before?.namedSince.get(port) ?? since]));
      waiting.put({ key, createdAt, needs, waitsFor, namedSince });
      numbersAmong(waitsFor).forEach(speakFor);
    }
    // What was kept for it may serve those behind it.
    const stays =
      before !== undefined &&
      [...before.needs].join() === [...needs].join() &&
      before.waitsFor.join() === waitsFor.join();
    if (before !== undefined && !stays) leftTheLine(before);
  }

  function leftTheLine({ waitsFor }: Waiter): void {
    someoneMayBeServed = true;
    numbersAmong(waitsFor).forEach(speakFor);
  }

  /** Whether all numbers that it names are free, as far as anybody else goes. */
  function isServable({ waitsFor }: Waiter): boolean {
    return !numbersAmong(waitsFor).some((port) => has(taken, port));
  }

  /** The Service's entries for numbers that the decision does not give it. One that moves still has them meanwhile. */
  function endEntries(
    service: ServiceView,
    decision: Decision,
    kept: readonly PortGrant[],
    now: Millis,
  ): void {
    const { do: what, check } = decision;
    const present = new Set(numbersOf(service));
    for (const [port, entry] of entries.heldBy(service.uid)) {
      if (kept.some(({ number }) => number === port)) continue;
      if (present.has(port)) {
        if (what !== 'assign') letGo(port, now, check);
        continue;
      }
      release(port, now, check, kept.find(({ ports }) => concerns(entry.ports, ports))?.number);
    }
  }

  /** Who stops asking keeps the ports that it has: asking again shall not lead it back to those that it left. */
  function giveUpFormer({ key, uid }: ServiceView, now: Millis): void {
    for (const port of Array.from(entries.releasedBy(key) ?? [])) {
      const entry = entries.get(port);
      if (entry?.uid === uid && entry.ports.length > 0) write(port, { ...entry, ports: [] }, now);
    }
  }

  function record(service: ServiceView, holds: Holds, grant: PortGrant, now: Millis, check: CheckName): void {
    const before = entries.get(grant.number);
    const isAnothers = before?.state === 'Held' && before.uid !== service.uid;
    // What the watch shows of this one may be older than the write that gave the number to the other.
    if (isAnothers && promised.has(grant.number)) return;
    // Two live Services on one number: the table can name one, and it stays the one it named.
    if (isAnothers && holders.get(grant.number)?.some(({ uid }) => uid === before.uid)) return;
    const entry = heldEntry(service, holds, grant, before, now);
    if (before === undefined || !sameHolding(before, entry)) {
      const kind = newsOf(service, grant, before);
      if (kind !== undefined) transitions.push({ kind, port: grant.number, entry, check });
      write(grant.number, entry, now);
    }
    if (isToBeWritten(grant)) promised.add(grant.number);
  }

  function* duplicates(): Generator<readonly [Port, readonly Owner[]]> {
    for (const [port, owners] of holders) if (owners.length > 1) yield [port, owners];
  }

  const isFreeFor: Ledger['isFreeFor'] = (port, owner, ports) => isFree(known, port, owner, ports);

  return {
    holding: (port) => holdingOf(known, port),
    kindOf: (port) => kindOf(known, port),
    revision: () => revision,
    isFreeFor,
    entriesOf: entries.heldBy,
    isPromised: (port) => promised.has(port),
    returnable(owner, ports) {
      const former = entries.releasedBy(owner.key);
      if (former === undefined) return [];
      const releasedAt = (port: Port): Millis => entries.get(port)?.released ?? 0;
      return [...former]
        .filter((port) => concerns(entries.get(port)?.ports ?? [], ports) && isFreeFor(port, owner, ports))
        .toSorted((a, b) => releasedAt(b) - releasedAt(a) || a - b);
    },
    isNext(port, key) {
      for (const waiter of waiting.forPort(port)) {
        if (waiter.key === key) return true;
        if (isServable(waiter)) return false;
      }
      return true;
    },
    awaits: (port, key) => waiting.forPort(port).some((waiter) => waiter.key === key),
    gotNodePortsAt: (uid) => newcomers.get(uid),
    hasRoomFor(range, key, need) {
      // Nobody to step behind: whether there are enough shows when they are picked.
      if (!waiting.isAwaited(range.name)) return true;
      return waiting.leftFor(range.name, key, countWithout(range.pickable, spokenFor)) >= need;
    },

    observe,

    fold(service, decision, now) {
      if (decision.do === 'defer') return;
      standInLine(service, decision, now);
      const before = [...entries.heldBy(service.uid).keys()].filter((port) => promised.delete(port));
      const holds =
        decision.do === 'refuse' ? decision.holds : decision.do === 'ignore' ? undefined : decision;
      endEntries(service, decision, holds?.grants ?? [], now);
      if (decision.do === 'ignore' && numbersOf(service).length > 0) giveUpFormer(service, now);
      for (const grant of holds?.grants ?? []) {
        const isRecorded = entries.heldBy(service.uid).has(grant.number);
        // A refusal honours nothing: only what was lost is recorded again.
        if (holds !== undefined && !(decision.do === 'refuse' && isRecorded))
          record(service, holds, grant, now, decision.check);
      }
      for (const port of before) if (!promised.has(port)) wakeOthersOn(port, service.uid);
    },

    restore: put,
    ownersAt: (key) => [...entries.uidsAt(key)],
    gone(uid, now) {
      for (const port of entries.heldBy(uid).keys()) release(port, now, 'serviceExists');
    },

    refused(uid, port, now) {
      const entry = entries.get(port);
      if (entry?.uid !== uid) return;
      const pause = resting.strike(port);
      write(port, givenUp(entry), now);
      if (!holders.has(port)) resting.refuse(port, now + pause, now);
      settleBit(port);
    },

    setUnreadable(ports, isUnreadable) {
      for (const port of ports) {
        if (isUnreadable) add(unreadable, port);
        else remove(unreadable, port);
        settleBit(port);
      }
    },

    advance(now) {
      resting.advance(now, (port) => {
        settleBit(port);
        for (const { key } of holders.get(port) ?? []) concerned.add(key);
      });
    },

    forgetHistory(now) {
      for (const [port, entry] of entries.all) {
        if (entry.state === 'Released' && (entry.until ?? 0) + HISTORY < now) write(port, undefined, now);
      }
    },

    nextDeadline: resting.next,
    inUse: () => holders.size,
    duplicates,

    drain(ranges) {
      const wake = new Set([...concerned, ...(someoneMayBeServed ? servable(ranges) : [])]);
      const changes = { entries: changed, transitions, touched, recounted, wake: [...wake] };
      changed = new Map();
      transitions = [];
      touched = new Set();
      recounted = new Set();
      concerned = new Set();
      someoneMayBeServed = false;
      return changes;
    },

    taken,
    spokenFor,
    entry: (port) => entries.get(port),
    entries: () => entries.all,
  };

  function servable(ranges: ReadonlyMap<string, Range>): string[] {
    const keys = new Set<string>();
    for (const key of waiting.keys()) {
      const [kind, name = ''] = key.split('/');
      const range = ranges.get(name);
      if (kind === 'port') {
        if (has(taken, Number(name))) continue;
        for (const waiter of waiting.forPort(Number(name))) if (isServable(waiter)) keys.add(waiter.key);
      } else if (range !== undefined) {
        // What somebody waits for by name is nobody else's to be promised.
        for (const waiter of waiting.servable(name, countWithout(range.pickable, spokenFor)))
          keys.add(waiter);
      }
    }
    return [...keys];
  }
}

const NOT_REFUSED = { needs: new Map<string, number>(), waitsFor: [], names: [] };
