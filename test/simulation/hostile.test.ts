import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import type { WireRequest } from '../../src/kube/wire.ts';
import type { SimObject } from './apiserver.ts';
import type { Faults } from './faults.ts';
import { createSimulation, type Simulation } from './simulation.ts';

function conditionOf(sim: Simulation, name: string): { reason: string; message: string } | undefined {
  const object = sim.services().find(({ metadata }) => metadata.name === name) as SimObject;
  return (object['status'] as { conditions?: { reason: string; message: string }[] }).conditions?.[0];
}

const isSpecWriteOf =
  (name: string) =>
  ({ method, path }: WireRequest): boolean =>
    method === 'PATCH' && path.startsWith(`/api/v1/namespaces/a/services/${name}?`);

/** Answers these requests with a refusal that says nothing of numbers, and counts them. */
function denying(
  matches: (request: WireRequest) => boolean,
  status: number,
  reason: string,
  message = `a fault: ${reason}`,
): Faults & { count: number } {
  const faults = {
    count: 0,
    onRequest(request: WireRequest) {
      if (!matches(request)) return undefined;
      faults.count += 1;
      return { at: 'before', do: 'answer', status, reason, message } as const;
    },
  };
  return faults;
}

describe.each([
  [422, 'Invalid'],
  [403, 'Forbidden'],
])('a Service whose every write is denied with %i', (status, reason) => {
  test('says so, costs few requests, and takes no numbers from others', async () => {
    const faults = denying(isSpecWriteOf('denied'), status, reason);
    const sim = createSimulation({ seed: 1, faults });
    sim.namespace('a');
    sim.range('small', 30_000, 30_001);
    sim.service('a/denied', { range: 'small' });
    sim.supervise();
    await sim.elapse(600_000);
    expect(conditionOf(sim, 'denied')?.reason).toBe('RefusedByApiserver');
    expect(faults.count).toBeLessThan(60);
    sim.service('a/other', { range: 'small' });
    await sim.elapse(5_000);
    expect(conditionOf(sim, 'other')?.reason).toBe('Assigned');
  });

  test('also when it was to move', async () => {
    let isDenied = false;
    const faults = denying((request) => isDenied && isSpecWriteOf('mover')(request), status, reason);
    const sim = createSimulation({ seed: 2, faults });
    sim.namespace('a');
    sim.range('from', 30_000, 30_001);
    sim.range('to', 30_010, 30_012);
    sim.service('a/mover', { range: 'from' });
    sim.supervise();
    await sim.rest();
    isDenied = true;
    sim.edit('a/mover', { metadata: { annotations: { [ANNOTATION.range]: 'to' } } });
    await sim.elapse(600_000);
    expect(conditionOf(sim, 'mover')?.reason).toBe('RefusedByApiserver');
    expect(faults.count).toBeLessThan(60);
    isDenied = false;
    await sim.elapse(60_000);
    expect(conditionOf(sim, 'mover')?.message).toBe('holds http 30010 from to');
  });
});

test('what a policy says about a write is shown as one short printable line, whatever it quotes', async () => {
  const said = `denied: \u001b[2J\u202e\n${'x'.repeat(200_000)}`;
  const sim = createSimulation({ seed: 5, faults: denying(isSpecWriteOf('denied'), 422, 'Invalid', said) });
  sim.namespace('a');
  sim.range('small', 30_000, 30_001);
  sim.service('a/denied', { range: 'small' });
  sim.supervise();
  await sim.elapse(60_000);
  const { reason, message = '' } = conditionOf(sim, 'denied') ?? {};
  expect(reason).toBe('RefusedByApiserver');
  expect(message).toContain(String.raw`denied: \u001b[2J\u202e\u000axxx`);
  expect(message.length).toBeLessThan(1_200);
});

test('a block of the table that cannot be written holds up nobody in another one', async () => {
  const faults = denying(
    ({ method, body = '' }) => method === 'POST' && body.includes('"name":"nodeport-table-30250"'),
    403,
    'Forbidden',
  );
  const sim = createSimulation({ seed: 3, faults });
  sim.namespace('a');
  sim.range('good', 30_000, 30_009);
  sim.range('bad', 30_250, 30_259);
  sim.supervise();
  for (const name of ['x', 'y', 'z']) {
    sim.service(`a/${name}`, { range: 'bad' });
    await sim.elapse(1_000);
  }
  sim.service('a/fine', { range: 'good' });
  await sim.elapse(60_000);
  expect(conditionOf(sim, 'fine')?.reason).toBe('Assigned');
});

test('after a restart who named a number comes before who takes any, whichever range each asks', async () => {
  const sim = createSimulation({ seed: 4 });
  sim.namespace('a');
  sim.range('a', 30_020, 30_020);
  sim.range('b', 30_010, 30_010, { cooldown: '0s' });
  sim.service('a/foreign', { ports: [{ name: 'http', port: 80, nodePort: 30_010 }] });
  const first = sim.start();
  sim.service('a/any', { range: 'b' });
  sim.service('a/holder', { range: 'auto' });
  await sim.rest();
  sim.service('a/named', { annotations: { [ANNOTATION.ports]: '30010' } });
  await sim.rest();
  await sim.stop(first);
  sim.remove('a/foreign');
  sim.start();
  await sim.rest();
  expect([conditionOf(sim, 'named')?.reason, conditionOf(sim, 'any')?.reason]).toEqual([
    'Assigned',
    'RangeExhausted',
  ]);
});

test('nobody is first in line by a condition that says it waited before it was made', async () => {
  const sim = createSimulation({ seed: 6 });
  sim.namespace('a');
  sim.range('a', 30_010, 30_010, { cooldown: '0s' });
  sim.service('a/holder', { range: 'a' });
  const first = sim.start();
  await sim.rest();
  sim.service('a/honest', { annotations: { [ANNOTATION.ports]: '30010' } });
  await sim.elapse(60_000);
  sim.service('a/forger', { annotations: { [ANNOTATION.ports]: '30010' } });
  await sim.elapse(60_000);
  await sim.stop(first);
  const forged = { ...conditionOf(sim, 'forger'), lastTransitionTime: '2001-01-01T00:00:00Z' };
  sim.editStatus('a/forger', { conditions: [forged] });
  expect(conditionOf(sim, 'forger')).toEqual(forged);
  sim.remove('a/holder');
  sim.start();
  await sim.rest();
  expect([conditionOf(sim, 'honest')?.reason, conditionOf(sim, 'forger')?.reason]).toEqual([
    'Assigned',
    'PortTaken',
  ]);
});
