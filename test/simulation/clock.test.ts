import { expect, test } from 'vitest';
import { createSimulation, type Simulation, type SimProcess } from './simulation.ts';

const HOURS = 3_600_000;
const MINUTES = 60_000;

/** A number that has just been released and rests for five minutes, and a Service that waits for it. */
async function resting(): Promise<{ sim: Simulation; process: SimProcess }> {
  const sim = createSimulation({ seed: 1 });
  sim.namespace('a');
  sim.range('one', 30_000, 30_000, { cooldown: '5m' });
  const process = sim.start();
  sim.service('a/old', { range: 'one' });
  await sim.rest();
  sim.service('a/next', { range: 'one' });
  await sim.rest();
  sim.remove('a/old');
  await sim.elapse(MINUTES);
  return { sim, process };
}

function numbers(sim: Simulation): unknown {
  return sim.services().map(({ spec }) => (spec as { ports: { nodePort: number }[] }).ports[0]?.nodePort);
}

test('No leak: a number is free within its cooldown and one resync, although the wall clock was set back by hours', async () => {
  const { sim } = await resting();
  sim.stepClock(-5 * HOURS);
  await sim.elapse(2 * MINUTES);
  expect(numbers(sim)).not.toEqual([30_000]);
  await sim.elapse(13 * MINUTES);
  expect(numbers(sim)).toEqual([30_000]);
});

test('No leak: nor after a restart', async () => {
  const { sim, process } = await resting();
  process.kill();
  sim.stepClock(-5 * HOURS);
  sim.start();
  await sim.elapse(6 * MINUTES);
  expect(numbers(sim)).toEqual([30_000]);
});
