import { describe, expect, test } from 'vitest';
import { createWorkqueue, type Workqueue } from '../../src/kube/workqueue.ts';
import { type ManualClock, manualClock } from '../support/manualClock.ts';

function queue(options: { random?: () => number; maxDelayMs?: number } = {}): {
  clock: ManualClock;
  queue: Workqueue;
  log: string[];
} {
  const clock = manualClock();
  const log: string[] = [];
  const observer = {
    added: () => log.push('added'),
    started: (waited: number) => log.push(`started ${waited}`),
    finished: (worked: number) => log.push(`finished ${worked}`),
    retried: () => log.push('retried'),
  };
  return { clock, log, queue: createWorkqueue({ clock, random: () => 0, observer, ...options }) };
}

describe('a key', () => {
  test('added many times is worked on once', () => {
    const { queue: q, log } = queue();
    for (let i = 0; i < 3; i++) q.add('a');
    q.add('b');
    expect([q.depth, q.take(10), q.depth, q.processing]).toEqual([2, ['a', 'b'], 0, 2]);
    expect(log.filter((line) => line === 'added')).toHaveLength(2);
  });

  test('added while it is being processed waits for the end of that, and comes once more', () => {
    const { queue: q } = queue();
    q.add('a');
    q.take(1);
    q.add('a');
    q.add('a');
    expect([q.depth, q.take(1)]).toEqual([0, []]);
    q.done('a');
    expect(q.take(2)).toEqual(['a']);
    q.done('a');
    expect([q.take(1), q.processing]).toEqual([[], 0]);
  });

  test('that is done or retried without being in processing is left alone', () => {
    const { queue: q, clock } = queue();
    q.done('a');
    q.retry('a');
    q.add('b');
    q.done('b');
    expect([q.depth, q.processing, clock.pending]).toEqual([1, 0, 0]);
  });
});

describe('order', () => {
  test('first in, first out within a lane', () => {
    const { queue: q } = queue();
    for (const key of ['c', 'a', 'b']) q.add(key);
    expect(q.take(2)).toEqual(['c', 'a']);
    expect(q.take(2)).toEqual(['b']);
  });

  test('lanes take turns, one key each, also from one take to the next: a burst in one starves none', () => {
    const { queue: q } = queue();
    for (let i = 0; i < 100; i++) q.add(`x${i}`, { lane: 'x' });
    q.add('y0', { lane: 'y' });
    q.add('y1', { lane: 'y' });
    q.add('z0', { lane: 'z' });
    expect(q.take(2)).toEqual(['x0', 'y0']);
    expect(q.take(4)).toEqual(['z0', 'x1', 'y1', 'x2']);
    q.add('z1', { lane: 'z' });
    expect(q.take(3)).toEqual(['x3', 'z1', 'x4']);
  });

  test('those that are first of all come before all lanes, in their order; one that is ready can become one', () => {
    const { queue: q } = queue();
    q.add('a', { lane: 'x' });
    q.add('b', { lane: 'x' });
    q.add('u1', { first: 'of all' });
    q.add('b', { first: 'of all' });
    q.add('u2', { first: 'of all' });
    q.add('u1');
    expect(q.depth).toBe(4);
    expect(q.take(10)).toEqual(['u1', 'b', 'u2', 'a']);
    expect(q.depth).toBe(0);
  });

  test('those that are first in their lane come before the others of it, and lanes take turns all the same', () => {
    const { queue: q } = queue();
    for (let i = 0; i < 3; i++) q.add(`x${i}`, { lane: 'x' });
    q.add('y0', { lane: 'y' });
    q.add('x9', { lane: 'x', first: 'in lane' });
    q.add('x2', { first: 'in lane' });
    q.add('y1', { lane: 'y' });
    expect(q.take(10)).toEqual(['x9', 'y0', 'x2', 'y1', 'x0', 'x1']);
  });

  test('precedence is gained, never lost', () => {
    const { queue: q } = queue();
    q.add('b', { lane: 'x', first: 'in lane' });
    q.add('a', { lane: 'x', first: 'of all' });
    q.add('a', { first: 'in lane' });
    q.add('b', { first: 'of all' });
    expect(q.take(2)).toEqual(['a', 'b']);
    q.add('a', { first: 'of all' });
    q.add('a', { first: 'in lane' });
    q.add('c', { first: 'in lane' });
    q.done('a');
    expect(q.take(2)).toEqual(['a', 'c']);
  });

  test('a lane is computed only for a key that is to stand in one', () => {
    const { queue: q } = queue();
    let computed = 0;
    const lane = (): string => `x${(computed += 1)}`;
    for (let i = 0; i < 5; i++) q.add('a', { lane, first: 'in lane' });
    expect(computed).toBe(1);
  });

  test('reset forgets what is ready or waits its backoff, and not what is in work', () => {
    const { queue: q, clock } = queue();
    for (const key of ['a', 'b', 'c']) q.add(key);
    q.take(2);
    q.retry('a');
    q.reset();
    expect([q.depth, q.processing, clock.pending]).toEqual([0, 1, 0]);
    q.done('b');
    q.add('c');
    expect(q.take(9)).toEqual(['c']);
  });

  test('what was first once is not so for ever, and precedence during processing counts for the next turn', () => {
    const { queue: q } = queue();
    q.add('a', { first: 'of all' });
    q.take(1);
    q.add('b');
    q.add('a');
    q.done('a');
    expect(q.take(2)).toEqual(['b', 'a']);
    q.add('c');
    q.add('a', { first: 'of all' });
    q.add('a');
    q.done('a');
    expect(q.take(2)).toEqual(['a', 'c']);
  });
});

