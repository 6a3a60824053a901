/**
 * Killed around every write that a replica makes, those of the Lease among them: taking it, stamping it, renewing it,
 * letting go of it. Whoever leads next comes to where nobody was killed.
 */
import { describe, expect, test } from 'vitest';
import { complaintsAbout } from './campaign.ts';
import { killing, type Kill, type Moment, MOMENTS } from './crashes.ts';
import { endState } from './scenario.ts';
import { createSimulation, type Simulation } from './simulation.ts';

/** Renewals come every 2 s, and each of them is one more to be killed at. */
const A_WHILE = 3_000;
/** For the Lease to expire, and the next one to begin. */
const TAKEOVER = 15_000;

type Step = (sim: Simulation, leader: () => ReturnType<Simulation['start']>) => unknown;

const STEPS: readonly Step[] = [
  (sim) => {
    sim.namespace('a');
    sim.range('few', 30_000, 30_003, { cooldown: '0s' });
    for (let i = 0; i < 3; i += 1) sim.service(`a/s${i}`, { range: 'few' });
  },
  (sim) => {
    sim.service('a/s3', { range: 'few' });
    sim.service('a/waits', { range: 'few' });
  },
  (sim, leader) => leader().terminate(),
  (sim) => sim.remove('a/s1'),
];

interface History {
  readonly states: readonly unknown[];
  readonly complaints: readonly string[];
  readonly writes: readonly string[];
  readonly struck: string | undefined;
}

async function play(kill?: Kill): Promise<History> {
  const { faults, struck, writes } = killing(kill);
  const sim = createSimulation({ seed: 1, concurrency: 1, replicas: 2, faults });
  const leader = sim.supervise();
  const states: unknown[] = [];
  for (const step of STEPS) {
    await step(sim, leader);
    await sim.elapse(A_WHILE);
    if (struck() !== undefined) await sim.elapse(TAKEOVER);
    states.push(endState(sim));
    if (struck() !== undefined) break;
  }
  const made = [...writes];
  return { states, complaints: await complaintsAbout(sim), writes: made, struck: struck() };
}

describe('with a standby, killed around any write, whoever leads next', async () => {
  const undisturbed = await play();
  const ofTheLease = undisturbed.writes.filter((write) => write.includes('/leases'));

  test('has a history to be compared with', () => {
    expect(undisturbed.complaints).toEqual([]);
    expect(undisturbed.writes.length).toBeGreaterThan(25);
    expect(ofTheLease.length).toBeGreaterThan(8);
    expect(ofTheLease.filter((write) => write.startsWith('POST'))).not.toEqual([]);
  });

  test.each(Object.keys(MOMENTS) as Moment[])(
    'comes to the same state: %s',
    async (moment) => {
      for (const [at, write] of undisturbed.writes.entries()) {
        const { states, complaints, struck } = await play({ at, moment });
        const what = `killed ${MOMENTS[moment]} of write ${at}, ${write}`;
        expect(struck, what).toBe(write);
        expect(complaints, what).toEqual([]);
        expect(states.at(-1), what).toEqual(undisturbed.states[states.length - 1]);
      }
    },
    300_000,
  );
});
