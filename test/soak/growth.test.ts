import { describe, expect, test } from 'vitest';
import { complaintOf, floorsOf, growthOf, type Point } from '../../soak/growth.ts';
import { complaintsAboutGrowth } from '../../soak/samples.ts';
import { randomFrom } from '../simulation/simulation.ts';

const TOLERANCE = { share: 0.05, amount: 5 };

/** Thirteen minutes, a sample each 5 s: 100 MB, a sawtooth of 20 MB, noise of 4 MB, and `perMinute` on top. */
function memory(perMinute: number, seed = 1): Point[] {
  const random = randomFrom(seed);
  return Array.from({ length: 160 }, (_, i) => {
    const at = 600 + 5 * i;
    return { at, value: 100 + (perMinute * (at - 600)) / 60 + 20 * ((i % 7) / 7) + 4 * random() };
  });
}

describe('a series that grows is found', () => {
  test.each([1, 2, 10])('%i MB a minute under a sawtooth of 20 MB', (perMinute) => {
    const points = memory(perMinute);
    expect(growthOf(points) / (13 * perMinute)).toBeCloseTo(1, 0);
    expect(complaintOf('RSS', points, TOLERANCE)).toMatch(/^RSS grows: by \d+\.\d in 795 s, where \d\.\d is/);
  });

  test('one socket a minute', () => {
    const sockets = Array.from({ length: 120 }, (_, i) => ({ at: 5 * i, value: 12 + Math.floor(i / 12) }));
    expect(complaintOf('sockets', sockets, { share: 0, amount: 3 })).toBeDefined();
  });

  test('also when some of it was measured just after a restart', () => {
    const points = memory(3).map((point, i) => (i > 148 ? { ...point, value: 60 } : point));
    expect(complaintOf('RSS', points, TOLERANCE)).toBeDefined();
  });
});

describe('a series that does not is left in peace', () => {
  test('flat and noisy, whatever the noise', () => {
    for (let seed = 1; seed <= 200; seed += 1)
      expect(complaintOf('RSS', memory(0, seed), TOLERANCE)).toBeUndefined();
  });

  test('one that falls', () => {
    expect(complaintOf('RSS', memory(-2), TOLERANCE)).toBeUndefined();
  });

  test('a burst that goes by, and one that is last', () => {
    const during = (from: number) =>
      memory(0).map((point, i) => (i >= from && i < from + 20 ? { ...point, value: 300 } : point));
    for (const from of [0, 50, 100]) expect(complaintOf('RSS', during(from), TOLERANCE)).toBeUndefined();
  });

  test('one of which nothing was measured', () => {
    expect(complaintOf('RSS', [], TOLERANCE)).toBeUndefined();
    expect(complaintOf('RSS', [{ at: 1, value: 100 }], TOLERANCE)).toBeUndefined();
  });
});

test('a floor is the lowest point of its window', () => {
  const points = [3, 1, 2, 9, 8].map((value, i) => ({ at: 10 * i, value }));
  expect(floorsOf(points, 30)).toEqual([
    { at: 10, value: 1 },
    { at: 40, value: 8 },
  ]);
});

test('sockets come and go with the load; more than can be in use is a leak', () => {
  const sample = { pid: 7, leads: true, rss: 100, heap: 20, queue: 0, lag: 5, requests: 1, writes: 1 };
  const using = (most: number) =>
    Array.from({ length: 160 }, (_, i) => ({ ...sample, at: 5 * i, sockets: i > 80 ? most : 6 }));
  expect(complaintsAboutGrowth(using(48), 0)).toEqual([]);
  expect(complaintsAboutGrowth(using(65), 0)).toEqual(['process 7 has 65 sockets, more than 64']);
});
