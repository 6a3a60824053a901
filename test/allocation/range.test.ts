import { describe, expect, test } from 'vitest';
import {
  admitsNamespace,
  compileRanges,
  matches,
  parseDuration,
  type Range,
} from '../../src/allocation/range.ts';
import type { PortRangeSpec } from '../../src/api/portRange.ts';
import { format } from '../../src/ports/portSet.ts';
import { ranges, sources } from './fixtures.ts';

function compile(specs: Readonly<Record<string, Partial<PortRangeSpec>>>): (name: string) => Range {
  const compiled = compileRanges(sources(ranges(specs)));
  return (name) => compiled.get(name) as Range;
}

describe('what a range can give', () => {
  test('what it declares, without what it excludes', () => {
    const range = compile({
      r: {
        ranges: [{ from: 30_100, to: 30_109 }, { from: 30_250 }],
        excluded: [{ from: 30_105, to: 30_120 }],
      },
    })('r');
    expect(format(range.declared)).toBe('30100-30109,30250');
    expect(format(range.effective)).toBe('30100-30104,30250');
  });

  test('overlap: the older keeps the shared numbers, the younger does without and says to whom', () => {
    const get = compile({
      older: { ranges: [{ from: 30_100, to: 30_110 }] },
      younger: { ranges: [{ from: 30_105, to: 30_115 }] },
    });
    expect(format(get('older').effective)).toBe('30100-30110');
    expect(get('older').winsOver).toEqual(['younger']);
    expect(format(get('younger').effective)).toBe('30111-30115');
    expect(get('younger').losesTo.map(({ name, spans }) => [name, format(spans)])).toEqual([
      ['older', '30105-30110'],
    ]);
  });

  test('agones: ranges that share one boundary port overlap', () => {
    const get = compile({
      a: { ranges: [{ from: 30_100, to: 30_110 }] },
      b: { ranges: [{ from: 30_110, to: 30_120 }] },
    });
    expect(format(get('b').effective)).toBe('30111-30120');
    expect(get('b').losesTo).toHaveLength(1);
  });

  test('neighbours do not overlap', () => {
    const get = compile({ a: { ranges: [{ from: 30_100, to: 30_109 }] }, b: { ranges: [{ from: 30_110 }] } });
    expect([get('a').winsOver, get('b').losesTo]).toEqual([[], []]);
  });

  test('of two that are equally old, the first by name keeps them, however they are listed', () => {
    const twins = ranges({ z: {}, a: {} }).map((range) => ({
      ...range,
      metadata: { ...range.metadata, creationTimestamp: '2026-01-01T00:00:00Z' },
    }));
    for (const order of [twins, twins.toReversed()]) {
      const compiled = compileRanges(sources(order));
      expect(format(compiled.get('a')?.effective as never)).toBe('30100-30109');
      expect(format(compiled.get('z')?.effective as never)).toBe('');
    }
  });

  test('what the older one excludes is still its own', () => {
    const get = compile({
      older: { excluded: [{ from: 30_105 }] },
      younger: { ranges: [{ from: 30_105, to: 30_111 }] },
    });
    expect(format(get('younger').effective)).toBe('30110-30111');
  });

  test('three in a chain: each loses to every older one that has the number', () => {
    const get = compile({
      a: { ranges: [{ from: 30_100, to: 30_105 }] },
      b: { ranges: [{ from: 30_104, to: 30_110 }] },
      c: { ranges: [{ from: 30_105, to: 30_112 }] },
    });
    expect(format(get('c').effective)).toBe('30111-30112');
    expect(get('c').losesTo.map(({ name }) => name)).toEqual(['a', 'b']);
  });
});

describe('whom a range admits', () => {
  const red = { key: 'a', uid: 'a', resourceVersion: '1', labels: { team: 'red' } };
  const range = (spec: Partial<PortRangeSpec>): Range => compile({ r: spec })('r');

  test('everybody, when neither names nor a selector are given', () => {
    expect(admitsNamespace(range({}), 'a', undefined)).toBe(true);
  });

  test('only who is named, or matched', () => {
    const named = range({ namespaces: ['b'] });
    expect([admitsNamespace(named, 'a', red), admitsNamespace(named, 'b', undefined)]).toEqual([false, true]);
    const both = range({ namespaces: ['b'], namespaceSelector: { matchLabels: { team: 'red' } } });
    expect([
      admitsNamespace(both, 'a', red),
      admitsNamespace(both, 'b', undefined),
      admitsNamespace(both, 'a', undefined),
    ]).toEqual([true, true, false]);
  });

  test('an empty selector admits every namespace', () => {
    expect(admitsNamespace(range({ namespaceSelector: {} }), 'a', { ...red, labels: {} })).toBe(true);
  });
});

describe('label selectors', () => {
  const labels = { team: 'red', empty: '' };
  const expression = (key: string, operator: string, values?: string[]): boolean =>
    matches(
      { matchExpressions: [{ key, operator, ...(values === undefined ? {} : { values }) } as never] },
      labels,
    );

  test('all terms must hold', () => {
    expect(matches({ matchLabels: { team: 'red', tier: 'edge' } }, labels)).toBe(false);
    expect(matches({ matchLabels: { team: 'red', empty: '' } }, labels)).toBe(true);
  });

  test.each([
    ['team', 'In', ['blue', 'red'], true],
    ['team', 'In', ['blue'], false],
    ['tier', 'In', ['red'], false],
    ['team', 'NotIn', ['red'], false],
    ['tier', 'NotIn', ['red'], true],
    ['empty', 'Exists', undefined, true],
    ['tier', 'Exists', undefined, false],
    ['tier', 'DoesNotExist', undefined, true],
    ['team', 'DoesNotExist', undefined, false],
    ['team', 'Unheard', ['red'], false],
  ])('%s %s %j: %s', (key, operator, values, expected) => {
    expect(expression(key, operator, values)).toBe(expected);
  });

  test.each(['constructor', '__proto__', 'toString'])('%s is a label like others', (key) => {
    expect(expression(key, 'Exists')).toBe(false);
  });
});

test.each([
  ['5m', 300_000],
  ['1h30m', 5_400_000],
  ['0s', 0],
  ['168h', 604_800_000],
  ['90s', 90_000],
])('a duration: %s is %i ms', (text, expected) => {
  expect(parseDuration(text)).toBe(expected);
});
