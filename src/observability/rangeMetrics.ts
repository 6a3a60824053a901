import type { Registry } from 'prom-client';
import { type Labels, oncePerScrape, registerComputed } from './computed.ts';

const PREFIX = 'nodeport_manager_';

export interface RangeCounts {
  readonly capacity: number;
  readonly allocated: number;
  readonly foreign: number;
  readonly coolingDown: number;
  readonly free: number;
  readonly explicitOnlyFree: number;
  readonly outOfRange: number;
}

export interface RangeSource {
  /** The PortRanges that exist: no other has a series, whatever Services ask for. */
  ranges(): { has(name: string): boolean; keys(): Iterable<string> };
  usage(): Iterable<readonly [string, RangeCounts]>;
}

export const OUTCOMES = ['assigned', 'adopted', 'refused'] as const;
type Outcome = (typeof OUTCOMES)[number];

export interface RangeMetrics {
  allocated(range: string, outcome: Outcome): void;
  released(range: string): void;
  /** The range if it exists, else '': what users write becomes no label. */
  labelOf(range: string): string;
  /** Gauges are read from here from now on. */
  watch(source: RangeSource): void;
}

/** What has happened in a PortRange since it was there; its labels are made once. */
interface Tally {
  readonly labels: Labels;
  readonly outcomes: Readonly<Record<Outcome, { readonly labels: Labels; count: number }>>;
  released: number;
}

/** The series of each PortRange: they begin at 0 with it, and are gone with it. */
export function createRangeMetrics(registry: Registry): RangeMetrics {
  let ranges = (): ReturnType<RangeSource['ranges']> => new Set();
  const tallies = new Map<string, Tally>();
  const labelOf = (range: string): string => (ranges().has(range) ? range : '');

  function tallyOf(range: string): Tally {
    const found = tallies.get(range);
    if (found !== undefined) return found;
    const none = (outcome: Outcome): { labels: Labels; count: number } => ({
      labels: { range, outcome },
      count: 0,
    });
    const outcomes = { assigned: none('assigned'), adopted: none('adopted'), refused: none('refused') };
    const made = { labels: { range }, outcomes, released: 0 };
    tallies.set(range, made);
    return made;
  }

  /** Those of the PortRanges that exist now, and of requests for none that does. */
  function present(): readonly Tally[] {
    const now = ranges();
    for (const range of tallies.keys()) if (range !== '' && !now.has(range)) tallies.delete(range);
    return ['', ...now.keys()].map(tallyOf);
  }

  registerComputed(
    registry,
    {
      name: `${PREFIX}allocations_total`,
      help: `Decisions about Services by outcome: ${OUTCOMES.join(', ')}.`,
      labelNames: ['range', 'outcome'],
      type: 'counter',
    },
    (put) => {
      for (const { outcomes } of present())
        for (const outcome of OUTCOMES) put(outcomes[outcome].labels, outcomes[outcome].count);
    },
  );
  registerComputed(
    registry,
    {
      name: `${PREFIX}releases_total`,
      help: 'Node ports released.',
      labelNames: ['range'],
      type: 'counter',
    },
    (put) => {
      for (const { labels, released } of present()) put(labels, released);
    },
  );

  return {
    labelOf,
    allocated: (range, outcome) => void (tallyOf(labelOf(range)).outcomes[outcome].count += 1),
    released: (range) => void (tallyOf(labelOf(range)).released += 1),
    watch(source) {
      ranges = () => source.ranges();
      const usage = oncePerScrape(() =>
        Array.from(source.usage(), ([range, counts]) => ({ labels: tallyOf(range).labels, counts })),
      );
      for (const [name, help, of] of GAUGES)
        registerComputed(registry, { name: `${PREFIX}range_${name}`, help, labelNames: ['range'] }, (put) => {
          for (const { labels, counts } of usage()) put(labels, of(counts));
        });
    },
  };
}

const GAUGES: readonly (readonly [name: string, help: string, of: (counts: RangeCounts) => number])[] = [
  ['capacity_ports', 'Node ports that the PortRange can give in all.', (c) => c.capacity],
  ['allocated_ports', 'Node ports held by managed Services of the PortRange.', (c) => c.allocated],
  ['foreign_ports', 'Node ports of the PortRange held by anything else.', (c) => c.foreign],
  ['cooling_down_ports', 'Node ports released a short time ago.', (c) => c.coolingDown],
  ['free_ports', 'Node ports that a new Service could get.', (c) => c.free],
  [
    'explicit_only_free_ports',
    'Node ports that are free only to who asks for the number.',
    (c) => c.explicitOnlyFree,
  ],
  [
    'out_of_range_ports',
    'Node ports of managed Services that their PortRange no longer contains.',
    (c) => c.outOfRange,
  ],
  [
    'usage_ratio',
    'Share of the PortRange that is not free, 0 to 1.',
    (c) => (c.capacity === 0 ? 1 : (c.capacity - c.free - c.explicitOnlyFree) / c.capacity),
  ],
];
