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

async function page(source: Partial<MetricsSource> = {}): Promise<string> {
  const metrics = createMetrics();
  metrics.watch({
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
  });
  return metrics.registry.metrics();
}

test('usage_ratio says the same as usedPercent: what is free only by number is not used', async () => {
  expect(await page()).toContain('nodeport_manager_range_usage_ratio{range="r"} 0.2');
  const nothing = { ...COUNTS, capacity: 0, allocated: 0, free: 0, explicitOnlyFree: 0 };
  const none = await page({ usage: () => [['r', nothing]] });
  expect(none).toContain('nodeport_manager_range_usage_ratio{range="r"} 1');
});

test('conflicts_total begins at 0 for every kind, so that its first increase is seen as one', async () => {
  expect(await page()).toContain('nodeport_manager_conflicts_total{kind="duplicate"} 0');
});

test('the cluster’s node ports in use, and how long each cache has heard nothing', async () => {
  const text = await page({ nodePortsInUse: () => 12, cacheSilences: () => [['services', 1_500]] });
  expect(text).toContain('nodeport_manager_node_port_range_used_ports 12');
  expect(text).toContain('nodeport_manager_cache_silence_seconds{name="services"} 1.5');
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
