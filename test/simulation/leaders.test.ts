import { expect, test } from 'vitest';
import { complaintsAbout } from './campaign.ts';
import { createSimulation, type Simulation, type SimProcess } from './simulation.ts';

/** Two replicas on a range of one number with a holder, and another Service that waits for it. */
async function twoReplicas(): Promise<{ sim: Simulation; leader: SimProcess; standby: SimProcess }> {
  const sim = createSimulation({ seed: 1, replicas: 2 });
  sim.namespace('a');
  sim.range('one', 30_000, 30_000, { cooldown: '0s' });
  const both = [sim.start(), sim.start()];
  await sim.rest();
  sim.service('a/old', { range: 'one' });
  await sim.elapse(1_000);
  sim.service('a/next', { range: 'one' });
  await sim.rest();
  const [leader, standby] = both.toSorted((a) => (a.identity === sim.leaseHolder() ? -1 : 1));
  return { sim, leader: leader as SimProcess, standby: standby as SimProcess };
}

test('One owner: a standby whose watches have fallen silent lists everything anew before it leads', async () => {
  const { sim, leader, standby } = await twoReplicas();
  // The watch of Services dies without a word.
  standby.cutOff(true);
  sim.remove('a/old');
  await sim.elapse(1_000);
  standby.cutOff(false);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
  leader.kill();
  await sim.elapse(30_000);
  expect(sim.leaseHolder()).toBe(standby.identity);
  expect(await complaintsAbout(sim)).toEqual([]);
});
