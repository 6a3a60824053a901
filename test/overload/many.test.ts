import { expect, test } from 'vitest';
import { isEvent, isOfServices, isOfTable, numberOf, observed, servedIn, showing } from './traffic.ts';

const MANY = 5_000;

test('5,000 Services at once: all are assigned, no number twice, and each costs two writes and its share of the table', async () => {
  const { sim, traffic } = observed({ seed: 1, concurrency: 32, nodePorts: [30_000, 59_999] });
  sim.namespace('a');
  for (let i = 0; i < MANY; i += 1) sim.service(`a/many-${i}`, { range: 'wide' });
  sim.start();
  await sim.elapse(5_000);
  traffic.forget();
  sim.range('wide', 30_200, 30_200 + MANY - 1);
  const began = sim.clock.monotonic();
  const served = servedIn(sim);
  await sim.until('all served', () => served.size >= MANY);
  const took = sim.clock.monotonic() - began;
  await sim.rest();
  // Some had been given a number of the range at random before.
  expect(showing(sim, 'Assigned') + showing(sim, 'Adopted')).toBe(MANY);
  expect(new Set(sim.services().map(numberOf)).size).toBe(MANY);
  const [services, table] = [traffic.count(isOfServices), traffic.count(isOfTable)];
  const all = traffic.count((request) => !isEvent(request));
  console.info(
    `5,000 at once: ${(all / MANY).toFixed(2)} requests a Service (Services ${services}, table ${table}), ` +
      `in ${(took / 1000).toFixed(1)} s of the simulated network; at most ${traffic.mostInASecond()} a second`,
  );
  expect(services / MANY).toBeLessThanOrEqual(2);
  expect(table / MANY).toBeLessThan(0.1);
  expect(sim.violations()).toEqual([]);
}, 60_000);
