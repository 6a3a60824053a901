import { describe, expect, test } from 'vitest';
import { sleep, systemClock } from '../../src/kube/clock.ts';
import { manualClock } from '../support/manualClock.ts';

describe('sleep', () => {
  test('ends when its time has come', async () => {
    const clock = manualClock();
    let awake = false;
    const slept = sleep(clock, 100).then(() => (awake = true));
    await clock.elapse(99);
    expect(awake).toBe(false);
    await clock.elapse(1);
    await slept;
  });

  test('ends early on an abort, without an error and without a timer left', async () => {
    const clock = manualClock();
    const abort = new AbortController();
    const slept = sleep(clock, 100, abort.signal);
    abort.abort(new Error('never seen'));
    await slept;
    await sleep(clock, 100, abort.signal);
    expect(clock.pending).toBe(0);
  });
});

describe('the system clock', () => {
  test('runs what is due, and not what was taken back', async () => {
    const ran: string[] = [];
    await new Promise<void>((resolve) => {
      const cancel = systemClock.after(0, () => ran.push('taken back'));
      cancel();
      systemClock.after(-5, () => ran.push('late'));
      systemClock.after(1, resolve);
    });
    expect(ran).toEqual(['late']);
  });

  test('does not run at once what is due in months (setTimeout would)', async () => {
    let ran = false;
    const cancel = systemClock.after(90 * 24 * 3_600_000, () => (ran = true));
    await new Promise<void>((resolve) => void systemClock.after(5, resolve));
    cancel();
    cancel();
    expect(ran).toBe(false);
  });

  test('has two scales', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(60_000);
    expect(systemClock.monotonic()).toBeLessThanOrEqual(systemClock.monotonic());
  });
});

describe('the manual clock', () => {
  test('runs timers in the order of their times, at their times, those they make included', () => {
    const clock = manualClock();
    const ran: string[] = [];
    const note = (name: string) => () => ran.push(`${name} ${clock.monotonic()}`);
    clock.after(20, note('b'));
    clock.after(10, () => {
      note('a')();
      clock.after(5, note('made'));
      clock.after(500, note('never'));
    });
    clock.after(15, note('taken back'))();
    clock.advance(30);
    expect(ran).toEqual(['a 10', 'made 15', 'b 20']);
    expect([clock.monotonic(), clock.pending]).toEqual([30, 1]);
  });

  test('a step of the wall clock moves nothing else', () => {
    const clock = manualClock(1000);
    clock.stepWall(-400);
    clock.advance(10);
    expect([clock.now(), clock.monotonic()]).toEqual([610, 10]);
  });
});
