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