describe('retry', () => {
  test('waits 5 ms x 2^n up to the cap, until forget', () => {
    const { queue: q, clock } = queue({ maxDelayMs: 40 });
    q.add('a');
    const waits: number[] = [];
    const fail = (): void => {
      expect(q.take(1)).toEqual(['a']);
      q.retry('a');
      const before = clock.monotonic();
      while (q.depth === 0) clock.advance(1);
      waits.push(clock.monotonic() - before);
    };
    for (let i = 0; i < 5; i++) fail();
    q.forget('a');
    fail();
    expect(waits).toEqual([5, 10, 20, 40, 40, 5]);
  });

  test('jitter takes at most half off', () => {
    const { queue: q, clock } = queue({ random: () => 0.999_999 });
    q.add('a');
    q.take(1);
    q.retry('a');
    clock.advance(2);
    expect(q.depth).toBe(0);
    clock.advance(1);
    expect(q.depth).toBe(1);
  });

  test('not before the time given, if that is later; but a time out of all reason is cut to ten minutes', () => {
    const { queue: q, clock } = queue();
    clock.advance(1000);
    q.add('a');
    q.take(1);
    q.retry('a', 1100);
    clock.advance(99);
    expect(q.depth).toBe(0);
    clock.advance(1);
    expect(q.take(1)).toEqual(['a']);
    q.retry('a', clock.now());
    clock.advance(600_000);
    expect(q.depth).toBe(1);
  });

  test('in the lane it had', () => {
    const { queue: q, clock } = queue();
    q.add('x0', { lane: 'x' });
    q.take(1);
    q.retry('x0');
    q.add('x1', { lane: 'x' });
    q.add('y0', { lane: 'y' });
    clock.advance(5);
    expect(q.take(3)).toEqual(['x1', 'y0', 'x0']);
  });

  test('an add ends the wait, since something has happened; and it comes only once', () => {
    const { queue: q, clock, log } = queue();
    q.add('a');
    q.take(1);
    q.retry('a');
    q.add('a', { first: 'of all' });
    expect([q.depth, clock.pending]).toEqual([1, 0]);
    q.take(1);
    q.add('a');
    q.retry('a');
    expect([q.depth, clock.pending]).toEqual([1, 0]);
    expect(log.filter((line) => line === 'retried')).toHaveLength(1);
  });
});

describe('what it tells', () => {
  test('how long keys waited and were worked on, and how old the running ones are', () => {
    const { queue: q, clock, log } = queue();
    q.add('a');
    clock.advance(2000);
    q.take(1);
    q.add('b');
    clock.advance(1000);
    q.take(1);
    clock.advance(500);
    expect(q.ages()).toEqual({ longest: 1.5, sum: 2 });
    q.done('a');
    q.retry('b');
    expect(log).toEqual([
      'added',
      'started 2',
      'added',
      'started 1',
      'finished 1.5',
      'finished 0.5',
      'retried',
    ]);
    expect(q.ages()).toEqual({ longest: 0, sum: 0 });
  });

  test('that there is work, each time there was none', () => {
    const { queue: q, clock } = queue();
    let calls = 0;
    q.onReady(() => (calls += 1));
    q.add('a');
    q.add('b');
    expect(calls).toBe(1);
    q.take(2);
    q.done('b');
    q.retry('a');
    clock.advance(5);
    expect(calls).toBe(2);
  });
});

test('a closed queue gives nothing, takes nothing and leaves no timers', () => {
  const { queue: q, clock } = queue();
  for (const key of ['a', 'b', 'c', 'd']) q.add(key);
  q.take(3);
  q.retry('a');
  q.close();
  q.done('b');
  q.retry('c');
  q.add('e');
  expect([q.take(10), q.depth, q.processing, clock.pending]).toEqual([[], 0, 0, 0]);
});

test('tens of thousands of keys do not make it slow: shifting an array would', () => {
  const { queue: q } = queue();
  const keys = 50_000;
  for (let i = 0; i < keys; i++) q.add(`k${i}`, { lane: `l${i % 3}` });
  for (let i = 0; i < keys; i += 2) q.add(`k${i}`, { first: 'of all' });
  const taken: string[] = [];
  for (let batch = q.take(256); batch.length > 0; batch = q.take(256)) taken.push(...batch);
  expect(new Set(taken).size).toBe(keys);
  expect(taken.slice(0, 3)).toEqual(['k0', 'k2', 'k4']);
});
