import { vi } from 'vitest';

/** Tries again until `assertion` no longer throws; after `within` ms its last error is the answer. */
export function eventually<T>(assertion: () => T | Promise<T>, within = 30_000): Promise<T> {
  return vi.waitFor(assertion, { timeout: within, interval: 25 });
}
