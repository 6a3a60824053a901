import { expect, test } from 'vitest';
import type { Simulation } from '../simulation/simulation.ts';
import { observed, servedIn, showing } from './traffic.ts';

const BURST = 2_000;

/** Their ranges; `room`: numbers of the busy one, less one. */
function twoTeams(room = BURST - 1): Simulation {
  const { sim } = observed({ seed: 4, concurrency: 32, nodePorts: [30_000, 62_767] });
  sim.namespace('a');
  sim.range('busy', 30_200, 30_200 + room);
  sim.range('calm', 33_000, 33_000 + BURST - 1);
  return sim;
}

/**
 * Two rounds that began just before it came, the writes that may wait before rounds pause, the others of its own round
 * (their block of the table may be written sooner), and 32 writes each: under way when it comes, while the watch brings
 * it, beside its own. Whatever the burst's size.
 */
const MOST_BEFORE = 3 * 256 + 128 + 3 * 32;

/** One Service of the other range is created when a part of the burst is served; how long it waits, and how many pass it. */
async function oneBeside(sim: Simulation, served: ReadonlyMap<string, number>, part: number): Promise<void> {
  const began = sim.clock.monotonic();
  await sim.until('begun', () => served.size >= part * BURST);
  const [created, before] = [sim.clock.monotonic(), served.size];
  sim.service('a/single', { range: 'calm' });
  await sim.until('all served', () => served.size > BURST);
  const waited = (served.get('single') ?? 0) - created;
  const all = sim.clock.monotonic() - began;
  const overtaken = [...served].filter(([, at]) => at < (served.get('single') ?? 0)).length - before;
  console.info(
    `one beside 2,000: served after ${waited.toFixed(0)} of ${all.toFixed(0)} ms, ${overtaken} others before it`,
  );
  expect(overtaken).toBeLessThanOrEqual(MOST_BEFORE);
  expect(waited / all).toBeLessThanOrEqual((1.1 * MOST_BEFORE) / BURST);
  expect(sim.violations()).toEqual([]);
}

function burst(sim: Simulation): void {
  for (let i = 0; i < BURST; i += 1) sim.service(`a/busy-${i}`, { range: 'busy' });
}

test.each([
  ['just behind', 0],
  ['in the middle of', 0.3],
])(
  'one Service %s the 2,000 of another team is served within a few rounds, not after them',
  async (_, part) => {
    const sim = twoTeams();
    sim.start();
    await sim.elapse(5_000);
    const served = servedIn(sim);
    burst(sim);
    await oneBeside(sim, served, part);
  },
  60_000,
);

test('nor after the 2,000 that were created while no controller ran', async () => {
  const sim = twoTeams();
  burst(sim);
  const served = servedIn(sim);
  sim.start();
  await oneBeside(sim, served, 0.1);
}, 60_000);

test('nor one that was created behind them while no controller ran', async () => {
  const sim = twoTeams();
  burst(sim);
  sim.service('a/single', { range: 'calm' });
  const served = servedIn(sim);
  sim.start();
  await sim.until('served', () => served.has('single'));
  expect(served.size).toBeLessThanOrEqual(MOST_BEFORE);
}, 60_000);

test('nor is it otherwise because a stranger names both ranges, which do not admit it', async () => {
  const sim = twoTeams();
  sim.namespace('stranger');
  for (const name of ['busy', 'calm'])
    sim.request('PATCH', `/apis/nodeport-manager.io/v1alpha1/portranges/${name}`, {
      spec: { namespaces: ['a'] },
    });
  sim.service('stranger/both', { range: 'busy,calm' });
  burst(sim);
  const served = servedIn(sim);
  sim.start();
  await oneBeside(sim, served, 0.1);
}, 60_000);

test('nor after the 2,000 that waited until their PortRange grew', async () => {
  const sim = twoTeams(0);
  const served = servedIn(sim);
  sim.start();
  burst(sim);
  await sim.rest();
  expect(showing(sim, 'RangeExhausted')).toBe(BURST - 1);
  sim.request('PATCH', '/apis/nodeport-manager.io/v1alpha1/portranges/busy', {
    spec: { ranges: [{ from: 30_200, to: 30_200 + BURST - 1 }] },
  });
  await oneBeside(sim, served, 0.1);
}, 60_000);

test('two bursts take turns: neither is ever far ahead of the other', async () => {
  const sim = twoTeams();
  sim.start();
  await sim.elapse(5_000);
  const served = servedIn(sim);
  const half = BURST / 2;
  for (const range of ['busy', 'calm'])
    for (let i = 0; i < half; i += 1) sim.service(`a/${range}-${i}`, { range });
  await sim.until('all served', () => served.size >= BURST);
  let [ahead, furthest] = [0, 0];
  for (const name of served.keys()) {
    ahead += name.startsWith('busy') ? 1 : -1;
    furthest = Math.max(furthest, Math.abs(ahead));
  }
  console.info(`two bursts of 1,000: one is ahead by ${furthest} at most`);
  expect(furthest).toBeLessThan(300);
}, 60_000);
