/** An admin edits a pool, or somebody leaves it: elsewhere that moved holders. The stories are told in docs/museum.md. */
import { expect, test } from 'vitest';
import { RANGES } from '../../e2e/support/objects.ts';
import { createSimulation, type Simulation } from '../simulation/simulation.ts';
import { everybodysNumbers, ourMoves, table, told } from './shelf.ts';

const ranges = (from: number, to: number) => ({ spec: { ranges: [{ from, to }] } });
const edit = (spec: object) => (sim: Simulation) => void sim.request('PATCH', `${RANGES}/r`, spec);

const EDITS: [story: string, happens: (sim: Simulation) => void, why: string][] = [
  ['cilium #40358: the range is widened below all of them', edit(ranges(30_000, 30_039)), 'Assigned'],
  ['cilium #41458: the range shrinks from under some', edit(ranges(30_024, 30_029)), 'HeldOutOfRange'],
  [
    'metallb #1591: the range is deleted, and another takes its place',
    (sim) => {
      sim.request('DELETE', `${RANGES}/r`);
      sim.range('r', 30_100, 30_139);
    },
    'HeldOutOfRange',
  ],
  [
    'metallb #1591: the range is deleted for good',
    (sim) => void sim.request('DELETE', `${RANGES}/r`),
    'HeldOutOfRange',
  ],
  ['metallb #2723: another Service is deleted', (sim) => sim.remove('a/s0'), 'Assigned'],
];

test.each(EDITS)('%s: no holder moves, then or after a restart', async (_, happens, reason) => {
  const sim = createSimulation({ seed: 11 });
  sim.namespace('a');
  sim.range('r', 30_020, 30_029, { cooldown: '0s' });
  const present = sim.start();
  for (let i = 0; i < 8; i += 1) {
    sim.service(`a/s${i}`, { range: 'r' });
    await sim.elapse(1_000);
  }
  await sim.rest();
  // Lower numbers are free now: whoever is picked anew would come to one of them.
  for (const name of ['s1', 's2']) sim.remove(`a/${name}`);
  await sim.rest();
  const { 'a/s0': _s0, ...before } = everybodysNumbers(sim);
  expect(Object.values(before).flat().length).toBe(5);
  const moves = ourMoves(sim).length;
  happens(sim);
  await sim.rest();
  present.kill();
  sim.start();
  await sim.rest();
  expect(everybodysNumbers(sim)).toMatchObject(before);
  expect(ourMoves(sim)).toHaveLength(moves);
  expect(Object.keys(before).map((key) => told(sim, key)?.reason)).toContain(reason);
  for (const [key, [number = 0]] of Object.entries(before))
    expect(table(sim).get(number)).toMatchObject({ state: 'Held', service: key });
});
