import type { Cancel, Clock, Millis } from './clock.ts';

export interface Throttle {
  /** Runs at once, or when `everyMs` have passed since it last ran: once, however often it was asked meanwhile. */
  ask(): void;
  /** What was asked and has not run yet does not. */
  cancel(): void;
}

/** For what is dear and may be asked for again and again, as after each edit of an object that somebody edits all the time. */
export function createThrottle(clock: Clock, everyMs: Millis, run: () => void): Throttle {
  let ranAt = Number.NEGATIVE_INFINITY;
  let planned: Cancel | undefined;
  const go = (): void => {
    planned = undefined;
    ranAt = clock.monotonic();
    run();
  };
  return {
    ask() {
      if (planned !== undefined) return;
      const wait = ranAt + everyMs - clock.monotonic();
      if (wait <= 0) go();
      else planned = clock.after(wait, go);
    },
    cancel() {
      planned?.();
      planned = undefined;
    },
  };
}
