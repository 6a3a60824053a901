import { describe, expect, test } from 'vitest';
import { createBucket, recent } from '../../src/kube/bucket.ts';
import { manualClock } from '../support/manualClock.ts';

describe('a bucket', () => {
  test('gives its burst at once, then one for every interval, and never saves up more than the burst', () => {
    const clock = manualClock();
    const bucket = createBucket(clock, 3, 100);
    const takeAll = (): number => {
      let taken = 0;
      for (; bucket.has(); taken += 1) bucket.take();
      return taken;
    };
    expect(takeAll()).toBe(3);
    clock.advance(99);
    expect(takeAll()).toBe(0);
    clock.advance(1);
    expect(takeAll()).toBe(1);
    clock.advance(1_000_000);
    expect(takeAll()).toBe(3);
  });
});

describe('what was used recently', () => {
  test('is kept, up to a number; what was used longest ago is forgotten', () => {
    const entries = new Map<string, string>();
    const use = (key: string): string => recent(entries, 3, key, () => `made ${entries.size}`);
    for (const key of ['a', 'b', 'c', 'a', 'd']) use(key);
    expect([...entries.keys()]).toEqual(['c', 'a', 'd']);
    expect([use('a'), use('b')]).toEqual(['made 0', 'made 3']);
  });
});
