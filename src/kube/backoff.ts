import type { Clock, Millis } from './clock.ts';

export interface Backoff {
  /** Milliseconds to wait now; at least `atLeastMs`. Each call counts as one failure. */
  next(atLeastMs?: Millis): Millis;
}

/**
 * client-go's for reflectors (tools/cache/reflector.go): 0.8 s, doubled up to 30 s, each stretched by up to as much
 * again; from the start when nothing has failed for 2 minutes.
 */
export function createBackoff(clock: Clock, random: () => number): Backoff {
  const [firstMs, mostMs, resetMs] = [800, 30_000, 120_000];
  let step = 0;
  let last = Number.NEGATIVE_INFINITY;
  return {
    next(atLeastMs = 0) {
      const now = clock.monotonic();
      if (now - last >= resetMs) step = 0;
      const base = Math.min(firstMs * 2 ** step, mostMs);
      step += 1;
      const wait = Math.max(base * (1 + random()), atLeastMs);
      // Counted from the end of the wait: the wait itself is no sign of health.
      last = now + wait;
      return wait;
    },
  };
}
