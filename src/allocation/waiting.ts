import { byAge } from '../api/service.ts';

/** A Service that waits for free numbers of a range. */
export interface Waiter {
  /** namespace/name */
  readonly key: string;
  readonly createdAt: number;
  /** How many numbers it is short of, ≥ 1; all or nothing. */
  readonly need: number;
}

/**
 * Who waits for which range, in the order in which they are served: by creation, then namespace/name.
 * Who was told that it can be served has a promise: it stays listed until it is decided again, and nobody who comes
 * between takes what it was promised, be it older.
 */
export interface Waiting {
  /** Lists the Service under this range alone, wherever it stood before. */
  put(range: string, waiter: Waiter): void;
  /** Forgets the Service; what it waited for, if it was listed. */
  remove(key: string): { readonly range: string; readonly need: number } | undefined;
  /** What is left of `free` numbers after promises and those who are asked before this Service; a newcomer is asked last. */
  leftFor(range: string, key: string, free: number): number;
  /** Who can be served with `free` numbers, in order; each has a promise then. One that needs more than there are holds up nobody. */
  servable(range: string, free: number): string[];
  /** The ranges that somebody waits for. */
  ranges(): string[];
}

interface Listed extends Waiter {
  promised: boolean;
}

export function createWaiting(): Waiting {
  const byRange = new Map<string, Listed[]>();
  const rangeOf = new Map<string, string>();

  function remove(key: string): { range: string; need: number } | undefined {
    const range = rangeOf.get(key);
    const list = range === undefined ? undefined : byRange.get(range);
    const at = list?.findIndex((waiter) => waiter.key === key) ?? -1;
    const [waiter] = at < 0 ? [] : (list?.splice(at, 1) ?? []);
    if (range === undefined || waiter === undefined) return undefined;
    rangeOf.delete(key);
    if (list?.length === 0) byRange.delete(range);
    return { range, need: waiter.need };
  }

  return {
    put(range, waiter) {
      remove(waiter.key);
      const list = byRange.get(range) ?? [];
      list.splice(positionOf(list, waiter), 0, { ...waiter, promised: false });
      byRange.set(range, list);
      rangeOf.set(waiter.key, range);
    },
    remove,
    leftFor(range, key, free) {
      const list = free === 0 ? [] : (byRange.get(range) ?? []);
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
      const list = byRange.get(range) ?? [];
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
    ranges: () => [...byRange.keys()],
  };
}

/** Where the waiter belongs in a sorted list, by binary search: thousands may wait. */
function positionOf(list: readonly Waiter[], waiter: Waiter): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = list[middle];
    if (other !== undefined && byAge(other, waiter) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
