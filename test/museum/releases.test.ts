/** Numbers freed too early, never, or under the wrong name. The stories are told in docs/museum.md. */
import { describe, expect, test } from 'vitest';
import { RANGES } from '../../e2e/support/objects.ts';
import type { Fault, Faults } from '../simulation/network.ts';
import { heldByServices, heldInTable } from '../simulation/scenario.ts';
import { createSimulation } from '../simulation/simulation.ts';
import { everybodysNumbers, numbersOn, pastOf, table, told, uidOf } from './shelf.ts';

interface Sent {
  method: string;
  path: string;
}
const isWriteToService = ({ method, path }: Sent): boolean =>
  method === 'PATCH' && path.includes('/services/');
const isWriteOfPorts = (request: Sent): boolean =>
  isWriteToService(request) && !request.path.includes('/status');
const isWriteOfTable = ({ method, path }: Sent): boolean => method !== 'GET' && path.includes('/configmaps');

/** While `isOn`, what matches has this fault. */
function failing(matches: (request: Sent) => boolean, fault: Fault): Faults & { isOn: boolean } {
  const faults = {
    isOn: false,
    onRequest: (request: Sent) => (faults.isOn && matches(request) ? fault : undefined),
  };
  return faults;
}

test('whereabouts #162: a number whose Service does not show it for a quarter of an hour stays reserved, through resyncs and a restart', async () => {
  const faults = failing((request) => isWriteOfPorts(request) && request.path.includes('/slow?'), {
    at: 'before',
    do: 'hang',
  });
  const sim = createSimulation({ seed: 21, faults });
  sim.namespace('a');
  sim.range('r', 30_000, 30_002);
  const first = sim.start();
  faults.isOn = true;
  sim.service('a/slow', { range: 'r' });
  for (let i = 0; i < 7; i += 1) {
    await sim.elapse(100_000);
    sim.edit('a/slow', { metadata: { labels: { seen: `${i}` } } });
  }
  for (const name of ['x', 'y', 'z']) sim.service(`a/${name}`, { range: 'r' });
  await sim.elapse(10_000);
  first.kill();
  sim.start();
  await sim.elapse(200_000);
  expect(numbersOn(sim, 'a/slow')).not.toEqual([30_000]);
  const uid = uidOf(sim, 'a/slow');
  const past = new Set(pastOf(sim, 30_000).map((entry) => `${entry.state} ${entry.uid}`));
  expect([...past]).toEqual([`Held ${uid}`]);
  expect(told(sim, 'a/z')?.reason).toBe('RangeExhausted');
  faults.isOn = false;
  await sim.rest();
  expect(numbersOn(sim, 'a/slow')).toEqual([30_000]);
});

test('whereabouts #110: 150 Services created at once, with conflicts all the time, get 150 numbers, each once', async () => {
  const asked = { table: 0, rest: 0 };
  const faults: Faults = {
    onRequest(request) {
      if (request.method === 'GET') return undefined;
      const isMet = isWriteOfTable(request) ? (asked.table += 1) % 2 === 0 : (asked.rest += 1) % 7 === 0;
      return isMet ? { at: 'before', do: 'answer', status: 409, reason: 'Conflict' } : undefined;
    },
  };
  const sim = createSimulation({ seed: 22, concurrency: 32, faults });
  for (const name of ['a', 'b']) sim.namespace(name);
  sim.range('r', 30_000, 30_099);
  sim.range('s', 30_100, 30_149);
  sim.start();
  for (let i = 0; i < 100; i += 1) sim.service(`a/s${i}`, { range: 'r' });
  for (let i = 0; i < 50; i += 1) sim.service(`b/s${i}`, { range: 's' });
  await sim.rest();
  const numbers = Object.values(everybodysNumbers(sim)).flat();
  expect(numbers.toSorted((x, y) => x - y)).toEqual(Array.from({ length: 150 }, (_, i) => 30_000 + i));
  expect(heldByServices(sim).toSorted()).toEqual(heldInTable(sim).toSorted());
  expect(sim.violations()).toEqual([]);
});

describe('whereabouts #176: a name that is used again', () => {
  test('while nobody looks is another owner: the number is its own then, and is free when it goes', async () => {
    const sim = createSimulation({ seed: 23 });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    sim.service('a/web', { range: 'r' });
    const first = sim.start();
    await sim.rest();
    const former = uidOf(sim, 'a/web');
    first.kill();
    sim.remove('a/web');
    sim.service('a/web', { range: 'r' });
    sim.start();
    await sim.rest();
    expect(uidOf(sim, 'a/web')).not.toBe(former);
    expect(numbersOn(sim, 'a/web')).toEqual([30_000]);
    expect(table(sim).get(30_000)).toMatchObject({ state: 'Held', uid: uidOf(sim, 'a/web') });
    sim.remove('a/web');
    await sim.elapse(900_000);
    expect(table(sim).get(30_000)?.state).toBe('Released');
    sim.service('a/other', { range: 'r' });
    await sim.rest();
    expect(numbersOn(sim, 'a/other')).toEqual([30_000]);
  });

  test('for a Service that does not ask does not keep the number of the former one', async () => {
    const sim = createSimulation({ seed: 24 });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    sim.service('a/web', { range: 'r' });
    const first = sim.start();
    await sim.rest();
    first.kill();
    sim.remove('a/web');
    sim.service('a/web', { type: 'ClusterIP' });
    sim.start();
    await sim.rest();
    expect(table(sim).get(30_000)?.state).toBe('Released');
  });
});

