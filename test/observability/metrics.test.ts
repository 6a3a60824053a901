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
