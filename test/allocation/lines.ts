/** Who comes before whom: among those who wait, and before a newcomer. */
import type { Decision } from '../../src/allocation/types.ts';
import { byAge, numbersOf, type ServiceView } from '../../src/api/service.ts';
import type { Sees } from './controllerModel.ts';
import { check, type Facts } from './facts.ts';

interface RangeWaiter {
  readonly key: string;
  readonly createdAt: number;
  readonly ranges: readonly string[];
  /** How many numbers it is short of, by range. */
  readonly needs: ReadonlyMap<string, number>;
  /** The how-manieth decision put it in line. */
  readonly since: number;
}

interface NumberWaiter {
  readonly key: string;
  readonly createdAt: number;
  readonly numbers: readonly number[];
  /** Since when it waits for these, ms. */
  readonly since: number;
}

export function createLines(facts: Facts) {
  const forRanges = new Map<string, RangeWaiter>();
  const forNumbers = new Map<string, NumberWaiter>();
  let decisions = 0;

  /** Numbers that the decision gives and that anybody could have had. */
  function fresh(view: ServiceView, decision: Extract<Decision, { do: 'assign' }>, sees: Sees): number[] {
    const has = new Set(numbersOf(view));
    return decision.grants.flatMap(({ number }) =>
      !has.has(number) && facts.isFree(number, sees) ? number : [],
    );
  }

  function rangeOrder(view: ServiceView, decision: Extract<Decision, { do: 'assign' }>, sees: Sees): void {
    const spoken = new Set([...forNumbers.values()].flatMap(({ numbers }) => numbers));
    const free = facts.pickable(decision.range).filter((n) => facts.isFree(n, sees) && !spoken.has(n));
    const given = fresh(view, decision, sees).filter((n) => free.includes(n));
    if (given.length === 0) return;
    const own = forRanges.get(view.key);
    const isOwn = own?.ranges.includes(decision.range) ?? false;
    // A newcomer comes after all who wait; a waiter after those who are older and waited before.
    const isAhead = (other: RangeWaiter): boolean =>
      !isOwn || own === undefined || (byAge(other, own) < 0 && other.since < own.since);
    const line = [...forRanges.values()].filter(
      (other) => other.key !== view.key && other.ranges.includes(decision.range) && sees.cache.has(other.key),
    );
    let left = free.length;
    for (const { needs } of line.filter(isAhead).toSorted(byAge)) {
      const need = needs.get(decision.range) ?? 0;
      if (need <= left) left -= need;
    }
    const detail = { view, decision, line, free };
    check(given.length <= left, 'waiters are served in order, before newcomers', detail);
  }

  function numberOrder(view: ServiceView, decision: Extract<Decision, { do: 'assign' }>, sees: Sees): void {
    const own = forNumbers.get(view.key);
    for (const number of fresh(view, decision, sees)) {
      const wanted = (other: NumberWaiter | undefined): boolean => other?.numbers.includes(number) ?? false;
      for (const other of forNumbers.values()) {
        if (other.key === view.key || !wanted(other) || !sees.cache.has(other.key)) continue;
        const isAhead =
          own === undefined ||
          !wanted(own) ||
          other.since < own.since ||
          (other.since === own.since && byAge(other, own) < 0);
        const isServable = other.numbers.every((n) => facts.isFree(n, sees));
        const detail = { view, decision, number, other, own };
        check(!isAhead || !isServable, 'a freed number goes to its first waiter', detail);
        const isNamed = [...numbersNamedBy(view)].includes(number);
        const isReturned = facts.entryAt(number)?.service === view.key;
        check(isNamed || isReturned, 'what somebody waits for by number is not picked', detail);
      }
    }
  }

  function numbersNamedBy(view: ServiceView): Iterable<number> {
    const wish = facts.wishOf(view);
    return 'numbers' in wish ? wish.numbers.values() : [];
  }

  function stand(view: ServiceView, decision: Decision): void {
    const { key, createdAt } = view;
    const waitsFor = decision.do === 'refuse' ? decision.waitsFor : [];
    const ranges = waitsFor.flatMap((text) => (text.startsWith('range/') ? text.slice(6) : []));
    const numbers = waitsFor.flatMap((text) => (text.startsWith('port/') ? Number(text.slice(5)) : []));
    const [range, number] = [forRanges.get(key), forNumbers.get(key)];
    forRanges.delete(key);
    forNumbers.delete(key);
    if (decision.do === 'refuse' && ranges.length > 0) {
      const { needs } = decision;
      const isSame = range?.ranges.join() === ranges.join() && [...range.needs].join() === [...needs].join();
      forRanges.set(key, { key, createdAt, ranges, needs, since: isSame ? range.since : decisions });
    }
    if (numbers.length > 0) {
      const since = number?.numbers.join() === numbers.join() ? number.since : facts.now();
      forNumbers.set(key, { key, createdAt, numbers, since });
    }
  }

  return {
    isAwaited: (range: string): boolean =>
      [...forRanges.values()].some(({ ranges }) => ranges.includes(range)),
    isSpokenFor: (number: number): boolean =>
      [...forNumbers.values()].some(({ numbers }) => numbers.includes(number)),
    decided(view: ServiceView, decision: Decision, sees: Sees): void {
      decisions += 1;
      for (const line of [forRanges, forNumbers])
        for (const key of line.keys()) if (!sees.cache.has(key)) line.delete(key);
      if (decision.do === 'assign') {
        rangeOrder(view, decision, sees);
        numberOrder(view, decision, sees);
      }
      if (decision.do !== 'defer') stand(view, decision);
    },
    /** A new process knows from the conditions alone who waits for a number, and since when. */
    started(): void {
      forRanges.clear();
      forNumbers.clear();
      for (const key of facts.cluster.keys()) {
        const view = facts.cluster.view(key);
        if (view?.condition?.reason !== 'PortTaken') continue;
        const numbers = [...numbersNamedBy(view)].filter((n) => !numbersOf(view).includes(n));
        const since = Date.parse(view.condition.lastTransitionTime);
        if (numbers.length > 0) forNumbers.set(key, { key, createdAt: view.createdAt, numbers, since });
      }
    },
  };
}
