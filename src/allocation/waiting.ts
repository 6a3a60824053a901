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
 * A waiter stays listed while it is being decided again, so a newcomer cannot slip in before it.
 */
export interface Waiting {
  /** Lists the Service under this range alone, wherever it stood before. */
  put(range: string, waiter: Waiter): void;
  /** Forgets the Service; what it waited for, if it was listed. */
  remove(key: string): { readonly range: string; readonly need: number } | undefined;
  /** What is left of `free` numbers after those who are asked before this Service; a newcomer is asked last. */
  leftFor(range: string, key: string, free: number): number;
  /** Who can be served with `free` numbers, in order. One that needs more than there are holds up nobody. */
  servable(range: string, free: number): string[];
  /** The ranges that somebody waits for. */
  ranges(): string[];
}

export function createWaiting(): Waiting {
  const byRange = new Map<string, Waiter[]>();
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
      list.splice(positionOf(list, waiter), 0, waiter);
      byRange.set(range, list);
      rangeOf.set(waiter.key, range);
    },
    remove,
    leftFor(range, key, free) {
      let left = free;
      for (const waiter of byRange.get(range) ?? []) {
        if (waiter.key === key || left === 0) break;
        if (waiter.need <= left) left -= waiter.need;
      }
      return left;
    },
    servable(range, free) {
      const keys: string[] = [];
      let left = free;
      for (const { key, need } of byRange.get(range) ?? []) {
        if (left === 0) break;
        if (need > left) continue;
        keys.push(key);
        left -= need;
      }
      return keys;
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
