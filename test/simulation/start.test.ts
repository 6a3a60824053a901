/** What the order of the first decisions after a start is for. */
import { expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import { table, told } from '../museum/shelf.ts';
import { isOfTable, observed, servedIn } from '../overload/traffic.ts';
import { createSimulation, randomFrom, type Simulation } from './simulation.ts';

const REQUESTS = ['a', 'b', 'c', 'a,b', 'b,c', 'c,a', 'auto'];

/** Fourteen Services that ask three ranges of a few numbers, alone and together, one after the other. */
async function servedAfter(seed: number, whenToStart: 'before' | 'after'): Promise<readonly unknown[]> {
  const random = randomFrom(seed);
  const sim = createSimulation({ seed });
  sim.namespace('n');
  // Some admit only strangers: who asks for `auto` then asks one, two or none.
  for (const [i, name] of ['a', 'b', 'c'].entries()) {
    const namespaces = random() < 0.4 ? { namespaces: ['strangers'] } : {};
    sim.range(name, 30_000 + 4 * i, 30_001 + 4 * i + Math.floor(2 * random()), namespaces);
  }
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

test('a start that SIGTERM overtakes while it stamps the table passes no barrier any more, and decides nothing', async () => {
  const written: string[] = [];
  const sim = createSimulation({
    seed: 1,
    faults: {
      onRequest: ({ method, path }) =>
        method === 'PUT' && path.includes('/configmaps/')
          ? { at: 'before', do: 'slow', ms: 3_000 }
          : undefined,
      onWrite(moment, { path }) {
        if (moment === 'before') written.push(path.split('?')[0] ?? '');
      },
    },
  });
  sim.namespace('n');
  sim.range('r', 30_000, 30_009);
  sim.service('n/holder', { range: 'r' });
  const former = sim.start();
  await sim.rest();
  former.kill();
  written.length = 0;
  sim.service('n/new', { range: 'r' });
  const next = sim.start();
  await sim.elapse(1_000);
  sim.service('n/meanwhile', { range: 'r' });
  await sim.elapse(1_000);
  await sim.stop(next);
  await sim.rest();
  expect(next.ended).toBe('stopped');
  expect(written).toEqual(['/api/v1/namespaces/nodeport-manager-system/configmaps/nodeport-table-30000']);
  expect([...table(sim).keys()]).toEqual([30_000]);
  expect(next.log.join('\n')).not.toContain('barrier passed');
  expect(next.controller.lastSync()).toBeUndefined();
});

test('after a restart a number goes to who has waited for it by name for longest, not to the eldest', async () => {
  const sim = createSimulation({ seed: 1 });
  const asks = { [ANNOTATION.ports]: '30000' };
  sim.namespace('n');
  sim.range('r', 30_000, 30_000, { cooldown: '0s' });
  sim.service('n/foreign', { ports: [{ name: 'http', port: 80, nodePort: 30_000 }] });
  const former = sim.start();
  await sim.rest();
  sim.service('n/eldest');
  await sim.elapse(5_000);
  sim.service('n/first', { annotations: asks });
  await sim.elapse(5_000);
  sim.edit('n/eldest', { metadata: { annotations: asks } });
  await sim.rest();
  await sim.stop(former);
  sim.remove('n/foreign');
  sim.start();
  await sim.rest();
  expect([told(sim, 'n/first')?.reason, told(sim, 'n/eldest')?.reason]).toEqual(['Assigned', 'PortTaken']);
});

/** More than two rounds: some have not been looked at when the newcomer comes. */
const MANY = 600;

/** Many wait for a range that is full; while no controller runs it grows to exactly what they need. */
async function waitersOf(): Promise<Simulation> {
  const sim = createSimulation({ seed: 3, nodePorts: [30_000, 31_999], concurrency: 8 });
  sim.namespace('n');
  sim.range('a', 30_000, 30_000);
  sim.range('full', 31_900, 31_900);
  sim.service('n/holder', { range: 'full' });
  const process = sim.start();
  await sim.elapse(2_000);
  for (let i = 0; i <= MANY; i += 1) sim.service(`n/s${String(i).padStart(3, '0')}`, { range: 'a' });
  await sim.rest();
  await sim.stop(process);
  sim.request('PATCH', '/apis/nodeport-manager.io/v1alpha1/portranges/a', {
    spec: { ranges: [{ from: 30_000, to: 30_000 + MANY }] },
  });
  await sim.elapse(5_000);
  return sim;
}

test.each([['auto'], ['full,a']])(
  'who has waited since before the start is served before a newcomer that asks %s',
  async (range) => {
    const sim = await waitersOf();
    const served = servedIn(sim);
    sim.start();
    await sim.until('some served', () => served.size >= 20);
    expect(served.size).toBeLessThan(MANY / 2);
    sim.service('n/newcomer', { range });
    await sim.rest();
    const names = sim.services().map(({ metadata }) => metadata.name);
    expect(names.filter((name) => told(sim, `n/${name}`)?.status !== 'True')).toEqual(['newcomer']);
  },
  60_000,
);

test('who comes while the table is taken over does not go before who was there', async () => {
  let isSlow = false;
  const { sim } = observed({ seed: 5 }, (request) =>
    isSlow && isOfTable(request) ? { at: 'before', do: 'slow', ms: 3_000 } : undefined,
  );
  sim.namespace('n');
  sim.range('a', 30_000, 30_001);
  sim.service('n/holder', { range: 'a' });
  const first = sim.start();
  await sim.rest();
  await sim.stop(first);
  await sim.elapse(2_000);
  sim.service('n/old', { range: 'a' });
  await sim.elapse(5_000);
  isSlow = true;
  sim.start();
  await sim.elapse(1_000);
  isSlow = false;
  sim.service('n/newcomer', { range: 'a' });
  await sim.rest();
  expect(['old', 'newcomer'].map((name) => told(sim, `n/${name}`)?.status)).toEqual(['True', 'False']);
});
