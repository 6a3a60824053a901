/** What the order of the first decisions after a start is for. */
import { expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import { table, told } from '../museum/shelf.ts';
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
