/** What the order of the first decisions after a start is for. */
import { expect, test } from 'vitest';
import { told } from '../museum/shelf.ts';
import { createSimulation, randomFrom } from './simulation.ts';

const REQUESTS = ['a', 'b', 'c', 'a,b', 'b,c', 'c,a', 'auto'];

/** Fourteen Services that ask three ranges of a few numbers, alone and together, one after the other. */
async function servedAfter(seed: number, whenToStart: 'before' | 'after'): Promise<readonly unknown[]> {
  const random = randomFrom(seed);
  const sim = createSimulation({ seed });
  sim.namespace('n');
  for (const [i, name] of ['a', 'b', 'c'].entries())
    sim.range(name, 30_000 + 4 * i, 30_001 + 4 * i + Math.floor(2 * random()));
  if (whenToStart === 'before') sim.start();
  for (let i = 0; i < 14; i += 1) {
    await sim.elapse(2_000);
    sim.service(`n/s${i}`, { range: REQUESTS[Math.floor(REQUESTS.length * random())] ?? 'auto' });
  }
  await sim.elapse(2_000);
  if (whenToStart === 'after') sim.start();
  await sim.rest();
  expect(sim.violations()).toEqual([]);
  return sim.services().map(({ metadata: { name } }) => {
    const condition = told(sim, `n/${name}`);
    return [name, condition?.reason, condition?.status === 'True' ? condition.message : ''];
  });
}

test('who came while no controller ran gets what it would have got from one that ran', async () => {
  for (let seed = 1; seed <= 40; seed += 1)
    expect(await servedAfter(seed, 'after'), `seed ${seed}`).toEqual(await servedAfter(seed, 'before'));
}, 60_000);
