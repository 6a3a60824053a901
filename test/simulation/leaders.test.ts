import { expect, test } from 'vitest';
import { complaintsAbout } from './campaign.ts';
import { createSimulation, type Simulation, type SimProcess } from './simulation.ts';

/** Two replicas on a range of one number with a holder, and another Service that waits for it. */
async function twoReplicas(): Promise<{
  sim: Simulation;
  leader: SimProcess;
  standby: SimProcess;
  /** What was listed so far, in order. */
  listed: string[];
}> {
  const listed: string[] = [];
  const sim = createSimulation({
    seed: 1,
    replicas: 2,
    faults: {
      onRequest({ method, path }) {
        const [kind = '', query = ''] = path.split('?');
        const parameters = new URLSearchParams(query);
        if (method === 'GET' && parameters.has('limit')) listed.push(kind.slice(kind.lastIndexOf('/') + 1));
        return undefined;
      },
    },
  });
  sim.namespace('a');
  sim.range('one', 30_000, 30_000, { cooldown: '0s' });
  const both = [sim.start(), sim.start()];
  await sim.rest();
  sim.service('a/old', { range: 'one' });
  await sim.elapse(1_000);
  sim.service('a/next', { range: 'one' });
  await sim.rest();
  const [leader, standby] = both.toSorted((a) => (a.identity === sim.leaseHolder() ? -1 : 1));
  return { sim, leader: leader as SimProcess, standby: standby as SimProcess, listed };
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

test('a standby that has kept in touch takes over with a fresh list of the table alone', async () => {
  const { sim, leader, standby, listed } = await twoReplicas();
  const before = listed.length;
  sim.remove('a/old');
  await sim.elapse(1_000);
  leader.kill();
  await sim.elapse(30_000);
  expect(sim.leaseHolder()).toBe(standby.identity);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
  expect(listed.slice(before)).toEqual(['configmaps']);
  expect(await complaintsAbout(sim)).toEqual([]);
});
