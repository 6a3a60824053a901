/**
 * What must hold in every trace. It judges decisions and writes by what people declared and by what the cluster
 * shows, never by asking the code under test.
 */
import type { Range } from '../../src/allocation/range.ts';
import type { Decision, Entry } from '../../src/allocation/types.ts';
import { readHoldings } from '../../src/api/holdings.ts';
import { REASONS, type Verdict } from '../../src/api/reasons.ts';
import { numbersOf, type ServiceView } from '../../src/api/service.ts';
import { portsOf } from '../../src/ports/portSet.ts';
import { type ControllerModel, type Sees, type Watcher, writesOf } from './controllerModel.ts';
import { isPinned, ownWish, type Wish } from './declared.ts';
import { check, factsOf, same, type Stage } from './facts.ts';
import { createLines } from './lines.ts';
import { createRest } from './rest.ts';

export type Invariants = Watcher & {
  /** A new process: it knows who waits only by asking again. */
  started(): void;
  tableDamaged(): void;
  compiled(ranges: ReadonlyMap<string, Range>): void;
  settled(controller: ControllerModel): void;
};

/** What was granted in full: in the table and on the Service. */
interface Granted {
  /** Its own request that was honoured; undefined: a default was. */
  readonly request: string | undefined;
  readonly numbers: Set<number>;
}

type Assign = Extract<Decision, { do: 'assign' }>;

const HISTORY = 30 * 24 * 3_600_000;

