import { expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import { watchCollections } from '../support/collections.ts';
import type { Fault, Faults } from './network.ts';
import { createSimulation, randomFrom, type Simulation } from './simulation.ts';

const CHURNED = 3_000;
/** What may be remembered in the end: the numbers of the range, and who had them. */
const NUMBERS = 40;
const AT_A_TIME = 60;
/** Events are remembered by a bound of their own. */
const BOUNDED_ELSEWHERE = /^kube\/events/;

/** Refusals, conflicts and lost answers, so many that whatever counts failures of a Service still does when it goes. */
function troubled(seed: number): Faults {
  const random = randomFrom(seed);
  const all: Fault[] = [
    { at: 'before', do: 'answer', status: 409, reason: 'Conflict' },
    { at: 'before', do: 'answer', status: 500, reason: 'InternalError' },
    { at: 'before', do: 'answer', status: 403, reason: 'Forbidden' },
    { at: 'after', do: 'reset' },
  ];
  return {
    onRequest: ({ method }) =>
      method === 'PATCH' && random() < 0.6 ? all[Math.floor(random() * all.length)] : undefined,
  };
}

/** Services come and go, whatever state they are in: served, waiting for numbers, malformed, refused. */
async function churn(sim: Simulation, count: number): Promise<void> {
  const random = randomFrom(7);
  const wishes = [
    { range: 'small' },
    { range: 'nowhere' },
    { range: 'small', annotations: { [ANNOTATION.ports]: 'none such' } },
    { range: 'small', annotations: { [ANNOTATION.ports]: `${30_000 + Math.floor(random() * NUMBERS)}` } },
    {},
  ];
  const alive: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const key = `a/churned-${i}`;
    sim.service(key, wishes[i % wishes.length] ?? {});
    alive.push(key);
    if (alive.length >= AT_A_TIME) sim.remove(alive.splice(Math.floor(random() * alive.length), 1)[0] ?? '');
    await sim.elapse(30 * random());
  }
  for (const key of alive) sim.remove(key);
}

test('of thousands of Services that came and went, nothing is remembered but who had a number last', async () => {
  const sim = createSimulation({ seed: 5, faults: troubled(6) });
  sim.namespace('a');
  sim.range('small', 30_000, 30_000 + NUMBERS - 1, { cooldown: '1s' });
  const watched = watchCollections();
  sim.start();
  sim.service('a/first', { range: 'small' });
  await sim.elapse(5_000);
  const kept = watched.stop();
  expect(kept.length).toBeGreaterThan(20);
  await churn(sim, CHURNED);
  await sim.rest();
  const grown = kept
    .filter(({ madeAt, size }) => size() > NUMBERS && !BOUNDED_ELSEWHERE.test(madeAt))
    .map(({ madeAt, size }) => `${madeAt} has ${size()} of ${CHURNED}`);
  expect(grown).toEqual([]);
  expect(sim.violations()).toEqual([]);
}, 60_000);
