/** What client libraries do to the controllers on them, seen from outside. The stories are told in docs/museum.md. */
import { expect, test } from 'vitest';
import type { Faults } from '../simulation/network.ts';
import { createSimulation } from '../simulation/simulation.ts';
import { everybodysNumbers, numbersOn, told } from './shelf.ts';

test.each([1, 4])(
  'p-queue: at a concurrency of %i no more writes to Services are under way, though answers are slow or never come',
  async (concurrency) => {
    const underWay = new Set<object>();
    let [asked, most] = [0, 0];
    const faults: Faults = {
      onRequest(request) {
        if (request.method !== 'PATCH' || !request.path.includes('/services/')) return undefined;
        underWay.add(request);
        most = Math.max(most, underWay.size);
        request.signal?.addEventListener('abort', () => underWay.delete(request));
        asked += 1;
        if (asked % 10 === 0) return { at: 'before', do: 'hang' };
        return { at: 'before', do: 'slow', ms: 200 };
      },
      onWrite: (moment, request) => void (moment === 'after' && underWay.delete(request)),
    };
    const sim = createSimulation({ seed: 51, concurrency, faults });
    sim.namespace('a');
    sim.range('r', 30_000, 30_049);
    sim.start();
    for (let i = 0; i < 50; i += 1) sim.service(`a/s${i}`, { range: 'r' });
    await sim.rest();
    expect(new Set(Object.values(everybodysNumbers(sim)).flat()).size).toBe(50);
    expect(most).toBe(concurrency);
  },
);

test('p-queue: a wall clock that is put back by a day holds up nobody, and nobody moves', async () => {
  const sim = createSimulation({ seed: 52 });
  sim.namespace('a');
  sim.range('r', 30_000, 30_001);
  sim.service('a/one', { range: 'r' });
  sim.start();
  await sim.rest();
  sim.clock.stepWall(-86_400_000);
  sim.service('a/two', { range: 'r' });
  await sim.elapse(1_000);
  expect([numbersOn(sim, 'a/one'), numbersOn(sim, 'a/two')]).toEqual([[30_000], [30_001]]);
  sim.service('a/three', { range: 'r' });
  await sim.elapse(1_000);
  expect(told(sim, 'a/three')?.reason).toBe('RangeExhausted');
});

test('client-node #364, #958: a cache that nobody answers for three minutes makes the controller unready, until it hears again', async () => {
  let isDeaf = false;
  const sim = createSimulation({
    seed: 53,
    faults: {
      onRequest: ({ path }) =>
        isDeaf && path.startsWith('/api/v1/services?') ? { at: 'before', do: 'reset' } : undefined,
      onWatch: ({ path }) =>
        isDeaf && path.startsWith('/api/v1/services?') ? { do: 'gone', as: 'status' } : undefined,
    },
  });
  const { controller } = sim.start();
  await sim.elapse(10_000);
  expect(controller.notReady()).toBeUndefined();
  isDeaf = true;
  sim.resetConnections();
  await sim.elapse(170_000);
  expect(controller.notReady()).toBeUndefined();
  await sim.elapse(15_000);
  expect(controller.notReady()).toBe('the cache of services is stale');
  isDeaf = false;
  await sim.elapse(60_000);
  expect(controller.notReady()).toBeUndefined();
});
