/**
 * What the numbers of ranges are in use for, computed from what is held now and never by counting up and down: the one
 * place that the status of PortRanges, the metrics and the detectors of conflicts have it from.
 *
 * One pass over the table sorts its numbers into sets of bits; each count is then the size of what a range and a set
 * have in common. Ranges never share a number that they can give, so a set serves all of them.
 */
import {
  add,
  countBoth,
  countWithout,
  has,
  type PortSet,
  portSet,
  portsOf,
  sizeOf,
  without,
} from '../ports/portSet.ts';
import type { Range } from './range.ts';
import type { HoldingKind, LedgerView } from './types.ts';

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

/** Every number that is taken, by what it means for the range that could give it. */
export interface Survey {
  readonly allocated: PortSet;
  readonly coolingDown: PortSet;
  /** All others that are taken, also beside the ranges. */
  readonly foreign: PortSet;
  /** Those of them that a Service has. */
  readonly strangers: PortSet;
  /** Held by managed Services of a range that could not give it now, or of none that exists. */
  readonly outOfRange: PortSet;
}

/**
 * The survey of now. It is taken again only after something changed, so that the gauges, the detectors and the status of
 * PortRanges that are asked together share one.
 */
export function createSurvey(): (ranges: ReadonlyMap<string, Range>, ledger: LedgerView) => Survey {
  let last:
    | { ranges: ReadonlyMap<string, Range>; ledger: LedgerView; revision: number; of: Survey }
    | undefined;
  return (ranges, ledger) => {
    const revision = ledger.revision();
    if (last?.ranges !== ranges || last.ledger !== ledger || last.revision !== revision)
      last = { ranges, ledger, revision, of: take(ranges, ledger) };
    return last.of;
  };
}

/** Cost: a few lookups for each entry of the table. */
function take(ranges: ReadonlyMap<string, Range>, ledger: LedgerView): Survey {
  const [allocated, coolingDown, outOfRange] = [portSet(), portSet(), portSet()];
  // Not for…of: that makes an array for each of tens of thousands of entries.
  ledger.entries().forEach(({ state, range }, port) => {
    const kind = ledger.kindOf(port);
    if (kind === 'cooldown') add(coolingDown, port);
    if (state !== 'Held') return;
    const effective = ranges.get(range)?.effective;
    if (effective === undefined || !has(effective, port)) add(outOfRange, port);
    else if (kind === 'managed' || kind === 'reservation') add(allocated, port);
  });
  const foreign = without(without(ledger.taken, allocated), coolingDown);
  const strangers = portSet();
  for (const port of portsOf(foreign)) if (isOfService(ledger.kindOf(port))) add(strangers, port);
  return { allocated, coolingDown, foreign, strangers, outOfRange };
}

function isOfService(kind: HoldingKind): boolean {
  return kind === 'managed' || kind === 'unmanaged';
}

/** The usage of those ranges that are named, or of all that there are. */
export function usageOf(
  ranges: ReadonlyMap<string, Range>,
  ledger: LedgerView,
  found: Survey,
  names: Iterable<string> = ranges.keys(),
): Map<string, Usage> {
  const strays = new Map<string, number>();
  for (const port of portsOf(found.outOfRange)) {
    const name = ledger.entry(port)?.range ?? '';
    strays.set(name, (strays.get(name) ?? 0) + 1);
  }
  const usage = new Map<string, Usage>();
  for (const name of names) {
    const range = ranges.get(name);
    if (range !== undefined) usage.set(name, count(range, ledger, found, strays.get(name) ?? 0));
  }
  return usage;
}

function count({ effective, pickable }: Range, ledger: LedgerView, found: Survey, strays: number): Usage {
  const capacity = sizeOf(effective);
  const used = countBoth(effective, ledger.taken);
  const allocated = countBoth(effective, found.allocated);
  const coolingDown = countBoth(effective, found.coolingDown);
  const free = countWithout(pickable, ledger.taken);
  return {
    capacity,
    allocated,
    foreign: used - allocated - coolingDown,
    coolingDown,
    free,
    explicitOnlyFree: capacity - used - free,
    usedPercent: capacity === 0 ? 100 : Math.floor((100 * used) / capacity),
    outOfRange: strays,
  };
}
