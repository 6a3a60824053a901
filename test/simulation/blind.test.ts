import { expect, test } from 'vitest';
import { RANGES } from '../../e2e/support/objects.ts';
import { pastOf } from '../museum/shelf.ts';
import { complaintsAbout } from './campaign.ts';
import type { WatchFault } from './faults.ts';
import { createSimulation, type Simulation } from './simulation.ts';

/** A cluster whose watches of these paths are as `fault` says, as long as it is blind. */
function cluster(
  fault: WatchFault,
  paths = '/',
): { sim: Simulation; counted: string[]; blind(is: boolean): void } {
  let isBlind = true;
  const counted: string[] = [];
  const sim = createSimulation({
    seed: 1,
    faults: {
      onWatch: ({ path }) => (isBlind && path.includes(paths) ? fault : undefined),
      onRequest({ method, path }) {
        if (method !== 'GET') counted.push(`${method} ${path.split('?')[0]}`);
        return undefined;
      },
    },
  });
  sim.namespace('a');
  sim.range('team', 30_000, 30_009, { cooldown: '0s' });
  sim.supervise();
  return { sim, counted, blind: (is) => void (isBlind = is) };
}

const DROPS_ALL: WatchFault = { do: 'drop', odds: 1 };

test('Converges: what a watch has skipped silently, the resync brings', async () => {
  const { sim, blind } = cluster(DROPS_ALL);
  await sim.rest();
  sim.service('a/new', { range: 'team' });
  await sim.elapse(60_000);
  blind(false);
  await sim.elapse(700_000);
  expect(await complaintsAbout(sim)).toEqual([]);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
});

test('No leak: a number is free again after one resync, although its release was not shown', async () => {
  const { sim, blind } = cluster(DROPS_ALL);
  blind(false);
  sim.service('a/old', { range: 'team' });
  await sim.rest();
  blind(true);
  sim.resetConnections();
  await sim.elapse(30_000);
  sim.remove('a/old');
  await sim.elapse(60_000);
  blind(false);
  await sim.elapse(700_000);
  sim.service('a/new', { range: 'team' });
  await sim.rest();
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
});

test('Rests: the status of a PortRange that was refused as outdated is tried again less and less often', async () => {
  const { sim, counted } = cluster({ do: 'lag', ms: 60_000 }, '/portranges');
  await sim.elapse(1_000);
  sim.service('a/web', { range: 'team' });
  await sim.elapse(1_000);
  sim.service('a/more', { range: 'team' });
  await sim.elapse(300_000);
  const written = counted.filter((one) => one.endsWith('/portranges/team/status'));
  expect(written.length).toBeLessThan(24);
  expect(sim.list(RANGES).map(({ status }) => status)).toMatchObject([{ allocated: 2 }]);
});

test('No early release: a list of Services that is older than the table is not believed', async () => {
  let past: number | undefined;
  const sim = createSimulation({
    seed: 1,
    faults: {
      onWatch: () => ({ do: 'lag', ms: 5_000 }),
      onRequest({ path }) {
        if (past === undefined || !path.startsWith('/api/v1/services?')) return undefined;
        const by = sim.server.revision - past;
        past = undefined;
        return { at: 'before', do: 'stale', by };
      },
    },
  });
  sim.namespace('a');
  sim.range('team', 30_000, 30_009, { cooldown: '0s' });
  sim.service('a/web', { range: 'team' });
  const first = sim.start();
  await sim.rest();
  sim.edit('a/web', { spec: { type: 'ClusterIP' } });
  await sim.rest();
  const { revision } = sim.server;
  sim.edit('a/web', { spec: { type: 'NodePort' } });
  await sim.rest();
  first.kill();
  past = revision;
  sim.start();
  await sim.rest();
  expect(past).toBeUndefined();
  expect(await complaintsAbout(sim)).toEqual([]);
});

