/** The status of a PortRange, as what it counts comes and goes. */
import { expect, test } from 'vitest';
import type { PortRangeStatus } from '../../src/api/portRange.ts';
import { RANGE_ANNOTATION, RANGES } from '../../e2e/support/objects.ts';
import { numbersOn } from '../museum/shelf.ts';
import { createSimulation } from './simulation.ts';

test.each([
  ['asks for none', null, 0],
  ['asks for another', 'other', 1],
])(
  'Converges: a number that its PortRange no longer contains is not out of range of it once the Service %s',
  async (_, request, elsewhere) => {
    const sim = createSimulation({ seed: 66 });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    sim.range('other', 30_050, 30_059);
    const outOfRange = (): unknown[] =>
      ['r', 'other'].map(
        (name) => (sim.request('GET', `${RANGES}/${name}`)['status'] as PortRangeStatus).outOfRange,
      );
    sim.service('a/web', { range: 'r', ports: [{ name: 'http', port: 80, nodePort: 30_005 }] });
    sim.start();
    await sim.rest();
    sim.request('PATCH', `${RANGES}/r`, { spec: { ranges: [{ from: 30_000, to: 30_004 }] } });
    await sim.rest();
    expect(outOfRange()).toEqual([1, 0]);
    sim.edit('a/web', { metadata: { annotations: { [RANGE_ANNOTATION]: request } } });
    await sim.rest();
    expect(numbersOn(sim, 'a/web')).toEqual([30_005]);
    expect(outOfRange()).toEqual([0, elsewhere]);
  },
);

test('a PortRange whose status cannot be written keeps no other waiting', async () => {
  let refused = 0;
  const sim = createSimulation({
    seed: 1,
    faults: {
      onRequest({ method, path }) {
        if (method !== 'PATCH' || !path.includes('/portranges/bad/status')) return undefined;
        refused += 1;
        return { at: 'before', do: 'answer', status: 403, reason: 'Forbidden' };
      },
    },
  });
  sim.namespace('a');
  sim.range('bad', 30_000, 30_009);
  sim.range('good', 30_010, 30_019);
  sim.start();
  await sim.elapse(128_000);
  sim.service('a/web', { range: 'good' });
  await sim.elapse(1_000);
  expect(sim.request('GET', `${RANGES}/good`)['status']).toMatchObject({ allocated: 1 });
  expect(refused).toBeLessThan(15);
});
