/** What others did after a restart, and must not happen here. The stories are told in docs/museum.md. */
import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import type { Faults } from '../simulation/network.ts';
import { createSimulation } from '../simulation/simulation.ts';
import {
  counted,
  dataOf,
  everybodysNumbers,
  numbersOn,
  ourMoves,
  ourWrites,
  pastOf,
  table,
  told,
} from './shelf.ts';

const MAPS = '/api/v1/namespaces/nodeport-manager-system/configmaps';
const BLOCK = `${MAPS}/nodeport-table-30000`;
const asks = (range: string) => ({ metadata: { annotations: { [ANNOTATION.range]: range } } });
const isListOfTable = ({ method, path }: { method: string; path: string }): boolean =>
  method === 'GET' && path.startsWith(`${MAPS}?`);

describe('who waits, and who holds, after a restart', () => {
  test('metallb #1774: a number goes to who had it reserved, and not to an older claimant, though the table comes late', async () => {
    let onReserved = (): void => undefined;
    const faults: Faults = {
      onRequest: (request) => (isListOfTable(request) ? { at: 'before', do: 'slow', ms: 10_000 } : undefined),
      onWrite(moment, { path }) {
        if (moment === 'before' && path.startsWith('/api/v1/namespaces/a/services/holder?')) onReserved();
      },
    };
    const sim = createSimulation({ seed: 1, faults });
    sim.namespace('a');
    sim.range('r', 30_000, 30_001);
    sim.service('a/claimant');
    await sim.elapse(5_000);
    const first = sim.start();
    await sim.elapse(20_000);
    onReserved = first.kill;
    sim.service('a/holder', { range: 'r' });
    await sim.until('killed', () => first.ended !== undefined);
    onReserved = () => undefined;
    expect(table(sim).get(30_000)).toMatchObject({ state: 'Held', service: 'a/holder' });
    sim.edit('a/claimant', asks('r'));
    sim.start();
    await sim.rest();
    expect([numbersOn(sim, 'a/holder'), numbersOn(sim, 'a/claimant')]).toEqual([[30_000], [30_001]]);
    expect(sim.violations()).toEqual([]);
  });

  test('metallb #2443: who waits stays behind every holder, also when the table was lost meanwhile', async () => {
    const sim = createSimulation({ seed: 2 });
    sim.namespace('a');
    sim.range('r', 30_000, 30_001, { cooldown: '0s' });
    sim.service('a/waits');
    await sim.elapse(5_000);
    for (const name of ['one', 'two']) sim.service(`a/${name}`, { range: 'r' });
    const first = sim.start();
    await sim.rest();
    sim.edit('a/waits', asks('r'));
    await sim.rest();
    const before = everybodysNumbers(sim);
    first.kill();
    sim.request('DELETE', BLOCK);
    const moves = ourMoves(sim).length;
    sim.start();
    await sim.rest();
    expect(told(sim, 'a/waits')?.reason).toBe('RangeExhausted');
    expect(everybodysNumbers(sim)).toEqual(before);
    expect(ourMoves(sim)).toHaveLength(moves);
    expect([...table(sim).values()].map(({ service }) => service)).toEqual(['a/one', 'a/two']);
  });

  test('metallb #2479: five restarts among holders in no order and others that wait move nobody and write to no Service', async () => {
    const { faults, sent } = counted();
    const sim = createSimulation({ seed: 3, faults });
    sim.namespace('a');
    sim.range('r', 30_000, 30_005, { cooldown: '0s' });
    for (let i = 0; i < 4; i += 1) sim.service(`a/old-${i}`);
    let present = sim.start();
    for (let i = 0; i < 6; i += 1) sim.service(`a/s${i}`, { range: 'r' });
    await sim.rest();
    for (const name of ['s0', 's2', 's4']) sim.remove(`a/${name}`);
    for (const name of ['x', 'y', 'z']) sim.service(`a/${name}`, { range: 'r' });
    await sim.rest();
    for (let i = 0; i < 4; i += 1) sim.edit(`a/old-${i}`, asks('r'));
    await sim.rest();
    const before = everybodysNumbers(sim);
    sent.length = 0;
    for (let restarts = 0; restarts < 5; restarts += 1) {
      present.kill();
      present = sim.start();
      await sim.rest();
      expect(everybodysNumbers(sim)).toEqual(before);
    }
    expect(sent).toEqual([]);
    expect(told(sim, 'a/old-0')?.reason).toBe('RangeExhausted');
  });
});

