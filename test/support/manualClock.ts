import type { Clock, Millis } from '../../src/kube/clock.ts';

export interface ManualClock extends Clock {
  /** Lets `ms` pass at once: timers that fall due run in their order, each at its own time. */
  advance(ms: Millis): void;
  /** The same with pauses for promises and sockets: before each timer and at the end, one turn of the event loop. */
  elapse(ms: Millis): Promise<void>;
  /** Lets time pass, `step` ms for each turn of the event loop, until `condition` holds. Fails after `most` ms of its time. */
  until(condition: () => boolean, options?: { step?: Millis; most?: Millis }): Promise<void>;
  /** Lets the earliest timer run, and everything that follows from it; false when there is none. */
  step(): Promise<boolean>;
  /** Moves the wall clock alone, as an administrator or NTP does. */
  stepWall(ms: Millis): void;
  /** Timers that have not run. */
  readonly pending: number;
}

/** A clock that moves only when told to. Wall time begins at 2026-01-01T00:00:00Z, monotonic time at 0. */
export function manualClock(startsAt: Millis = Date.UTC(2026, 0, 1)): ManualClock {
  let monotonic = 0;
  let wall = startsAt;
  const timers = new Set<{ due: Millis; run: () => void }>();

  const moveTo = (time: Millis): void => {
    wall += time - monotonic;
    monotonic = time;
  };
  /** Runs the earliest timer due by `end`; false when there is none. */
  const runNext = (end: Millis): boolean => {
    let next: { due: Millis; run: () => void } | undefined;
    for (const timer of timers)
      if (timer.due <= end && (next === undefined || timer.due < next.due)) next = timer;
    if (next === undefined) return false;
    timers.delete(next);
    moveTo(Math.max(monotonic, next.due));
    next.run();
    return true;
  };
  const clock: ManualClock = {
    now: () => wall,
    monotonic: () => monotonic,
    after(ms, run) {
      const timer = { due: monotonic + Math.max(ms, 0), run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance(ms) {
      const end = monotonic + ms;
      while (runNext(end));
      moveTo(end);
    },
    async elapse(ms) {
      const end = monotonic + ms;
      do await turn();
      while (runNext(end));
      moveTo(end);
      await turn();
    },
    async until(condition, { step = 50, most = 3_600_000 } = {}) {
      const end = monotonic + most;
      while (!condition()) {
        if (monotonic > end)
          throw new Error(`after ${most} ms on the clock: ${condition.toString()} does not hold`);
        clock.advance(step);
        await turn();
      }
    },
    async step() {
      await turn();
      const ran = runNext(Number.POSITIVE_INFINITY);
      await turn();
      return ran;
    },
    stepWall(ms) {
      wall += ms;
    },
    get pending() {
      return timers.size;
    },
  };
  return clock;
}

/** Promises settle, and sockets that are ready are read. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
