import { expect, test } from 'vitest';
import { compileRanges } from '../../src/allocation/range.ts';
import { createSurvey, usageOf } from '../../src/allocation/usage.ts';
import type { PortRangeSpec, PortRangeStatus } from '../../src/api/portRange.ts';
import { isSameStatus, statusOf } from '../../src/controller/portRangeStatus.ts';
import { portSet } from '../../src/ports/portSet.ts';
import { desk, NOW, ranges, service, sources } from '../allocation/fixtures.ts';

/** The status of `r`, after a Service took its lowest number. */
function statusOfRange(
  spec: Partial<PortRangeSpec>,
  options: { before?: PortRangeStatus; now?: number; nodePorts?: [number, number] } = {},
): PortRangeStatus {
  const { before, now = NOW, nodePorts } = options;
  const d = desk({ r: spec });
  d.serve(service(['http:80 31000']));
  const [object] = ranges({ r: spec });
  const [from, to] = nodePorts ?? [0, 0];
  const compiled = compileRanges(sources(ranges({ r: spec })), nodePorts && portSet([{ from, to }]));
  const range = compiled.get('r');
  const usage = usageOf(compiled, d.ledger, createSurvey()(compiled, d.ledger)).get('r');
  if (object === undefined || range === undefined || usage === undefined) throw new Error('no range');
  const view = { key: 'r', uid: 'uid-r', resourceVersion: '1', assignmentSince: 0 };
  const shown = before === undefined ? object : { ...object, status: before };
  return statusOf({ ...view, object: shown }, range, usage, 0, now);
}

function conditions(status: PortRangeStatus): Record<string, string> {
  return Object.fromEntries(
    (status.conditions ?? []).map((c) => [c.type, `${c.status} ${c.reason}: ${c.message}`]),
  );
}

test('a range that gives ports is Ready', () => {
  expect(conditions(statusOfRange({}))).toEqual({
    Ready: 'True Reconciled: gives 30100-30109',
    Overlapping: 'False NoOverlap: no older PortRange has any of its ports',
    Exhausted: 'False PortsFree: has free ports',
    WithinNodePortRange: "Unknown NodePortRangeUnknown: the apiserver's own node port range is not known",
  });
});

test('a paused range is not Ready', () => {
  expect(conditions(statusOfRange({ paused: true }))).toMatchObject({
    Ready: 'False Paused: keeps its holders and takes no new ones',
  });
});

test('a range whose free ports are for those who name them is exhausted, and says how many there are', () => {
  const spec = { ranges: [{ from: 30_100, to: 30_103 }], explicitOnly: [{ from: 30_101, to: 30_103 }] };
  const status = statusOfRange(spec);
  expect(status).toMatchObject({ capacity: 4, allocated: 1, free: 0, explicitOnlyFree: 3, usedPercent: 25 });
  expect(conditions(status)).toMatchObject({
    Exhausted: 'True NoPortFree: none of 4 ports is free but 3 to who asks for the number',
  });
});

test('what the apiserver cannot give is named', () => {
  expect(conditions(statusOfRange({}, { nodePorts: [30_105, 32_767] }))).toMatchObject({
    Ready: 'True Reconciled: gives 30105-30109',
    WithinNodePortRange: 'False Beyond: the apiserver cannot give 30100-30104',
  });
});

test('lastTransitionTime changes with the status of its condition alone', () => {
  const before = statusOfRange({});
  const paused = statusOfRange({ paused: true }, { before, now: NOW + 60_000 });
  const times = paused.conditions?.map(({ type, lastTransitionTime }) => [type, lastTransitionTime]);
  expect(Object.fromEntries(times ?? [])).toEqual({
    Ready: '2026-01-01T00:01:00Z',
    Overlapping: '2026-01-01T00:00:00Z',
    Exhausted: '2026-01-01T00:00:00Z',
    WithinNodePortRange: '2026-01-01T00:00:00Z',
  });
  expect(isSameStatus(before, statusOfRange({}, { before, now: NOW + 60_000 }))).toBe(true);
  expect(isSameStatus(before, paused)).toBe(false);
});
