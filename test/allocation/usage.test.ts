import { describe, expect, test } from 'vitest';
import { compileRanges } from '../../src/allocation/range.ts';
import { createSurvey, usageOf, type Usage } from '../../src/allocation/usage.ts';
import type { PortRangeSpec } from '../../src/api/portRange.ts';
import { desk, MINUTE, ranges, service, sources } from './fixtures.ts';

type Specs = Readonly<Record<string, Partial<PortRangeSpec>>>;

function usage(d: ReturnType<typeof desk>, specs: Specs): Usage | undefined {
  const compiled = compileRanges(sources(ranges(specs)));
  return usageOf(compiled, d.ledger, createSurvey()(compiled, d.ledger)).get('r');
}

const SPECS = {
  r: {
    ranges: [{ from: 30_100, to: 30_119 }],
    excluded: [{ from: 30_110, to: 30_111 }],
    explicitOnly: [{ from: 30_100, to: 30_102 }],
  },
};

describe('the counts of a range', () => {
  test('each number once: TCP and UDP on one number, a resting one, a foreign one, a healthCheckNodePort', () => {
    const d = desk(SPECS);
    d.serve(service(['dns:53 31000', 'dns-udp:53/UDP 31000', 'http:80 31001']));
    d.vanish(d.serve(service(['http:80 31002'], { name: 'gone' })));
    d.see(service(['http:80 30119'], { name: 'manual', range: undefined }));
    d.see(service(['http:80 31003'], { name: 'lb', range: undefined, healthCheckNodePort: 30_118 }));
    d.see(service(['http:80 30110'], { name: 'excluded', range: undefined }));
    expect(usage(d, SPECS)).toEqual({
      capacity: 18,
      allocated: 2,
      foreign: 2,
      coolingDown: 1,
      free: 10,
      explicitOnlyFree: 3,
      usedPercent: 27,
      outOfRange: 0,
    });
    d.pass(5 * MINUTE);
    expect(usage(d, SPECS)).toMatchObject({ coolingDown: 0, free: 11, usedPercent: 22 });
  });

  test('a reservation counts as allocated, a number that the apiserver refuses as foreign', () => {
    const d = desk(SPECS);
    const web = d.see(service(['a:80 31000', 'b:81 31001']));
    d.fold(web);
    expect(usage(d, SPECS)).toMatchObject({ allocated: 2, foreign: 0 });
    d.ledger.refused(web.uid, 30_103, d.now);
    expect(usage(d, SPECS)).toMatchObject({ allocated: 1, foreign: 1 });
  });

  test('holders that the range does not contain any more are out of range', () => {
    const d = desk(SPECS);
    d.serve(service(['a:80 31000', 'b:81 31001']));
    const shrunk = { r: { ranges: [{ from: 30_104, to: 30_105 }] } };
    expect(usage(d, shrunk)).toMatchObject({ capacity: 2, allocated: 1, outOfRange: 1, usedPercent: 50 });
  });

  test('who shares a number that the range contains is not out of range, whoever of them it was given to', () => {
    const d = desk(SPECS);
    d.see(service(['http:80 30105'], { name: 'twin', range: undefined }));
    const entry = d.ledger.entry(d.serve(service(['http:80 31000'])).ports[0]?.nodePort ?? 0);
    if (entry === undefined) throw new Error('nothing was given');
    d.see(service(['http:80 30105'], { name: 'other' }));
    d.ledger.restore(30_105, { ...entry, service: 'a/other', uid: 'uid-other' }, d.now);
    expect(usage(d, SPECS)).toMatchObject({ allocated: 1, foreign: 1, outOfRange: 0 });
  });

  test('a range that can give nothing is full', () => {
    const nothing = { old: { ranges: [{ from: 30_100, to: 30_119 }] }, ...SPECS };
    expect(usage(desk(nothing), nothing)).toMatchObject({ capacity: 0, free: 0, usedPercent: 100 });
  });
});

describe('the survey', () => {
  const compiled = compileRanges(sources(ranges(SPECS)));

  test('is the same while nothing changes, and another after every change', () => {
    const d = desk(SPECS);
    const survey = createSurvey();
    const now = (): object => survey(compiled, d.ledger);
    const changes: Record<string, () => unknown> = {
      'a Service': () => d.see(service(['http:80 30119'], { name: 'manual', range: undefined })),
      'a reservation': () => d.fold(d.see(service(['http:80 31000']))),
      'a refusal': () => d.ledger.refused('uid-web', 30_103, d.now),
      'a Service that goes': () => d.vanish(d.serve(service(['http:80 31002'], { name: 'gone' }))),
      'a cooldown that ends': () => d.pass(5 * MINUTE),
      'a block that cannot be read': () => d.ledger.setUnreadable([30_104], true),
    };
    for (const [what, change] of Object.entries(changes)) {
      const before = now();
      expect(now(), what).toBe(before);
      change();
      expect(now(), what).not.toBe(before);
    }
  });

  test('is another for other ranges', () => {
    const d = desk(SPECS);
    const survey = createSurvey();
    expect(survey(compiled, d.ledger)).not.toBe(survey(new Map(compiled), d.ledger));
  });
});
