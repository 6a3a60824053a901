/**
 * Time as a part that is passed in, so that a simulation can own it.
 * Durations and deadlines use `monotonic()`; `now()` is only for what other machines will read.
 */

/** Milliseconds; a duration or a reading of one of the clock's two scales. */
export type Millis = number;

/** Takes back what was scheduled. Harmless after it has run, and twice. */
export type Cancel = () => void;

export interface Clock {
  /** Wall clock, ms since 1970. It may step in either direction. */
  now(): Millis;
  /** Never goes back; its origin means nothing. */
  monotonic(): Millis;
  /** Runs `run` once, `ms` from now (never synchronously). Negative counts as 0. */
  after(ms: Millis, run: () => void): Cancel;
}

/** setTimeout's own bound (24.8 days): anything longer would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(Math.max(ms, 0), LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or at once when `signal` is or becomes aborted. Never rejects: look at the signal afterwards. */
export function sleep(clock: Clock, ms: Millis, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const wake = (): void => {
      cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = clock.after(ms, wake);
    signal?.addEventListener('abort', wake, { once: true });
  });
}