describe('a Service that the watch has not shown yet', () => {
  /** One that a former leader served between our list of Services and our list of the table. */
  async function servedInBetween(watch: NonNullable<Faults['onWatch']>, seed: number) {
    let isLate = false;
    let seen = 0;
    const sim = createSimulation({
      seed,
      faults: {
        onRequest(request) {
          if (isLate && isListOfTable(request)) return { at: 'before', do: 'slow', ms: 20_000 };
          // Each time: a list that is older than the table is noticed, and asked for again.
          if (isLate && request.method === 'GET' && ofServices(request))
            return { at: 'before', do: 'stale', by: sim.server.revision - seen };
          return undefined;
        },
        onWatch: (request) => (isLate ? watch(request) : undefined),
      },
    });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    sim.service('a/old', { range: 'r' });
    const former = sim.start();
    await sim.rest();
    isLate = true;
    seen = sim.server.revision;
    const next = sim.start();
    await sim.elapse(5_000);
    sim.service('a/new', { range: 'r' });
    await sim.elapse(5_000);
    former.kill();
    expect(numbersOn(sim, 'a/new')).toEqual([30_001]);
    return { sim, next, seeAgain: () => void (isLate = false) };
  }
  const ofServices = ({ path }: { path: string }): boolean => path.startsWith('/api/v1/services?');
  const states = (entries: { state: string }[]): string[] => [...new Set(entries.map(({ state }) => state))];

  test('whereabouts #207: read from the table after the Services were listed, its number is not taken for left behind', async () => {
    const { sim, next, seeAgain } = await servedInBetween(
      (request) => (ofServices(request) ? { do: 'lag', ms: 60_000 } : undefined),
      4,
    );
    await sim.until('decides', () => next.controller.lastSync() !== undefined);
    seeAgain();
    await sim.elapse(300_000);
    await sim.rest();
    expect(states(pastOf(sim, 30_001))).toEqual(['Held']);
    expect(sim.violations()).toEqual([]);
  });

  test('kubernetes PR #141271: however often a cache that stays stale is looked through, no live number is freed; one of a Service that is gone is', async () => {
    const { sim, next } = await servedInBetween(
      (request) => (ofServices(request) ? { do: 'silence', after: 0 } : undefined),
      5,
    );
    await sim.elapse(3_600_000);
    expect(next.controller.lastSync()).toBeGreaterThan(Date.UTC(2026, 0, 1) + 3_000_000);
    expect(states(pastOf(sim, 30_001))).toEqual(['Held']);
    sim.remove('a/new');
    await sim.elapse(1_300_000);
    expect(table(sim).get(30_001)?.state).toBe('Released');
    expect(sim.violations()).toEqual([]);
  });
});

