import { expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import type { Change } from './apiserver.ts';
import { createSimulation, type LogLine, type Simulation } from './simulation.ts';

const HOUR = 3_600_000;
const OURS = 'nodeport-manager';

/** The apiserver has 30000–30299, and the flag says more. */
function misled(onLog: (line: LogLine) => void = () => undefined): Simulation {
  const sim = createSimulation({ seed: 3, told: '30000-32767', onLog });
  sim.namespace('a');
  sim.range('inside', 30_000, 30_009);
  sim.range('beyond', 31_000, 31_004);
  return sim;
}

function ourWrites(sim: Simulation, resource: string): Change[] {
  return sim.server.history.filter((change) => change.manager === OURS && change.resource === resource);
}

/** What the Service has shown, one after the other. */
function shown(sim: Simulation, name: string): string[] {
  const reasons = ourWrites(sim, 'services').flatMap(({ object }) => {
    const { conditions = [] } = (object?.['status'] ?? {}) as {
      conditions?: { reason: string; message: string }[];
    };
    return object?.metadata.name === name
      ? conditions.map(({ reason, message }) => `${reason}: ${message}`)
      : [];
  });
  return reasons.filter((text, i) => text !== reasons[i - 1]);
}

test.each([
  ['who names such a number', { range: 'beyond', annotations: { [ANNOTATION.ports]: '31002' } }],
  ['who takes any', { range: 'beyond' }],
])(
  'a flag that says more than the apiserver has: %s is told so once, and costs hardly a write',
  async (_, wish) => {
    const lines: LogLine[] = [];
    const sim = misled((line) => lines.push(line));
    sim.service('a/web', wish);
    sim.start();
    await sim.elapse(HOUR);
    expect(shown(sim, 'web')).toEqual([
      expect.stringMatching(/^RefusedByApiserver: .*The range of valid ports is 30000-30299/),
    ]);
    const settledAt = sim.server.revision;
    await sim.elapse(HOUR);
    const later = [...ourWrites(sim, 'services'), ...ourWrites(sim, 'configmaps')].filter(
      ({ revision }) => revision > settledAt,
    );
    expect(later).toEqual([]);
    expect(lines.filter(({ audit }) => audit !== undefined).map(({ audit }) => audit)).toEqual([
      'reserved',
      'refused',
    ]);
  },
);

test('a flag that says more than the apiserver has: who was to move keeps its number, is told so, and moves when it asks for another', async () => {
  const sim = misled();
  sim.service('a/web', { range: 'inside' });
  sim.start();
  await sim.rest();
  sim.edit('a/web', { metadata: { annotations: { [ANNOTATION.range]: 'beyond' } } });
  await sim.elapse(HOUR);
  const refusal: unknown = expect.stringMatching(/^RefusedByApiserver: /);
  expect(shown(sim, 'web')).toEqual([
    expect.stringMatching(/^Assigned/),
    'Pending: moves from 30000',
    refusal,
  ]);
  sim.edit('a/web', {
    metadata: { annotations: { [ANNOTATION.range]: 'inside', [ANNOTATION.ports]: '30005' } },
  });
  await sim.rest();
  expect(shown(sim, 'web').at(-1)).toBe('Assigned: holds http 30005 from inside');
  expect(sim.violations()).toEqual([]);
});
