import type { Clock, Millis } from './clock.ts';

/** A token bucket: `burst` at once, then one every `everyMs`. */
export interface Bucket {
  /** Whether a token is there; nothing is taken. */
  has(): boolean;
  /** Takes a token. Only after has(). */
  take(): void;
}

export function createBucket(clock: Clock, burst: number, everyMs: Millis): Bucket {
  let tokens = burst;
  let at = clock.monotonic();
  const refill = (): void => {
    const now = clock.monotonic();
    tokens = Math.min(burst, tokens + (now - at) / everyMs);
    at = now;
  };
  return {
    has() {
      refill();
      return tokens >= 1;
    },
    take() {
      tokens -= 1;
    },
  };
}

/** Reads or makes an entry of a map of bounded size; the one that was used longest ago goes first. */
export function recent<K, V>(entries: Map<K, V>, most: number, key: K, make: () => V): V {
  const value = entries.get(key) ?? make();
  entries.delete(key);
  entries.set(key, value);
  if (entries.size > most) {
    const [oldest] = entries.keys();
    entries.delete(oldest as K);
  }
  return value;
}
