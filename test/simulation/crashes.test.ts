import { describe, expect, test } from 'vitest';
import { differs, killing, type Kill, type Made, madeOn, type Moment, MOMENTS } from './crashes.ts';
import { endState, STEPS } from './scenario.ts';
import { createSimulation } from './simulation.ts';

const SEED = Number(process.env['SEED'] ?? 1);

interface History {
  /** After each step, up to the one in which the controller was killed. */
  readonly states: readonly unknown[];
  /** From the beginning to the end of each of them. */
  readonly made: readonly Made[];
  readonly violations: readonly string[];
  readonly writes: readonly string[];
  readonly struck: string | undefined;
}

/** The scenario, with one write at a time, as far as the end of the step in which the controller is killed. */
async function play(kill?: Kill): Promise<History> {
  const { faults, struck, writes } = killing(kill);
  const sim = createSimulation({ seed: SEED, concurrency: 1, faults });
  sim.supervise();
  const states: unknown[] = [];
  const made: Made[] = [];
  for (const step of STEPS) {
    await step.run(sim);
    await sim.rest();
    states.push(endState(sim));
    made.push(madeOn(sim.server));
    // The same state has the same future.
    if (struck() !== undefined) break;
  }
  return { states, made, violations: sim.violations(), writes, struck: struck() };
}

describe('killed around any write, the controller that starts next', async () => {
  const undisturbed = await play();

  test('has a history to be compared with', () => {
    expect(undisturbed.violations).toEqual([]);
    expect(undisturbed.writes.length).toBeGreaterThan(150);
    expect(undisturbed.states.at(-1)).toMatchSnapshot();
    const made = Object.keys(undisturbed.made.at(-1) ?? {});
    expect(made.filter((what) => what.startsWith('change ports ')).length).toBeGreaterThan(20);
    expect(made.filter((what) => what.startsWith('change condition ')).length).toBeGreaterThan(30);
  });

  test.each(Object.keys(MOMENTS) as Moment[])(
    'comes to the same state, by as many writes: %s',
    async (moment) => {
      for (const [at, write] of undisturbed.writes.entries()) {
        const { states, made, violations, struck } = await play({ at, moment });
        const what = `killed ${MOMENTS[moment]} of write ${at}, ${write}`;
        expect(struck, what).toBe(write);
        expect(violations, what).toEqual([]);
        const last = states.length - 1;
        expect(states[last], what).toEqual(undisturbed.states[last]);
        expect(differs(made[last] as Made, undisturbed.made[last] as Made), what).toEqual([]);
      }
    },
    900_000,
  );
});
