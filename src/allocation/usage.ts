import { countWithout, type Port, portsInBoth, sizeOf } from '../ports/portSet.ts';
import type { Range } from './range.ts';
import type { LedgerView } from './types.ts';

/** The counts of one range, in numbers, computed from what is held now and never by counting up and down. */
export interface Usage {
  /** What it can give in all: allocated + foreign + coolingDown + free + explicitOnlyFree. */
  readonly capacity: number;
  /** Held by, or reserved for, a managed Service of this range. */
  readonly allocated: number;
  /** Held by anything else; also a number that the apiserver refuses although nobody is seen to hold it. */
  readonly foreign: number;
  readonly coolingDown: number;
  /** What a request without `ports` could get. */
  readonly free: number;
  /** Free, but only to who asks for the number. */
  readonly explicitOnlyFree: number;
  /** 100·(capacity − free − explicitOnlyFree)/capacity, rounded down; 100 when capacity is 0. */
  readonly usedPercent: number;
  /** Managed holders of this range whose number it no longer contains. */
  readonly outOfRange: number;
}

/**
 * The usage of every range in one pass over their numbers and one over the table.
 * Cost: one ledger lookup for each number of each range.
 */
export function usageOf(ranges: Iterable<Range>, ledger: LedgerView): Map<string, Usage> {
  const heldOf = new Map<string, number>();
  for (const [, { state, range }] of ledger.entries()) {
    if (state === 'Held') heldOf.set(range, (heldOf.get(range) ?? 0) + 1);
  }
  const usage = new Map<string, Usage>();
  for (const range of ranges) usage.set(range.name, count(range, ledger, heldOf.get(range.name) ?? 0));
  return usage;
}

function count(range: Range, ledger: LedgerView, held: number): Usage {
  const capacity = sizeOf(range.effective);
  const counts = { allocated: 0, foreign: 0, coolingDown: 0 };
  for (const port of portsInBoth(range.effective, ledger.taken)) counts[kindOf(range, ledger, port)] += 1;
  const free = countWithout(range.pickable, ledger.taken);
  const used = counts.allocated + counts.foreign + counts.coolingDown;
  const usedPercent = capacity === 0 ? 100 : Math.floor((100 * used) / capacity);
  return {
    capacity,
    ...counts,
    free,
    explicitOnlyFree: capacity - used - free,
    usedPercent,
    outOfRange: held - counts.allocated,
  };
}

function kindOf(range: Range, ledger: LedgerView, port: Port): 'allocated' | 'foreign' | 'coolingDown' {
  const holding = ledger.holding(port);
  if (holding?.by === 'cooldown') return 'coolingDown';
  const entry = ledger.entry(port);
  const isOurs =
    entry?.state === 'Held' &&
    (holding?.by === 'reservation' || (holding?.by === 'service' && holding.managed));
  return isOurs && entry.range === range.name ? 'allocated' : 'foreign';
}