test('In segment: after the apiserver was away nothing is written before everything was read again', async () => {
  let wasAway = false;
  const sim = createSimulation({
    seed: 1,
    faults: {
      onRequest({ method, path }) {
        // What was decided before cannot be written before; what was put back is slow to be read.
        if (!wasAway && method === 'PUT' && path.includes('/configmaps/'))
          return { at: 'before', do: 'reset' };
        return wasAway && method === 'GET' && path.includes('limit=')
          ? { at: 'before', do: 'slow', ms: 20_000 }
          : undefined;
      },
    },
  });
  sim.namespace('a');
  sim.range('team', 30_000, 30_000);
  sim.service('a/one', { range: 'team' });
  sim.supervise();
  await sim.rest();
  sim.service('a/two', { range: 'team' });
  await sim.rest();
  const { revision } = sim.server;
  sim.request('PATCH', '/apis/nodeport-manager.io/v1alpha1/portranges/team', {
    spec: { ranges: [{ from: 30_000, to: 30_009 }] },
  });
  await sim.elapse(200);
  wasAway = true;
  sim.restore(revision);
  await sim.elapse(600_000);
  expect(await complaintsAbout(sim)).toEqual([]);
  expect(sim.services().map(({ status }) => status)).toMatchObject([
    { conditions: [{ reason: 'Assigned' }] },
    { conditions: [{ reason: 'RangeExhausted' }] },
  ]);
});

test('One owner: a number that its owner got back between the list of the table and the next leader’s first stamp stays Held', async () => {
  const sim = createSimulation({
    seed: 1,
    faults: {
      onRequest: ({ method, body = '' }) =>
        method === 'PUT' && body.includes('/sim_2') ? { at: 'before', do: 'slow', ms: 20_000 } : undefined,
    },
  });
  sim.namespace('a');
  sim.range('team', 30_000, 30_009, { cooldown: '0s' });
  sim.service('a/web', { range: 'team' });
  const former = sim.start();
  await sim.rest();
  sim.edit('a/web', { spec: { type: 'ClusterIP' } });
  await sim.rest();
  sim.start();
  await sim.elapse(5_000);
  sim.edit('a/web', { spec: { type: 'NodePort' } });
  await sim.elapse(5_000);
  former.kill();
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
  await sim.rest();
  expect(await complaintsAbout(sim)).toEqual([]);
});

test('One owner: a number that its owner left between the list of the table and the next leader’s first stamp is not Held once more', async () => {
  const sim = createSimulation({
    seed: 1,
    faults: {
      onRequest: ({ method, body = '' }) =>
        method === 'PUT' && body.includes('/sim_2') ? { at: 'before', do: 'slow', ms: 20_000 } : undefined,
    },
  });
  sim.namespace('a');
  sim.range('team', 30_000, 30_009, { cooldown: '0s' });
  sim.service('a/web', { range: 'team' });
  const former = sim.start();
  await sim.rest();
  sim.start();
  await sim.elapse(5_000);
  sim.remove('a/web');
  await sim.elapse(5_000);
  former.kill();
  await sim.rest();
  const states = pastOf(sim, 30_000).map(({ state }) => state);
  expect(states.filter((state, i) => state !== states[i - 1])).toEqual(['Held', 'Released']);
  expect(await complaintsAbout(sim)).toEqual([]);
});

test('One owner: what was on its way into the table when an etcd was put back is not written over it', async () => {
  let isCut = false;
  const sim = createSimulation({
    seed: 1,
    faults: {
      onRequest: ({ method, path }) =>
        isCut && method === 'PUT' && path.includes('/configmaps/')
          ? { at: 'before', do: 'reset' }
          : undefined,
    },
  });
  sim.namespace('a');
  sim.range('team', 30_000, 30_009);
  sim.service('a/web', { range: 'team' });
  sim.supervise();
  await sim.rest();
  const { revision } = sim.server;
  isCut = true;
  sim.edit('a/web', { spec: { type: 'ClusterIP' } });
  await sim.elapse(200);
  sim.restore(revision);
  isCut = false;
  await sim.elapse(600_000);
  expect(await complaintsAbout(sim)).toEqual([]);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
});
