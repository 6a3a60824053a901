/** The net below the watches: what a resync finds, and what a rival did in the moment of a write. */
import { expect, test } from 'vitest';
import { RANGES } from '../../e2e/support/objects.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { numbersOn, ourWrites, table, told } from '../museum/shelf.ts';
import type { Faults } from './network.ts';
import { createSimulation, type LogLine } from './simulation.ts';

const MAPS = '/api/v1/namespaces/nodeport-manager-system/configmaps';
const BLOCK = `${MAPS}/nodeport-table-30000`;

/** Watches of these paths are accepted, and nothing ever comes. */
function deafTo(path: string): Faults & { isDeaf: boolean } {
  const faults: Faults & { isDeaf: boolean } = {
    isDeaf: true,
    onWatch: (request) =>
      faults.isDeaf && request.path.startsWith(path) ? { do: 'silence', after: 0 } : undefined,
  };
  return faults;
}

test('a table that was deleted while its watch shows nothing is there again after the next resync', async () => {
  const sim = createSimulation({ seed: 61, faults: deafTo(`${MAPS}?`) });
  sim.namespace('a');
  sim.range('r', 30_000, 30_009);
  sim.service('a/web', { range: 'r' });
  sim.start();
  await sim.rest();
  sim.request('DELETE', BLOCK);
  await sim.elapse(700_000);
  expect(table(sim).get(30_000)).toMatchObject({ state: 'Held', service: 'a/web' });
});

test('an edit of the table that our own write meets first is mended, told and counted', async () => {
  const metrics = createMetrics();
  const healed: unknown[] = [];
  const onLog = ({ audit, port, kind, from }: LogLine): void => {
    if (audit === 'healed') healed.push([port, kind, from]);
  };
  const sim = createSimulation({ seed: 66, faults: deafTo(`${MAPS}?`), metrics, onLog });
  sim.namespace('a');
  sim.range('r', 30_000, 30_009);
  sim.service('a/web', { range: 'r' });
  sim.start();
  await sim.rest();
  sim.request('PATCH', BLOCK, { data: { 30000: null } });
  sim.service('a/more', { range: 'r' });
  await sim.elapse(5_000);
  expect(table(sim).get(30_000)).toMatchObject({ state: 'Held', service: 'a/web' });
  expect(healed).toEqual([[30_000, 'edited', 'no entry']]);
  expect(await metrics.registry.metrics()).toContain('nodeport_manager_table_heals_total{kind="edited"} 1');
});

test('a cluster that is looked through five times is not written to', async () => {
  const sim = createSimulation({ seed: 62 });
  sim.namespace('a');
  sim.range('r', 30_000, 30_001);
  for (let i = 0; i < 4; i += 1) sim.service(`a/s${i}`, { range: 'r' });
  const { controller } = sim.start();
  await sim.rest();
  const revision = sim.server.revision;
  const since = controller.lastSync() ?? 0;
  await sim.elapse(3_500_000);
  expect((controller.lastSync() ?? 0) - since).toBeGreaterThan(2_400_000);
  expect(sim.server.revision).toBe(revision);
});

test('the status of a PortRange that met a conflict is written all the same', async () => {
  let isFirst = true;
  const sim = createSimulation({
    seed: 63,
    faults: {
      onRequest({ method, path }) {
        if (!isFirst || method !== 'PATCH' || !path.includes('/portranges/r/status')) return undefined;
        isFirst = false;
        return { at: 'before', do: 'answer', status: 409, reason: 'Conflict' };
      },
    },
  });
  sim.range('r', 30_000, 30_009);
  sim.start();
  await sim.rest();
  expect(isFirst).toBe(false);
  expect(sim.request('GET', `${RANGES}/r`)['status']).toMatchObject({ capacity: 10, free: 10 });
});

test('a number that a former leader reserves in the very moment of our write stays its, and ours goes elsewhere', async () => {
  let intrude = (): void => undefined;
  const faults: Faults = {
    onWrite(moment, { method, path }) {
      if (moment === 'before' && method === 'PUT' && path.startsWith(`${BLOCK}?`)) intrude();
    },
  };
  const sim = createSimulation({ seed: 64, faults });
  sim.namespace('a');
  sim.range('r', 30_000, 30_009);
  sim.service('a/first', { range: 'r' });
  sim.start();
  await sim.rest();
  const block = sim.request('GET', BLOCK);
  const stamp = { 'nodeport-manager.io/table-version': '1', 'nodeport-manager.io/epoch': '0/former' };
  const entry = { ...table(sim).get(30_000), service: 'a/late', uid: 'u-late' };
  intrude = () => {
    intrude = () => undefined;
    const metadata = { ...block.metadata, resourceVersion: undefined, annotations: stamp };
    const data = { ...(block['data'] as object), 30_001: JSON.stringify(entry) };
    sim.request('PUT', BLOCK, { ...block, metadata, data });
  };
  sim.service('a/web', { range: 'r' });
  await sim.elapse(5_000);
  expect([numbersOn(sim, 'a/web'), told(sim, 'a/web')?.reason]).toEqual([[30_002], 'Assigned']);
  const written = ourWrites(sim, 'services').map(({ object }) => JSON.stringify(object?.['spec']));
  expect(written.filter((spec) => spec.includes('30001'))).toEqual([]);
});

test('no Service is given a number before the table has answered, however long that takes', async () => {
  const order: string[] = [];
  const sim = createSimulation({
    seed: 65,
    faults: {
      onRequest: ({ method, path }) =>
        method !== 'GET' && path.startsWith(MAPS) ? { at: 'before', do: 'slow', ms: 3_000 } : undefined,
      onWrite(moment, { path }) {
        if (moment === 'after' && path.startsWith(MAPS)) order.push('table');
        if (moment === 'before' && path.includes('/services/web?')) order.push('Service');
      },
    },
  });
  sim.namespace('a');
  sim.range('r', 30_000, 30_009);
  sim.start();
  await sim.elapse(20_000);
  sim.service('a/web', { range: 'r' });
  await sim.elapse(20_000);
  expect(order).toEqual(['table', 'Service']);
});
