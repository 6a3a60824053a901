/** An etcd that was put back: what never was is in no cache any more, whichever of them tells it. */
import { expect, test } from 'vitest';
import { numbersOn, table, told } from '../museum/shelf.ts';
import { complaintsAbout } from './campaign.ts';
import type { Faults } from './faults.ts';
import { createSimulation, type LogLine } from './simulation.ts';

const SLOW = 60_000;
const isList = (path: string, kind: string): boolean => path.includes(`/${kind}?`) && path.includes('limit=');

/**
 * The Services tell that an etcd was put back. Before the table is listed, which takes its time, others have written
 * more than was lost: its list looks as if nothing had happened.
 */
test('Table = reality: after a restored etcd the table has nothing of who never was, though its own list does not tell', async () => {
  let isBack = false;
  let areServicesListed = false;
  const faults: Faults = {
    onRequest({ method, path }) {
      if (!isBack || method !== 'GET') return undefined;
      if (isList(path, 'configmaps')) return { at: 'before', do: 'slow', ms: SLOW };
      areServicesListed ||= isList(path, 'services');
      return undefined;
    },
  };
  const sim = createSimulation({ seed: 71, faults });
  sim.namespace('a');
  sim.range('r', 30_000, 30_009);
  sim.supervise();
  await sim.rest();
  const { revision } = sim.server;
  sim.service('a/never', { range: 'r' });
  await sim.rest();
  expect(numbersOn(sim, 'a/never')).toEqual([30_000]);
  const lost = sim.server.revision - revision;
  sim.restore(revision);
  isBack = true;
  await sim.until('listed', () => areServicesListed);
  await sim.elapse(1_000);
  for (let i = 0; i <= lost; i += 1)
    sim.request('PATCH', '/api/v1/namespaces/a', { metadata: { annotations: { i: `${i}` } } });
  await sim.elapse(3 * SLOW);
  isBack = false;
  await sim.rest();
  expect([...table(sim)]).toEqual([]);
  sim.service('a/new', { range: 'r' });
  await sim.rest();
  expect([numbersOn(sim, 'a/new'), told(sim, 'a/new')?.reason]).toEqual([[30_000], 'Assigned']);
  expect(await complaintsAbout(sim)).toEqual([]);
});

/** Of six writes that wait for their turn, each of which takes its time, most are still to be sent when it is noticed. */
test('In segment: once a restored etcd is noticed, no number that was decided before is sent any more', async () => {
  const order: string[] = [];
  const faults: Faults = {
    onRequest({ method, path }) {
      if (method !== 'PATCH' || !/\/services\/[^/]+\?/.test(path)) return undefined;
      order.push('sent');
      return { at: 'before', do: 'slow', ms: 5_000 };
    },
  };
  const onLog = ({ msg }: LogLine): void => {
    if (msg.includes('went back in time')) order.push('noticed');
    if (msg === 'barrier passed') order.push('barrier');
  };
  const sim = createSimulation({ seed: 72, concurrency: 1, faults, onLog });
  sim.namespace('a');
  sim.range('r', 30_000, 30_009);
  sim.supervise();
  await sim.rest();
  for (let i = 0; i < 6; i += 1) sim.service(`a/s${i}`, { range: 'r' });
  const { revision } = sim.server;
  await sim.elapse(1_000);
  order.length = 0;
  sim.restore(revision, 0);
  await sim.until('read again', () => order.includes('barrier'));
  expect(order).toContain('noticed');
  expect(order.slice(order.indexOf('noticed'))).not.toContain('sent');
  await sim.rest();
  expect(await complaintsAbout(sim)).toEqual([]);
});
