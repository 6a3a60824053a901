import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Arena, startArena } from './arena.ts';
import { describePlan, type Plan, planOf, playPlan } from './campaign.ts';
import { leavesNumbers } from './kinds.ts';

/** `SEED=` is the first history, `RUNS=` how many follow. By default a handful of different kinds. */
const { SEED, RUNS = '1' } = process.env;
const HANDFUL = [70, 77, 131];
const seeds = SEED === undefined ? HANDFUL : Array.from({ length: Number(RUNS) }, (_, i) => Number(SEED) + i);

let arena: Arena;
beforeAll(async () => {
  arena = await startArena();
});
afterAll(() => arena?.close());

describe('when the faults are over, every promise was kept and all that can be served is', () => {
  test.each(seeds.map(planOf).map((plan) => [describePlan(plan), plan] as const))(
    '%s',
    { timeout: 600_000 },
    async (_, plan) => {
      const { struck, complaints } = await playPlan(arena, plan);
      // The next history gets a control plane of its own.
      if (plan.kinds.some(leavesNumbers)) {
        await arena.close();
        arena = await startArena();
      }
      if (complaints.length > 0) console.error(report(plan, struck, complaints));
      else if (SEED !== undefined)
        process.stderr.write(`e2e: SEED=${plan.seed}: well, after ${struck.length} strikes\n`);
      expect(complaints).toEqual([]);
    },
  );
});

/** At once, as a campaign takes hours: the plan, what came of it, and how to play it again. */
function report(plan: Plan, struck: readonly string[], complaints: readonly string[]): string {
  const replay = `SEED=${plan.seed} RUNS=1 vitest run --project e2e e2e/faults/campaign.test.ts`;
  return [describePlan(plan), 'struck:', ...struck, 'complaints:', ...complaints, `again: ${replay}`].join(
    '\n  ',
  );
}
