import { expect, test } from 'vitest';
import { observed, servedIn } from './traffic.ts';

const BURST = 2_000;

function twoTeams(): ReturnType<typeof observed>['sim'] {
  const { sim } = observed({ seed: 4, concurrency: 32, nodePorts: [30_000, 62_767] });
  sim.namespace('a');
  sim.range('busy', 30_200, 30_200 + BURST - 1);
  sim.range('calm', 33_000, 33_000 + BURST - 1);
  sim.start();
  return sim;
}

/**
 * Two rounds that began just before it came, the writes that may wait before rounds pause, the others of its own round
 * (their block of the table may be written sooner), and 32 writes each: under way when it comes, while the watch brings
 * it, beside its own. Whatever the burst's size.
 */
const MOST_BEFORE = 3 * 256 + 128 + 3 * 32;

test.each([
  ['just behind', 0],
  ['in the middle of', 0.3],
])(
  'one Service %s the 2,000 of another team is served within a few rounds, not after them',
  async (_, from) => {
    const sim = twoTeams();
    await sim.elapse(5_000);
    const served = servedIn(sim);
    const began = sim.clock.monotonic();
    for (let i = 0; i < BURST; i += 1) sim.service(`a/busy-${i}`, { range: 'busy' });
    await sim.until('begun', () => served.size >= from * BURST);
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
  },
  60_000,
);

test('two bursts take turns: neither is ever far ahead of the other', async () => {
  const sim = twoTeams();
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