export function createInvariants(stage: Stage): Invariants {
  const facts = factsOf(stage);
  const { cluster, now, entryAt, wishOf } = facts;
  const granted = new Map<string, Granted>();
  /** Services, by UID, with numbers that others named, or that were there before a default: they hold them for good. */
  const keepsForGood = new Set<string>();
  /** Services, by UID, that made a request of their own. */
  const asked = new Set<string>();
  /** What reached each Service, by UID, when it was decided last. */
  const wished = new Map<string, Wish>();
  const lines = createLines(facts);
  const rest = createRest(facts, { granted, keepsForGood });

  function entry(number: number, after: Entry | undefined, { cache }: Sees): void {
    const before = entryAt(number);
    const live = (uid: string): ServiceView | undefined => [...cache.values()].find((s) => s.uid === uid);
    const has = (uid: string): boolean => numbersOf(live(uid) ?? NO_PORTS).includes(number);
    const detail = { number, before, after };
    if (after?.state === 'Released') {
      check(!has(after.uid), 'no early release', detail);
      granted.get(after.uid)?.numbers.delete(number);
    }
    if (after?.state === 'Held' && before?.state === 'Held' && before.uid !== after.uid)
      check(!has(before.uid), 'unique in the table', detail);
    if (after === undefined && before?.state === 'Released')
      check((before.until ?? 0) + HISTORY <= now(), 'a released number is history for 30 days', detail);
    // A reservation that the apiserver refused was never an owner.
    if (after?.state === 'Held' && before !== undefined && after.service !== before.service)
      check(after.previous?.[0]?.service === before.service, 'each owner is recorded', detail);
    check((after?.previous?.length ?? 0) <= 3, 'three previous owners at most', detail);
  }

  function service(view: ServiceView, numbers: ReadonlyMap<number, number>): void {
    // A Namespace or a PortRange may have changed since: no write to a Service can know.
    const wish = wished.get(view.uid) ?? wishOf(view);
    check('numbers' in wish, 'no theft: an unmanaged Service is never written', view);
    const before = granted.get(view.uid);
    const own = ownWish(wish);
    const mayMove = own !== undefined && before !== undefined && own !== before.request;
    for (const [index, number] of numbers) {
      const port = view.ports[index];
      const old = port?.nodePort ?? 0;
      const wanted = 'numbers' in wish ? wish.numbers.get(port?.port ?? 0) : undefined;
      const detail = { view, numbers, before, wish };
      check(
        old === 0 || port === undefined || !isPinned(port),
        'no theft: a claim is never rewritten',
        detail,
      );
      // Its request names the new number for it, or the old one for another of its ports.
      const isNamed = wanted === number || ('numbers' in wish && [...wish.numbers.values()].includes(old));
      const moves = mayMove || isNamed;
      check(!before?.numbers.has(old) || moves, 'sticky: a holder moves by its own wish only', detail);
      const told = readHoldings(view.condition?.message ?? '')?.numbers.includes(old) ?? false;
      check(!told || before === undefined || moves, 'sticky: who was told keeps its number', detail);
      const text = entryAt(number);
      const isReserved = text?.state === 'Held' && text.uid === view.uid;
      check(isReserved, 'reserved in the table before it is written', { ...detail, text });
    }
  }

  /** Each number that the decision writes on the Service. */
  function written(view: ServiceView, decision: Assign, sees: Sees): void {
    const wish = wishOf(view);
    const { range } = decision;
    const isPicked = facts.pickable(range);
    const writes = writesOf(view, decision);
    for (const [index, number] of writes) {
      const port = view.ports[index];
      if (port === undefined) continue;
      const detail = { view, decision, wish };
      const wanted = 'numbers' in wish ? wish.numbers.get(port.port) : undefined;
      const isOwn = numbersOf(view).includes(number);
      check(wanted === undefined || wanted === number, 'who names a number gets that one', detail);
      const isGiven = isOwn || (wanted === number ? facts.givable(range) : isPicked).includes(number);
      check(isGiven && facts.isAdmitted(range, view), 'in segment', detail);
      check(facts.candidates(wish, view).includes(range), 'from a range that is asked', detail);
      const ports = view.ports.filter((p) => p.port === port.port);
      const claim = isOwn ? undefined : facts.othersClaim(number, view, ports, sees);
      check(claim === undefined, `no theft: ${claim}`, detail);
      check(number !== view.healthCheckNodePort, 'capsule: healthCheckNodePort counts', detail);
      const numberOf = (i: number): number => writes.get(i) ?? view.ports[i]?.nodePort ?? 0;
      const others = view.ports.flatMap((p, i) => (p.port === port.port ? [] : numberOf(i)));
      check(!others.includes(number), 'different ports get different numbers', detail);
      check(!facts.isPaused(range), 'a paused range takes no new ones', detail);
    }
    if (writes.size > 0) olderThanDefault(view, decision, writes);
  }

  function olderThanDefault(view: ServiceView, decision: Assign, writes: ReadonlyMap<number, number>): void {
    const wish = wishOf(view);
    const isNew = view.condition?.message.includes('temporarily on') || facts.heldBy(view.uid).length > 0;
    if (wish.by === 'service' || asked.has(view.uid) || isNew) return;
    const since = facts.defaultSince(wish, decision.range, view);
    for (const index of writes.keys()) {
      const old = view.ports[index]?.nodePort ?? 0;
      const wasFirst = old !== 0 && cluster.since(view.key, old) < since;
      check(!wasFirst, 'a default moves no older Service', { view, decision, wish, since });
    }
  }

  /** The first range of the list that can serves it; a later one does only when the ones before cannot. */
  function fromTheFirst(view: ServiceView, decision: Assign, sees: Sees): void {
    const wish = wishOf(view);
    if (!('numbers' in wish) || wish.numbers.size > 0 || view.ports.some(isPinned)) return;
    // A reservation is resumed where it was made.
    if (decision.grants.some(({ number }) => facts.entryAt(number)?.uid === view.uid)) return;
    const candidates = facts.candidates(wish, view);
    const needs = new Set(view.ports.map(({ port }) => port)).size;
    const writes = writesOf(view, decision);
    const kept = view.ports.flatMap(({ nodePort }, i) => (writes.has(i) ? [] : nodePort));
    for (const name of candidates.slice(0, candidates.indexOf(decision.range))) {
      const free = facts.pickable(name).filter((n) => facts.isFree(n, sees));
      // A later one in which all that it holds lies is the better one.
      const hasAll = kept.every((n) => facts.givable(name).includes(n));
      const can = hasAll && facts.isAdmitted(name, view) && !facts.isPaused(name) && !lines.isAwaited(name);
      const detail = { view, decision, name, free };
      check(
        !can || free.filter((n) => !lines.isSpokenFor(n)).length < needs,
        'from the first range that can',
        detail,
      );
    }
  }

  function decided(view: ServiceView, decision: Decision, sees: Sees): void {
    const wish = wishOf(view);
    const detail = { view, decision, wish };
    check(
      (decision.do === 'ignore') === (wish.by === 'nobody'),
      'only what nothing reaches is ignored',
      detail,
    );
    if (wish.by === 'nonsense')
      check(
        decision.do === 'refuse' && decision.verdict.reason === 'InvalidRequest',
        'bad input changes nothing',
        detail,
      );
    if (decision.do === 'assign') {
      written(view, decision, sees);
      if (writesOf(view, decision).size > 0) fromTheFirst(view, decision, sees);
    }
    lines.decided(view, decision, sees);
    if (decision.do === 'keep' || decision.do === 'assign') {
      const { message } = decision.verdict;
      const expected = decision.grants.map(({ number }) => number);
      check(same(readHoldings(message)?.numbers ?? [], expected), 'read back', detail);
      const before = granted.get(view.uid);
      // Nothing to write on the Service: what is honoured from now on is in the table alone.
      if (before !== undefined && same(before.numbers, expected) && same(numbersOf(view), expected))
        granted.set(view.uid, { ...before, request: ownWish(wish) ?? before.request });
    }
    wished.set(view.uid, wish);
    if (wish.by === 'service') asked.add(view.uid);
    const wasThereFirst =
      wish.by !== 'service' && decision.do === 'assign' && writesOf(view, decision).size === 0;
    if (wasThereFirst || view.ports.some(isPinned)) keepsForGood.add(view.uid);
  }

  function condition(view: ServiceView, verdict: Verdict | undefined): void {
    if (verdict === undefined) granted.delete(view.uid);
    if (verdict === undefined || REASONS[verdict.reason].status !== 'True') return;
    const numbers = new Set(readHoldings(verdict.message)?.numbers);
    granted.set(view.uid, { request: ownWish(wishOf(view)), numbers });
  }

  return {
    decided,
    entry,
    service,
    condition,
    started: () => lines.started(),
    compiled(ranges) {
      const given = new Map<number, string>();
      for (const [name, { effective, pickable }] of ranges) {
        check(same(portsOf(effective), facts.givable(name)), 'a range gives what it declares', { name });
        check(same(portsOf(pickable), facts.pickable(name)), 'explicitOnly is for who names it', { name });
        for (const number of portsOf(effective)) {
          check(!given.has(number), 'an overlap is never given twice', {
            number,
            name,
            by: given.get(number),
          });
          given.set(number, name);
        }
      }
      const order = [...ranges.keys()];
      check(order.join() === facts.byPrecedence().join(), 'auto asks by priority, age and name', order);
    },
    settled: (controller) => rest.settled(controller),
    tableDamaged() {
      // Where the record is lost, today's request is taken as honoured, and what the condition names as held.
      for (const key of cluster.keys()) {
        const view = cluster.view(key);
        const before = view === undefined ? undefined : granted.get(view.uid);
        if (view === undefined || before === undefined) continue;
        const told = readHoldings(view.condition?.message ?? '')?.numbers ?? [];
        const isRecorded = [...before.numbers].some((n) => entryAt(n)?.uid === view.uid);
        const numbers = new Set([...before.numbers].filter((n) => told.includes(n)));
        const request = ownWish(wishOf(view));
        granted.set(view.uid, isRecorded ? before : { numbers, request });
      }
    },
  };
}

const NO_PORTS = { ports: [], healthCheckNodePort: 0 } as unknown as ServiceView;
