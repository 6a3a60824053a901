import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createMetrics, type MetricsSource } from '../../src/observability/metrics.ts';

const COUNTS = {
  capacity: 10,
  allocated: 2,
  foreign: 0,
  coolingDown: 0,
  free: 5,
  explicitOnlyFree: 3,
  outOfRange: 0,
};

function source(source: Partial<MetricsSource>): MetricsSource {
  return {
    ranges: () => new Set(['r']),
    usage: () => [['r', COUNTS]],
    waiting: () => [],
    queue: () => ({ depth: 0, ages: { longest: 0, sum: 0 } }),
    tableSizes: () => [],
    conflicts: () => [['duplicate', 0]],
    nodePortRangeSize: () => undefined,
    nodePortsInUse: () => undefined,
    cacheSilences: () => [],
    lastSync: () => undefined,
    ...source,
  };
}

async function page(given: Partial<MetricsSource> = {}): Promise<string> {
  const metrics = createMetrics();
  metrics.watch(source(given));
  return metrics.registry.metrics();
}

test('usage_ratio says the same as usedPercent: what is free only by number is not used', async () => {
  expect(await page()).toContain('nodeport_manager_range_usage_ratio{range="r"} 0.2');
  const nothing = { ...COUNTS, capacity: 0, allocated: 0, free: 0, explicitOnlyFree: 0 };
  const none = await page({ usage: () => [['r', nothing]] });
  expect(none).toContain('nodeport_manager_range_usage_ratio{range="r"} 1');
});

test('active_conflicts is absent while that is not known, as on a standby: 0 would say that there are none', async () => {
  expect(await page()).toContain('nodeport_manager_active_conflicts{kind="duplicate"} 0');
  expect(await page({ conflicts: () => [['duplicate', undefined]] })).not.toContain('active_conflicts{');
});

test('conflicts_total begins at 0 for every kind, so that its first increase is seen as one', async () => {
  expect(await page()).toContain('nodeport_manager_conflicts_total{kind="duplicate"} 0');
});

test('the cluster’s node ports in use, and how long each cache has heard nothing', async () => {
  const text = await page({ nodePortsInUse: () => 12, cacheSilences: () => [['services', 1_500]] });
  expect(text).toContain('nodeport_manager_node_port_range_used_ports 12');
  expect(text).toContain('nodeport_manager_cache_silence_seconds{name="services"} 1.5');
});

test('the node ports in use are absent until they are known: 0 would say that there are none', async () => {
  expect(await page()).not.toMatch(/^nodeport_manager_node_port_range_used_ports /m);
});

test("the size of the apiserver's own range is absent while it is unknown", async () => {
  expect(await page()).not.toMatch(/^nodeport_manager_node_port_range_ports /m);
  expect(await page({ nodePortRangeSize: () => 2_768 })).toMatch(
    /^nodeport_manager_node_port_range_ports 2768$/m,
  );
});

test('A scrape tells the lag of the event loop, without a clock that wakes the process all the time', async () => {
  const text = await page();
  expect(text).toMatch(/^nodejs_eventloop_lag_seconds \S+$/m);
  // These would be measured by such a clock, or not at all.
  expect(text).not.toMatch(/nodejs_eventloop_lag_p99_seconds/);
});

test.each([
  'nodeport_manager_allocations_total{range="r",outcome="assigned"} 0',
  'nodeport_manager_allocations_total{range="r",outcome="adopted"} 0',
  'nodeport_manager_allocations_total{range="r",outcome="refused"} 0',
  'nodeport_manager_releases_total{range="r"} 0',
  'nodeport_manager_allocations_total{range="",outcome="refused"} 0',
  'nodeport_manager_releases_total{range=""} 0',
  'nodeport_manager_allocation_duration_seconds_count 0',
  'nodeport_manager_table_writes_total{result="error"} 0',
  'nodeport_manager_table_heals_total{kind="corrupt"} 0',
  'nodeport_manager_events_dropped_total 0',
  'workqueue_adds_total{name="services"} 0',
  'workqueue_retries_total{name="services"} 0',
  'workqueue_queue_duration_seconds_count{name="services"} 0',
  'reflector_lists_total{name="services"} 0',
  'reflector_watches_total{name="services"} 0',
  'reflector_list_duration_seconds_count{name="services"} 0',
])('begins with the process: %s', async (line) => {
  const text = await page({ cacheSilences: () => [['services', 0]] });
  expect(text.split('\n')).toContain(line);
});

