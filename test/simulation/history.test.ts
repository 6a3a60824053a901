import { beforeEach, describe, expect, test } from 'vitest';
import type { Faults } from './network.ts';
import { createSimulation, type Simulation, type SimProcess } from './simulation.ts';

/** An entry of the table as people read it: JSON. */
interface Entry {
  readonly state: string;
  readonly service: string;
  readonly ports: readonly string[];
  readonly since: string;
  readonly released?: string;
  readonly previous?: readonly { readonly service: string; readonly from: string; readonly to: string }[];
}

const PORT = 30_001;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const SYSTEM_MAPS = '/api/v1/namespaces/nodeport-manager-system/configmaps';
const BLOCK = `${SYSTEM_MAPS}/nodeport-table-30000`;

let sim: Simulation;
let present: SimProcess;
/** Called just before each write takes effect. */
let beforeWrite: Faults['onWrite'];

beforeEach(async () => {
  beforeWrite = () => undefined;
  sim = createSimulation({ seed: 9, faults: { onWrite: (...words) => beforeWrite?.(...words) } });
  sim.namespace('a');
  sim.range('one', PORT, PORT, { cooldown: '0s' });
  sim.range('other', 30_010, 30_019, { cooldown: '0s' });
  present = sim.start();
  for (const name of ['first', 'second']) await tenure(name);
});

const data = (): Record<string, string> => sim.request('GET', BLOCK)['data'] as Record<string, string>;
const entry = (): Entry => JSON.parse(data()[PORT] ?? '{}') as Entry;

/** The Service gets the number, holds it for a while, and goes. */
async function tenure(name: string): Promise<void> {
  sim.service(`a/${name}`, { range: 'one' });
  await sim.rest();
  expect(entry()).toMatchObject({ state: 'Held', service: `a/${name}` });
  sim.remove(`a/${name}`);
  await sim.rest();
}

/** Who had the number, the latest first, and that no time overlaps another. */
function owners(): string[] {
  const { service, since, released, previous = [] } = entry();
  const all = [{ service, from: since, to: released ?? '9999' }, ...previous];
  for (const [i, { from, to }] of all.entries()) {
    expect(from <= to).toBe(true);
    expect(to <= (all[i - 1]?.from ?? '9999')).toBe(true);
  }
  return all.map(({ service }) => service);
}

async function killedAndStarted(): Promise<void> {
  present.kill();
  present = sim.start();
  await sim.rest();
}

describe('the last owners of a number stay in the table, with dates', () => {
  test('the present one and three before it', async () => {
    for (const name of ['third', 'fourth', 'fifth']) await tenure(name);
    expect(owners()).toEqual(['a/fifth', 'a/fourth', 'a/third', 'a/second']);
    const [before, now] = [entry().previous?.[0], entry()];
    expect(now.state).toBe('Released');
    expect(Date.parse(now.since) - Date.parse(before?.to ?? '')).toBeGreaterThan(0);
  });

  test('through a restart, and a kill just before the entry is written', async () => {
    await killedAndStarted();
    let isNext = true;
    beforeWrite = (moment, { path }) => {
      if (moment !== 'before' || !path.startsWith(BLOCK) || !isNext) return;
      isNext = false;
      present.kill();
    };
    sim.service('a/third', { range: 'one' });
    await sim.elapse(5_000);
    expect(present.ended).toBe('killed');
    await killedAndStarted();
    expect(owners()).toEqual(['a/third', 'a/second', 'a/first']);
  });

  test('through a move: who leaves the number is history, and who comes after it is the owner', async () => {
    sim.service('a/mover', { range: 'one' });
    await sim.rest();
    sim.service('a/next', { range: 'one' });
    sim.edit('a/mover', { metadata: { annotations: { 'nodeport-manager.io/range': 'other' } } });
    await sim.rest();
    expect(entry()).toMatchObject({ state: 'Held', service: 'a/next' });
    expect(owners()).toEqual(['a/next', 'a/mover', 'a/second', 'a/first']);
  });

  test('a port that is renamed, and a type that flips and comes back, begin no new time', async () => {
    sim.service('a/same', { range: 'one', ports: [{ name: 'http', port: 80 }] });
    await sim.rest();
    const { since } = entry();
    sim.edit('a/same', { spec: { ports: [{ name: 'web', port: 80, nodePort: PORT }] } });
    await sim.rest();
    expect(entry()).toMatchObject({ state: 'Held', since, ports: ['web:80/TCP'] });
    expect(owners()).toEqual(['a/same', 'a/second', 'a/first']);
    sim.edit('a/same', { spec: { type: 'ClusterIP' } });
    await sim.rest();
    expect(entry().state).toBe('Released');
    sim.edit('a/same', { spec: { type: 'NodePort' } });
    await sim.rest();
    expect(entry().state).toBe('Held');
    expect(owners()).toEqual(['a/same', 'a/second', 'a/first']);
  });

  test('a Service that is made again under its name is the same owner', async () => {
    await tenure('second');
    expect(owners()).toEqual(['a/second', 'a/first']);
  });

  test('through the table’s heal, whatever somebody made of it', async () => {
    sim.service('a/third', { range: 'one' });
    await sim.rest();
    const whole = data();
    const { previous: _, ...bare } = entry();
    for (const spoilt of [{ [PORT]: JSON.stringify(bare) }, {}, { [PORT]: 'no entry' }]) {
      sim.request('PATCH', BLOCK, { data: { [PORT]: null, ...spoilt } });
      await sim.rest();
      expect(data()).toEqual(whole);
    }
    sim.request('DELETE', BLOCK);
    await sim.rest();
    expect(data()).toEqual(whole);
    expect(owners()).toEqual(['a/third', 'a/second', 'a/first']);
  });

  test('a number that the apiserver refused goes back to its history', async () => {
    const before = entry();
    let isNext = true;
    beforeWrite = (moment, { path, method }) => {
      if (moment !== 'before' || method !== 'PATCH' || !path.includes('/services/late') || !isNext) return;
      isNext = false;
      sim.service('a/rival', { ports: [{ name: 'http', port: 80, nodePort: PORT }] });
    };
    sim.service('a/late', { range: 'one' });
    await sim.rest();
    expect(isNext).toBe(false);
    const { service, since, released, previous } = entry();
    expect({ service, since, released, previous }).toEqual({
      service: before.service,
      since: before.since,
      released: before.released,
      previous: before.previous,
    });
    sim.remove('a/rival');
    await sim.rest();
    expect(owners()).toEqual(['a/late', 'a/second', 'a/first']);
  });

  test('an entry that was released 30 days ago is dropped, and none before', async () => {
    present.kill();
    const almost = new Date(sim.clock.now() - 30 * DAY + HOUR).toISOString();
    sim.request('PATCH', BLOCK, {
      data: { [PORT]: JSON.stringify({ ...entry(), released: almost, until: almost }) },
    });
    sim.start();
    await sim.elapse(0.8 * HOUR);
    expect(entry().state).toBe('Released');
    // The next resync sees it.
    await sim.elapse(0.5 * HOUR);
    expect(data()[PORT]).toBeUndefined();
  });
});
