import { describe, expect, test } from 'vitest';
import type { Faults } from './faults.ts';
import { endState, STEPS } from './scenario.ts';
import { createSimulation, type SimProcess } from './simulation.ts';

const SEED = Number(process.env['SEED'] ?? 1);

const MOMENTS = {
  before: 'before it is sent on',
  after: 'after it took effect and before the answer',
  answered: 'after the answer',
} as const;
type Moment = keyof typeof MOMENTS;

interface History {
  /** After each step, up to the one in which the controller was killed. */
  readonly states: readonly unknown[];
  readonly violations: readonly string[];
  readonly writes: number;
}

/** The scenario, with one write at a time, and a kill at that moment of write `at` (counted from 0). */
async function play(at: number, moment: Moment): Promise<History> {
  let present: () => SimProcess = () => undefined as unknown as SimProcess;
  const seen = { before: 0, after: 0, answered: 0 };
  const faults: Faults = {
    onWrite(now) {
      if (now === moment && seen[now] === at) present().kill();
      seen[now] += 1;
    },
  };
  const sim = createSimulation({ seed: SEED, concurrency: 1, faults });
  present = sim.supervise();
  const states: unknown[] = [];
  for (const step of STEPS) {
    await step.run(sim);
    await sim.rest();
    states.push(endState(sim));
    // The same state has the same future.
    if (at >= 0 && seen[moment] > at) break;
  }
  return { states, violations: sim.violations(), writes: seen.before };
}

describe('killed around any write, the controller that starts next', async () => {
  const undisturbed = await play(-1, 'before');

  test('has a history to be compared with', () => {
    expect(undisturbed.violations).toEqual([]);
    expect(undisturbed.writes).toBeGreaterThan(150);
    expect(undisturbed.states.at(-1)).toMatchSnapshot();
  });

  test.each(Object.keys(MOMENTS) as Moment[])(
    'comes to the same state: %s',
    async (moment) => {
      for (let at = 0; at < undisturbed.writes; at += 1) {
        const { states, violations } = await play(at, moment);
        expect(violations, `killed ${MOMENTS[moment]} of write ${at}`).toEqual([]);
        const expected = undisturbed.states[states.length - 1];
        expect(states.at(-1), `killed ${MOMENTS[moment]} of write ${at}`).toEqual(expected);
      }
    },
    900_000,
  );
});
