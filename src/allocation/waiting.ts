import { byAge } from '../api/service.ts';
import type { Port } from '../ports/portSet.ts';
import type { Millis, WaitKey } from './types.ts';

/** A Service that waits: for free numbers of ranges, or for certain numbers. */
export interface Waiter {
  /** namespace/name */
  readonly key: string;
  readonly createdAt: Millis;
  /** Since when it names each of its numbers, also those that it does not wait for at present. */
  readonly namedSince: ReadonlyMap<Port, Millis>;
  /** How many numbers it is short of, by range: one may lack more than another. All or nothing. */
  readonly needs: ReadonlyMap<string, number>;
  readonly waitsFor: readonly WaitKey[];
}

/**
 * Who waits for what, in the order in which they are served. For a range: by creation, then namespace/name. For a
 * number: who names it first, then the same. Who was told that it can be served from a range has a promise: it stays
 * listed until it is decided again, and nobody who comes between takes what it was promised, be it older.
 */
export interface Waiting {
  /** Lists the Service under what it waits for, and nowhere else. */
  put(waiter: Waiter): void;
  /** Forgets the Service; what it waited for. */
  remove(key: string): Waiter | undefined;
  isAwaited(range: string): boolean;
  /** What is left of `free` numbers after promises and those who are asked before this Service; a newcomer is asked last. */
  leftFor(range: string, key: string, free: number): number;
  /** Who can be served with `free` numbers, in order; each has a promise then. One that needs more than there are holds up nobody. */
  servable(range: string, free: number): string[];
  /** Who waits for this number, in order. */
  forPort(port: Port): readonly Waiter[];
  /** Who names this number, whether it waits for that or for something else: what it is told changes with the number. */
  namersOf(port: Port): Iterable<string>;
  /** What somebody waits for. */
  keys(): Iterable<WaitKey>;
}

/** A waiter in the list of one thing that it waits for. */
interface Listed extends Waiter {
  /** Of this range. */
  readonly need: number;
  promised: boolean;
}

export function createWaiting(): Waiting {
  const lists = new Map<WaitKey, Listed[]>();
  const known = new Map<string, Waiter>();
  const namers = new Map<Port, Set<string>>();

  function remove(key: string): Waiter | undefined {
    const waiter = known.get(key);
    known.delete(key);
    for (const waitKey of waiter?.waitsFor ?? []) {
      const list = (lists.get(waitKey) ?? []).filter((other) => other.key !== key);
      if (list.length > 0) lists.set(waitKey, list);
      else lists.delete(waitKey);
    }
    for (const port of waiter?.namedSince.keys() ?? []) {
      namers.get(port)?.delete(key);
      if (namers.get(port)?.size === 0) namers.delete(port);
    }
    return waiter;
  }

  const forRange = (range: string): readonly Listed[] => lists.get(`range/${range}`) ?? [];

  return {
    put(waiter) {
      remove(waiter.key);
      known.set(waiter.key, waiter);
      for (const port of waiter.namedSince.keys())
        namers.set(port, (namers.get(port) ?? new Set()).add(waiter.key));
      for (const waitKey of waiter.waitsFor) {
        const list = lists.get(waitKey) ?? [];
        list.splice(positionOf(list, waiter, orderFor(waitKey)), 0, {
          ...waiter,
          need: waiter.needs.get(waitKey.slice('range/'.length)) ?? 0,
          promised: false,
        });
        lists.set(waitKey, list);
      }
    },
    remove,
    isAwaited: (range) => lists.size > 0 && lists.has(`range/${range}`),
    leftFor(range, key, free) {
      const list = free === 0 ? [] : forRange(range);
      const own = list.find((waiter) => waiter.key === key);
      let left = free;
      let isAhead = true;
      for (const waiter of list) {
        if (left === 0) break;
        if (waiter === own) isAhead = false;
        else if (waiter.need > left) continue;
        else if (waiter.promised ? isAhead || !own?.promised : isAhead && !own?.promised) left -= waiter.need;
      }
      return left;
    },
    servable(range, free) {
      const list = forRange(range);
      let left = free;
      for (const isPromised of [true, false]) {
        for (const waiter of list) {
          if (left === 0) break;
          if (waiter.promised !== isPromised) continue;
          waiter.promised = waiter.need <= left;
          if (waiter.promised) left -= waiter.need;
        }
      }
      return list.filter(({ promised }) => promised).map(({ key }) => key);
    },
    forPort: (port) => lists.get(`port/${port}`) ?? [],
    namersOf: (port) => namers.get(port) ?? [],
    keys: () => lists.keys(),
  };
}

/** The numbers among what a Service waits for. */
export function numbersAmong(keys: readonly WaitKey[]): Port[] {
  return keys.flatMap((key) => (key.startsWith('port/') ? Number(key.slice('port/'.length)) : []));
}

/** Who is served first of those who wait for the same. */
function orderFor(waitKey: WaitKey): (a: Waiter, b: Waiter) => number {
  const [port] = numbersAmong([waitKey]);
  if (port === undefined) return byAge;
  const since = ({ namedSince }: Waiter): Millis => namedSince.get(port) ?? 0;
  return (a, b) => since(a) - since(b) || byAge(a, b);
}

/** Where the waiter belongs in a sorted list, by binary search: thousands may wait. */
function positionOf(
  list: readonly Waiter[],
  waiter: Waiter,
  order: (a: Waiter, b: Waiter) => number,
): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = list[middle];
    if (other !== undefined && order(other, waiter) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
