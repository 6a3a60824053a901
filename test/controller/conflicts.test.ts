import { expect, test } from 'vitest';
import { compileRanges } from '../../src/allocation/range.ts';
import { createSurvey } from '../../src/allocation/usage.ts';
import type { ServiceView } from '../../src/api/service.ts';
import { type ConflictKind, createConflictWatch, type Drifting } from '../../src/controller/conflicts.ts';
import { desk, ranges, service, sources } from '../allocation/fixtures.ts';

const BLOCK = { name: 'nodeport-table-30000', namespace: 'system', uid: 'block' };

function watch(specs: Parameters<typeof desk>[0] = { r: {} }) {
  const d = desk(specs);
  const compiled = compileRanges(sources(ranges(specs)));
  const services = new Map<string, ServiceView>();
  const told: string[] = [];
  const counted: ConflictKind[] = [];
  let drifting: Drifting[] = [];
  let isKnown = true;
  const conflicts = createConflictWatch(
    {
      survey: createSurvey(),
      ranges: () => compiled,
      ledger: () => (isKnown ? d.ledger : undefined),
      service: (key) => services.get(key),
      taken: () => [],
      drifting: () => drifting,
    },
    {
      events: {
        record: ({ regarding, reason, note }) =>
          told.push(`${regarding.kind} ${regarding.name} ${reason}: ${note}`),
        flush: async () => {},
        dropped: 0,
        close: () => {},
      },
      firstSeen: (kind) => counted.push(kind),
    },
  );
  return {
    d,
    conflicts,
    told,
    counted,
    see: (view: ServiceView) => void services.set(view.key, d.see(view)),
    drift: (now: Drifting[]) => void (drifting = now),
    know: (now: boolean) => void (isKnown = now),
  };
}

test('a conflict is counted and told once while it lasts, and again when it returns', () => {
  const { d, conflicts, told, counted } = watch();
  const stranger = service(['http:80 30105'], { range: undefined });
  d.see(stranger);
  conflicts.look();
  conflicts.look();
  expect(counted).toEqual(['foreign_in_range']);
  expect(told).toEqual(
    ['Service web', 'PortRange r'].map(
      (party) =>
        `${party} ForeignInRange: a/web holds 30105 of PortRange r without having it from there: let it ask for the range, or move it`,
    ),
  );
  expect(conflicts.active().get('foreign_in_range')).toBe(1);
  d.vanish(stranger);
  conflicts.look();
  expect(conflicts.active().get('foreign_in_range')).toBe(0);
  d.see(stranger);
  conflicts.look();
  expect(counted).toEqual(['foreign_in_range', 'foreign_in_range']);
});

test('many strangers found at once are told each, and the PortRange in one event', () => {
  const { see, conflicts, told, counted } = watch();
  for (const number of [30_101, 30_102, 30_103])
    see(service([`http:80 ${number}`], { range: undefined, name: `s-${number}` }));
  conflicts.look();
  expect(counted).toHaveLength(3);
  expect(told.filter((text) => text.startsWith('Service '))).toHaveLength(3);
  expect(told.filter((text) => text.startsWith('PortRange '))).toEqual([
    'PortRange r ForeignInRange: a/s-30101 holds 30101 of PortRange r without having it from there: let it ask for the range, or move it (and 2 more like it)',
  ]);
});

test('a healthCheckNodePort is told what can be done about one', () => {
  const { see, conflicts, told } = watch();
  see(service([], { range: undefined, type: 'LoadBalancer', healthCheckNodePort: 30_105 }));
  conflicts.look();
  expect(told[0]).toMatch(/healthCheckNodePort, which cannot be changed: exclude the number/);
});

test('an overlap is told to both', () => {
  const { conflicts, told } = watch({ r: {}, s: { ranges: [{ from: 30_109, to: 30_110 }] } });
  conflicts.look();
  expect(told.map((text) => text.replace(/:.*/, ''))).toEqual([
    'PortRange s RangeOverlap',
    'PortRange r RangeOverlap',
  ]);
});

test('a block that drifts is counted although it is mended at once, and each time', () => {
  const { conflicts, drift, counted, told } = watch();
  for (const now of [[BLOCK], [], [BLOCK], []]) {
    drift(now);
    conflicts.look(['table_drift']);
  }
  expect(counted).toEqual(['table_drift', 'table_drift']);
  expect(told[0]).toMatch(/^ConfigMap nodeport-table-30000 TableDrift: nodeport-table-30000 was deleted, /);
});

test('a block found damaged before anything else is known is told all the same', () => {
  const { conflicts, drift, counted, know } = watch();
  know(false);
  drift([BLOCK]);
  conflicts.look(['table_drift']);
  expect(counted).toEqual(['table_drift']);
  expect(conflicts.active().get('table_drift')).toBe(1);
});

test('what was told stays told while nothing is known', () => {
  const { d, conflicts, counted, know } = watch();
  d.see(service(['http:80 30105'], { range: undefined }));
  conflicts.look();
  know(false);
  conflicts.look();
  expect(new Set(conflicts.active().values())).toEqual(new Set([undefined]));
  know(true);
  conflicts.look();
  expect(counted).toEqual(['foreign_in_range']);
});
