import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lowestFree } from '../../src/ports/pick.ts';
import { portSet, portsOf, without } from '../../src/ports/portSet.ts';

describe('Sequential: the lowest free ports', () => {
  test('ascending from the first port of the range', () => {
    expect(lowestFree(portSet([{ from: 30_100, to: 30_199 }]), portSet(), 3)).toEqual([
      30_100, 30_101, 30_102,
    ]);
  });

  test('jumps over what is taken and what lies between two spans', () => {
    const range = portSet([{ from: 30_100, to: 30_102 }, { from: 30_250 }]);
    expect(lowestFree(range, portSet([{ from: 30_101 }]), 3)).toEqual([30_100, 30_102, 30_250]);
  });

  test("reaches the range's last port, and not the one after it", () => {
    const range = portSet([{ from: 30_090, to: 30_095 }]);
    expect(lowestFree(range, portSet([{ from: 30_090, to: 30_094 }]), 2)).toEqual([30_095]);
  });

  test('reaches the last port of all', () => {
    expect(lowestFree(portSet([{ from: 65_535 }]), portSet(), 1)).toEqual([65_535]);
  });

  test('gives fewer when there are not enough, and none when asked for none', () => {
    const range = portSet([{ from: 30_100, to: 30_101 }]);
    expect(lowestFree(range, portSet(), 5)).toEqual([30_100, 30_101]);
    expect(lowestFree(range, portSet(), 0)).toEqual([]);
    expect(lowestFree(range, range, 1)).toEqual([]);
  });

  test('any range and any taken ports: the first of what is left', () => {
    const spans = fc.array(
      fc
        .tuple(fc.integer({ min: 30_000, max: 30_130 }), fc.nat(40))
        .map(([from, length]) => ({ from, to: from + length })),
      { maxLength: 5 },
    );
    fc.assert(
      fc.property(spans, spans, fc.nat(50), (range, taken, count) => {
        const free = [...portsOf(without(portSet(range), portSet(taken)))];
        expect(lowestFree(portSet(range), portSet(taken), count)).toEqual(free.slice(0, count));
      }),
    );
  });
});