test('the series of a PortRange that is deleted are gone, and begin at 0 when it is made again', async () => {
  const ranges = new Set(['r', 'brief']);
  const metrics = createMetrics();
  metrics.watch(
    source({ ranges: () => ranges, usage: () => [...ranges].map((name) => [name, COUNTS] as const) }),
  );
  metrics.allocated('brief', 'assigned');
  metrics.released('brief');
  const about = async (): Promise<string[]> =>
    (await metrics.registry.metrics()).split('\n').filter((line) => line.includes('range="brief"'));
  expect(await about()).toContain('nodeport_manager_allocations_total{range="brief",outcome="assigned"} 1');
  // What is counted once for all gauges is counted anew when the next scrape comes.
  await setImmediate();
  ranges.delete('brief');
  metrics.released('brief');
  expect(await about()).toEqual([]);
  ranges.add('brief');
  expect(await about()).toContain('nodeport_manager_allocations_total{range="brief",outcome="assigned"} 0');
});

test('each scrape tells what is so then, and writes labels as Prometheus reads them', async () => {
  const name = 'a"b\\c\nd';
  let free = 5;
  const metrics = createMetrics();
  metrics.watch(source({ ranges: () => new Set([name]), usage: () => [[name, { ...COUNTS, free }]] }));
  for (; free > 2; free -= 1) {
    const text = await metrics.registry.metrics();
    expect(text).toContain(`nodeport_manager_range_free_ports{range="a\\"b\\\\c\\nd"} ${free}\n`);
    await setImmediate();
  }
});

test('buckets of the time to a port reach from milliseconds to minutes', async () => {
  const text = await page();
  for (const le of ['0.005', '60', '600']) {
    expect(text).toContain(`nodeport_manager_allocation_duration_seconds_bucket{le="${le}"} 0`);
  }
});

test('every metric has a HELP that says something, and seconds and bytes are named so', async () => {
  const text = await page();
  const helps = [...text.matchAll(/^# HELP (\S+) (.*)$/gm)].filter(
    ([, name]) => !/^(process|nodejs)_/.test(name ?? ''),
  );
  expect(helps.length).toBeGreaterThan(30);
  for (const [, name = '', help = ''] of helps) {
    expect(help, name).toMatch(/^[A-Z].{15,}\.$/);
    if (name.endsWith('_seconds')) expect(help, name).toMatch(/second|lag|time/i);
    if (name.endsWith('_bytes')) expect(help, name).toMatch(/bytes/i);
  }
});

/** So many Services of one PortRange, each seen, granted, refused, released and waiting. */
async function seriesWith(services: number): Promise<string[]> {
  const metrics = createMetrics();
  const reasons = ['RangeExhausted', 'PortTaken'];
  const waiting = Array.from({ length: services }, (_, i) => ({
    range: i % 3 === 0 ? `a-name-that-no-range-has-${i}` : 'r',
    reason: reasons[i % reasons.length] ?? '',
  }));
  metrics.watch(source({ waiting: () => waiting, nodePortsInUse: () => services }));
  for (const { range } of waiting) {
    metrics.workqueue.added();
    metrics.allocated(range, 'assigned');
    metrics.allocated(range, 'refused');
    metrics.released(range);
    metrics.took(0.01);
    metrics.request({ verb: 'PATCH', method: 'PATCH', code: '200', seconds: 0.01, host: 'h' });
  }
  const lines = (await metrics.registry.metrics())
    .split('\n')
    .filter((line) => /^(nodeport|workqueue|rest)/.test(line));
  return lines.map((line) => line.replace(/ \S+$/, '')).toSorted();
}

test('5,000 Services have the same series as 12', async () => {
  const many = await seriesWith(5_000);
  expect(many).toEqual(await seriesWith(12));
  expect(many.length).toBeGreaterThan(100);
});