test.each([
  ['is refused', { at: 'before', do: 'answer', status: 500, reason: 'InternalError' }],
  ['gets no answer, and is not done', { at: 'before', do: 'hang' }],
  ['gets no answer, and is done', { at: 'after', do: 'hang' }],
  ['is done, and the connection breaks', { at: 'after', do: 'reset' }],
  ['is done, and the answer is cut', { at: 'after', do: 'cut' }],
] as const)(
  'whereabouts #712: table and Services say the same after every second write of a Service %s',
  async (_, fault) => {
    let sent = 0;
    const faults = failing((request) => isWriteToService(request) && (sent += 1) % 2 === 0, fault);
    const sim = createSimulation({ seed: 25, faults });
    sim.namespace('a');
    sim.range('r', 30_000, 30_019);
    const first = sim.start();
    faults.isOn = true;
    for (let i = 0; i < 10; i += 1) sim.service(`a/s${i}`, { range: 'r' });
    await sim.elapse(20_000);
    for (let i = 0; i < 5; i += 1) sim.remove(`a/s${i}`);
    await sim.elapse(20_000);
    first.kill();
    sim.start();
    await sim.elapse(20_000);
    faults.isOn = false;
    await sim.rest();
    expect(heldByServices(sim)).toHaveLength(5);
    expect(heldByServices(sim).toSorted()).toEqual(heldInTable(sim).toSorted());
    expect(sim.violations()).toEqual([]);
  },
);

test.each(['stays up', 'is killed and starts again'])(
  'neondatabase/autoscaling #1278: forty releases that cannot be written for twenty minutes are written then, though the controller %s',
  async (way) => {
    const faults = failing(isWriteOfTable, {
      at: 'before',
      do: 'answer',
      status: 500,
      reason: 'InternalError',
    });
    const sim = createSimulation({ seed: 26, faults });
    sim.namespace('a');
    sim.range('r', 30_000, 30_049);
    for (let i = 0; i < 40; i += 1) sim.service(`a/s${i}`, { range: 'r' });
    const first = sim.start();
    await sim.rest();
    expect(heldInTable(sim)).toHaveLength(40);
    faults.isOn = true;
    for (let i = 0; i < 40; i += 1) sim.remove(`a/s${i}`);
    await sim.elapse(600_000);
    if (way !== 'stays up') {
      first.kill();
      sim.start();
    }
    await sim.elapse(600_000);
    expect(heldInTable(sim)).toHaveLength(40);
    faults.isOn = false;
    await sim.elapse(400_000);
    expect(heldInTable(sim)).toEqual([]);
    expect(sim.request('GET', `${RANGES}/r`)['status']).toMatchObject({
      free: 50,
      allocated: 0,
      coolingDown: 0,
    });
  },
);

describe('a Service is deleted', () => {
  test('kruise-game #65: seen twice, in a watch and in a list after it, it costs the next owner of its number nothing', async () => {
    const sim = createSimulation({
      seed: 27,
      faults: {
        onWatch: ({ path }) =>
          path.startsWith('/api/v1/services?') ? { do: 'gone', as: 'event' } : undefined,
      },
    });
    sim.namespace('a');
    sim.range('r', 30_000, 30_000, { cooldown: '0s' });
    sim.service('a/web', { range: 'r' });
    sim.start();
    await sim.elapse(120_000);
    sim.remove('a/web');
    sim.service('a/next', { range: 'r' });
    await sim.elapse(600_000);
    expect(numbersOn(sim, 'a/next')).toEqual([30_000]);
    const { uid } = table(sim).get(30_000) ?? {};
    expect(uid).toBe(uidOf(sim, 'a/next'));
    expect(pastOf(sim, 30_000).findLastIndex((entry) => entry.state === 'Released')).toBeLessThan(
      pastOf(sim, 30_000).findIndex((entry) => entry.uid === uid),
    );
  });

  test('kubeblocks: names that begin like it, in its namespace and in others, keep theirs', async () => {
    const sim = createSimulation({ seed: 28 });
    const others = ['a/db2', 'a/db-2', 'a/d', 'ab/db', 'b/db'];
    for (const name of ['a', 'ab', 'b']) sim.namespace(name);
    sim.range('r', 30_000, 30_009);
    for (const key of ['a/db', ...others]) sim.service(key, { range: 'r' });
    sim.start();
    await sim.rest();
    sim.remove('a/db');
    await sim.rest();
    expect(new Set(heldInTable(sim).map((text) => text.split(' ')[1]))).toEqual(new Set(others));
  });
});