describe('a table that cannot be read', () => {
  async function spoiled(spoil: (block: Record<string, unknown>) => Record<string, unknown>, seed: number) {
    const sim = createSimulation({ seed });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    for (const name of ['one', 'two']) sim.service(`a/${name}`, { range: 'r' });
    const first = sim.start();
    await sim.rest();
    first.kill();
    const block = sim.request('GET', BLOCK);
    sim.request('PUT', BLOCK, {
      ...spoil(block),
      metadata: { ...(spoil(block)['metadata'] as object), resourceVersion: undefined },
    });
    sim.service('a/new', { range: 'r' });
    const since = sim.server.revision;
    const present = sim.start();
    await sim.rest();
    return { sim, since, present };
  }

  test('kube-vip-cloud-provider #15: nonsense is not read as empty: it is kept aside first, and no holder or newcomer gets a number that is in use', async () => {
    const nonsense = '{"state":"He';
    const { sim, since } = await spoiled(
      (block) => ({ ...block, data: { 30_000: nonsense, 30_001: '' } }),
      6,
    );
    const later = sim.server.history.filter(({ revision }) => revision > since);
    const aside = later.find(({ resource }) => resource === 'configmaps');
    expect(aside?.key).toMatch(/nodeport-table-30000-corrupt-\d+$/);
    expect(dataOf(aside)['30000']).toBe(nonsense);
    const first = later.find(
      ({ resource, manager }) => resource === 'services' && manager === 'nodeport-manager',
    );
    expect(first?.revision).toBeGreaterThan(aside?.revision ?? Number.NaN);
    const { 'a/one': one, 'a/two': two, 'a/new': newest } = everybodysNumbers(sim);
    expect(new Set([...(one ?? []), ...(two ?? [])])).toEqual(new Set([30_000, 30_001]));
    expect(newest).toEqual([30_002]);
    expect(sim.violations()).toEqual([]);
  });

  test('kube-vip-cloud-provider #15: one that a newer version wrote is left as it is, nothing is given in it, and it shows', async () => {
    const { sim, since, present } = await spoiled((block) => {
      const metadata = block['metadata'] as { annotations: Record<string, string> };
      const annotations = { ...metadata.annotations, 'nodeport-manager.io/table-version': '2' };
      return { ...block, metadata: { ...metadata, annotations }, data: { 30_000: 'who knows' } };
    }, 7);
    expect(ourWrites(sim, 'configmaps').filter(({ revision }) => revision > since)).toEqual([]);
    expect(told(sim, 'a/new')?.reason).toBe('RangeExhausted');
    expect(present.controller.notReady()).toMatch(/nodeport-table-30000 was written by a newer version/);
  });
});

describe('a large cluster', () => {
  async function large(holders: number, seed: number) {
    const { faults, sent } = counted();
    const sim = createSimulation({ seed, concurrency: 32, faults });
    sim.namespace('a');
    sim.range('r', 30_000, 30_249);
    for (let i = 0; i < holders; i += 1) sim.service(`a/s${i}`, { range: 'r' });
    const first = sim.start();
    await sim.rest();
    return { sim, first, sent };
  }

  test('metallb v0.16: each Service is written once for its ports and once for its condition, an adopted one for its condition alone', async () => {
    const { sim, sent } = await large(100, 8);
    const moved = new Set(ourMoves(sim));
    expect(moved.size).toBeGreaterThan(3);
    for (let i = 0; i < 100; i += 1) {
      const writes = sent.filter((path) => path.split('/')[0] === `s${i}`);
      expect(writes).toEqual(moved.has(`a/s${i}`) ? [`s${i}`, `s${i}/status`] : [`s${i}/status`]);
    }
  });

  test('metallb v0.16: a restart writes to no Service and to no PortRange, and is ready only when it has everything', async () => {
    const { sim, first, sent } = await large(100, 9);
    first.kill();
    sent.length = 0;
    const next = sim.start();
    expect(next.controller.notReady()).toBe('the startup barrier is not passed');
    await sim.rest();
    expect(next.controller.notReady()).toBeUndefined();
    expect(sent).toEqual([]);
  });

  test('tiggoins: of 250 numbers in use all 250 are still so after a restart, each with its owner', async () => {
    const { sim, first } = await large(250, 10);
    const before = [...table(sim)].map(([port, { service }]) => `${port} ${service}`);
    expect(before).toHaveLength(250);
    first.kill();
    sim.start();
    sim.service('a/one-more', { range: 'r' });
    await sim.rest();
    expect([...table(sim)].map(([port, { service }]) => `${port} ${service}`)).toEqual(before);
    // Read whole, not mended: nothing was copied aside.
    expect(sim.list(MAPS)).toHaveLength(1);
    expect(told(sim, 'a/one-more')?.reason).toBe('RangeExhausted');
  });
});
