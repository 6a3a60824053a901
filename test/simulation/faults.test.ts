import { describe, expect, test } from 'vitest';
import { kindsOf, play } from './campaign.ts';
import { KINDS } from './kinds.ts';

/** `SEED=` is the first history, `RUNS=` how many follow; each history is its own seed. */
const FIRST = Number(process.env['SEED'] ?? 0);
const RUNS = Number(process.env['RUNS'] ?? 2 * Object.keys(KINDS).length);

describe('when the faults are over, every promise was kept and all that can be served is', () => {
  const seeds = Array.from({ length: RUNS }, (_, i) => FIRST + (RUNS > 1 ? spread(i) : 0));

  test.each(seeds.map((seed) => [seed, kindsOf(seed).join(' and ')] as const))(
    'SEED=%i RUNS=1: %s',
    async (seed) => {
      expect((await play(seed)).complaints).toEqual([]);
    },
  );
});

/** A short campaign has each kind alone, and each beside some other; a long one all pairs, again and again. */
function spread(i: number): number {
  const count = Object.keys(KINDS).length;
  if (i < count) return i * count + i;
  return i < 2 * count ? (i - count) * count + ((i * 7) % count) : i - 2 * count;
}
