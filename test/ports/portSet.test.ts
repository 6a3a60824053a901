import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  add,
  countBoth,
  countWithout,
  format,
  has,
  intersection,
  isEmpty,
  lowestBit,
  portSet,
  portsInBoth,
  portsOf,
  remove,
  sizeOf,
  type Span,
  spansOf,
  union,
  without,
} from '../../src/ports/portSet.ts';

/** Spans close to each other, so that they touch, overlap and cross the borders of 32-bit words. */
const span = fc
  .tuple(fc.oneof(fc.integer({ min: 30_050, max: 30_140 }), fc.integer({ min: 1, max: 65_535 })), fc.nat(70))
  .map(([from, length]): Span => ({ from, to: Math.min(from + length, 65_535) }));
const spans = fc.array(span, { maxLength: 6 });

/** The slow and obvious way, to compare with. */
function numbersIn(all: readonly Span[]): Set<number> {
  const numbers = new Set<number>();
  for (const { from, to = from } of all) for (let port = from; port <= to; port++) numbers.add(port);
  return numbers;
}

function ascending(numbers: Iterable<number>): number[] {
  return [...numbers].toSorted((a, b) => a - b);
}

describe('a set of ports', () => {
  test('a span contains both of its ends and nothing beside them', () => {
    const set = portSet([{ from: 30_100, to: 30_199 }]);
    expect([30_099, 30_100, 30_199, 30_200].map((port) => has(set, port))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  test('a span without `to` is one port', () => {
    expect([...portsOf(portSet([{ from: 30_250 }]))]).toEqual([30_250]);
  });

  test('the lowest and the highest port there is', () => {
    const set = portSet([{ from: 1 }, { from: 65_535 }]);
    expect([...portsOf(set)]).toEqual([1, 65_535]);
    expect(has(set, 0)).toBe(false);
    expect(has(set, 65_536)).toBe(false);
    expect(format(set)).toBe('1,65535');
  });

  test('all ports at once are 65535', () => {
    expect(sizeOf(portSet([{ from: 1, to: 65_535 }]))).toBe(65_535);
  });

  test('no spans make the empty set, which prints as nothing', () => {
    expect(isEmpty(portSet())).toBe(true);
    expect(format(portSet())).toBe('');
  });

  test('overlapping and touching spans print as one run', () => {
    const set = portSet([{ from: 30_110, to: 30_120 }, { from: 30_100, to: 30_112 }, { from: 30_121 }]);
    expect(format(set)).toBe('30100-30121');
  });

  test('agones: ranges that share one boundary port overlap', () => {
    const shared = intersection(portSet([{ from: 7_000, to: 7_010 }]), portSet([{ from: 7_010, to: 7_020 }]));
    expect([...portsOf(shared)]).toEqual([7_010]);
  });

  test('tiggoins: every port of a 500-port segment is still there after it is read back from its text', () => {
    const set = portSet([{ from: 30_000, to: 30_499 }]);
    expect(sizeOf(set)).toBe(500);
    expect([...portsOf(set)]).toHaveLength(500);
  });

  test('any spans: the same numbers as counted one by one', () => {
    fc.assert(
      fc.property(spans, (all) => {
        const set = portSet(all);
        const expected = numbersIn(all);
        expect([...portsOf(set)]).toEqual(ascending(expected));
        expect(sizeOf(set)).toBe(expected.size);
        expect(isEmpty(set)).toBe(expected.size === 0);
      }),
    );
  });

  test('any two sets: union, difference, intersection and their sizes', () => {
    fc.assert(
      fc.property(spans, spans, (left, right) => {
        const [a, b] = [portSet(left), portSet(right)];
        const [x, y] = [numbersIn(left), numbersIn(right)];
        const onlyX = [...x].filter((port) => !y.has(port));
        expect([...portsOf(union(a, b))]).toEqual(ascending(new Set([...x, ...y])));
        expect([...portsOf(without(a, b))]).toEqual(ascending(onlyX));
        const both = ascending([...x].filter((port) => y.has(port)));
        expect([...portsOf(intersection(a, b))]).toEqual(both);
        expect([...portsInBoth(a, b)]).toEqual(both);
        expect(countWithout(a, b)).toBe(onlyX.length);
        expect(countBoth(a, b)).toBe(both.length);
      }),
    );
  });

  test('set operations leave their operands alone', () => {
    const [a, b] = [portSet([{ from: 30_000, to: 30_063 }]), portSet([{ from: 30_032, to: 30_095 }])];
    union(a, b);
    without(a, b);
    intersection(a, b);
    expect([format(a), format(b)]).toEqual(['30000-30063', '30032-30095']);
  });

  test('spans of a set rebuild it, are as few as possible, and ascend', () => {
    fc.assert(
      fc.property(spans, (all) => {
        const set = portSet(all);
        const runs = spansOf(set);
        expect(portSet(runs)).toEqual(set);
        for (const [i, run] of runs.entries()) expect(run.from).toBeGreaterThan((runs[i - 1]?.to ?? -1) + 1);
      }),
    );
  });

  test('adding and removing one port touches no other', () => {
    fc.assert(
      fc.property(spans, fc.integer({ min: 1, max: 65_535 }), (all, port) => {
        const set = portSet(all);
        const numbers = numbersIn(all);
        add(set, port);
        expect([...portsOf(set)]).toEqual(ascending(numbers.add(port)));
        remove(set, port);
        numbers.delete(port);
        expect([...portsOf(set)]).toEqual(ascending(numbers));
      }),
    );
  });

  test('the lowest bit of a word, also of the one whose highest bit is the sign', () => {
    expect(Array.from({ length: 32 }, (_, i) => lowestBit(1 << i))).toEqual(
      Array.from({ length: 32 }, (_, i) => i),
    );
    expect(lowestBit(0x8000_0000)).toBe(31);
    expect(lowestBit(0xffff_ffff)).toBe(0);
  });
});
