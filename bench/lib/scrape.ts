import { createLedger, type Ledger } from '../../src/allocation/ledger.ts';
import { compileRanges, type Range } from '../../src/allocation/range.ts';
import { createSurvey, usageOf } from '../../src/allocation/usage.ts';
import type { PortRange } from '../../src/api/portRange.ts';
import { toServiceView } from '../../src/api/service.ts';
import { createConflictWatch } from '../../src/controller/conflicts.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { type Findings, show } from './report.ts';
import { median } from './stats.ts';

const RANGES = 500;
const RANGE_SIZE = 60;
const FIRST_PORT = 20_000;
const ROUNDS = 41;
const BUDGET_MS = 20;
const NOW = Date.parse('2026-11-21T08:00:00Z');

/** A scrape of many PortRanges whose every number is in use, without the HTTP around it. */
export async function scrape(): Promise<Findings> {
  const ranges = compileRanges(
    Array.from({ length: RANGES }, (_, i) => ({ object: portRange(i), assignmentSince: 0 })),
  );
  const ledger = filled();
  const { registry } = watching(ranges, ledger);
  const samples: number[] = [];
  let page = '';
  const another = holder(RANGES * RANGE_SIZE, FIRST_PORT + RANGES * RANGE_SIZE);
  for (let round = 0; round < ROUNDS; round++) {
    // Nothing is remembered from the scrape before: since then something changed.
    const [before, after] = round % 2 === 0 ? [undefined, another] : [another, undefined];
    ledger.observe(before, after, NOW);
    const began = process.cpuUsage();
    page = await registry.metrics();
    const { user, system } = process.cpuUsage(began);
    samples.push((user + system) / 1_000);
    // What is counted once for all gauges of a scrape is forgotten before the next.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const lines = page.split('\n').filter((line) => line.includes('range="range-')).length;
  if (lines < RANGES * 12) throw new Error(`only ${lines} series name a range`);
  const what = `a scrape of ${RANGES} PortRanges, ${RANGES * RANGE_SIZE} ports in use, ${lines} series of ranges`;
  const value = median(samples);
  return {
    figures: [{ what, ours: `${show(value)} ms`, bare: '', value, budget: BUDGET_MS, unit: ' ms' }],
    raw: [
      ['ms', 'least', 'median', 'most'],
      ['scrape', ...[Math.min(...samples), value, Math.max(...samples)].map(show)],
    ],
    notes: [
      `Processor time, which others on the machine hardly change; ${ROUNDS} scrapes of ${Math.round(page.length / 1024)} KiB.`,
    ],
  };
}

function watching(ranges: ReadonlyMap<string, Range>, ledger: Ledger): ReturnType<typeof createMetrics> {
  const metrics = createMetrics();
  const survey = createSurvey();
  const conflicts = createConflictWatch(
    {
      survey,
      ranges: () => ranges,
      ledger: () => ledger,
      service: () => undefined,
      taken: () => [],
      drifting: () => [],
    },
    {
      events: { record: () => {}, flush: () => Promise.resolve(), close: () => {}, dropped: 0 },
      firstSeen: metrics.conflictSeen,
    },
  );
  metrics.watch({
    ranges: () => ranges,
    usage: () => usageOf(ranges, ledger, survey(ranges, ledger)),
    waiting: () => [],
    queue: () => ({ depth: 0, ages: { longest: 0, sum: 0 } }),
    tableSizes: () => [],
    conflicts: conflicts.active,
    nodePortRangeSize: () => 65_535,
    nodePortsInUse: () => ledger.inUse(),
    cacheSilences: () => [],
    lastSync: () => NOW,
  });
  return metrics;
}

/** One number in ten belongs to a Service that the table knows nothing of: a conflict. */
function filled(): Ledger {
  const ledger = createLedger({ cooldownOf: () => 300_000 });
  for (let i = 0; i < RANGES * RANGE_SIZE; i++) {
    const [port, range] = [FIRST_PORT + i, `range-${Math.floor(i / RANGE_SIZE)}`];
    const service = holder(i, port);
    ledger.observe(undefined, service, NOW);
    if (i % 10 === 0) continue;
    const { key, uid } = service;
    const held = { state: 'Held', service: key, uid, ports: ['http:80/TCP'], since: NOW } as const;
    ledger.restore(port, { ...held, range, request: `range=${range}` }, NOW);
  }
  return ledger;
}

function holder(i: number, nodePort: number): ReturnType<typeof toServiceView> {
  return toServiceView({
    metadata: {
      name: `holder-${i}`,
      namespace: 'bench',
      uid: `holder-${i}`,
      resourceVersion: '1',
      creationTimestamp: '2026-11-21T08:00:00Z',
    },
    spec: { type: 'NodePort', ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort }] },
  });
}

function portRange(i: number): PortRange {
  const from = FIRST_PORT + i * RANGE_SIZE;
  const creationTimestamp = new Date(NOW + i * 1_000).toISOString();
  return {
    metadata: { name: `range-${i}`, uid: `uid-${i}`, resourceVersion: '1', generation: 1, creationTimestamp },
    spec: { ranges: [{ from, to: from + RANGE_SIZE - 1 }] },
  } as unknown as PortRange;
}
