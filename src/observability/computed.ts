import type { Metric, Registry } from 'prom-client';

export type Labels = Readonly<Record<string, string>>;

/** Hands over one series. Labels that are the same object in each scrape are written out once, and not each time. */
export type Put = (labels: Labels, value: number) => void;

interface Description {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
  /** @default gauge */
  readonly type?: 'gauge' | 'counter';
}

const NONE: Labels = {};

/**
 * A metric that is computed when a scrape comes, and of which nothing is kept between scrapes.
 *
 * prom-client's own Gauge checks and hashes the labels of every value, and the registry escapes them again and again: with
 * 500 PortRanges that was most of a scrape. Here values go to the registry as its histograms hand theirs over, whose
 * labels are remembered as text for as long as the object lives.
 */
export function registerComputed(
  registry: Registry,
  { name, help, labelNames = [], type = 'gauge' }: Description,
  collect: (put: Put) => void,
): void {
  const metric = {
    name,
    help,
    type,
    labelNames,
    async get() {
      const values: object[] = [];
      collect((sharedLabels, value) => values.push({ value, labels: NONE, sharedLabels }));
      return { name, help, type, values };
    },
  };
  // The registry asks for no more of a metric than its name, and that it can be got.
  registry.registerMetric(metric as unknown as Metric);
}

/** All metrics of a scrape are collected in one turn: what is costly to count is counted once for them. */
export function oncePerScrape<T>(compute: () => T): () => T {
  let value: { readonly of: T } | undefined;
  return () => {
    if (value === undefined) {
      value = { of: compute() };
      setImmediate(() => {
        value = undefined;
      });
    }
    return value.of;
  };
}
