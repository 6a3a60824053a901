import { expect, test } from 'vitest';
import { createThrottle } from '../../src/kube/throttle.ts';
import { manualClock } from '../support/manualClock.ts';

test('runs at once, then once at the end of each interval in which it was asked', () => {
  const clock = manualClock();
  const ran: number[] = [];
  const throttle = createThrottle(clock, 1_000, () => ran.push(clock.monotonic()));
  for (let i = 0; i < 25; i += 1) {
    throttle.ask();
    clock.advance(100);
  }
  clock.advance(10_000);
  throttle.ask();
  expect(ran).toEqual([0, 1_000, 2_000, 3_000, 12_500]);
});

test('what was cancelled does not run, and what is asked afterwards does', () => {
  const clock = manualClock();
  const ran: number[] = [];
  const throttle = createThrottle(clock, 1_000, () => ran.push(clock.monotonic()));
  throttle.ask();
  throttle.ask();
  throttle.cancel();
  clock.advance(5_000);
  expect([ran, clock.pending]).toEqual([[0], 0]);
  throttle.ask();
  expect(ran).toEqual([0, 5_000]);
});
