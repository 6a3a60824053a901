import { expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import { createMetrics, type Metrics } from '../../src/observability/metrics.ts';
import { createSimulation, type Simulation } from './simulation.ts';

const NUMBERS = 6;
/** Of a Service and of a namespace; the longest that there is. */
const LONG = 63;

/** Of the controller; what Node.js has of its own does not follow what users do. */
async function series({ registry }: Metrics): Promise<string[]> {
  return (await registry.metrics())
    .split('\n')
    .filter((line) => !/^(#|process_|nodejs_|$)/.test(line))
    .map((line) => line.slice(0, line.lastIndexOf(' ')))
    .toSorted();
}

/** A name of its own for each, in everything that users write: some are as long, or as odd, as can be. */
function ask(sim: Simulation, i: number): void {
  const hostile = [
    '__proto__',
    'a"b',
    'x\\',
    'line\nfeed',
    '}\u202e{',
    `n${i}`.padEnd(LONG, 'x'),
    `${i},team,${i}`,
  ];
  const odd = hostile[i % hostile.length] ?? '';
  const name = `s${i}`.padEnd(i % 2 === 0 ? LONG : 0, 'x');
  const wishes = [
    { range: 'team' },
    { range: 'team', annotations: { [ANNOTATION.ports]: `${30_000 + (i % NUMBERS)}` } },
    { range: 'team', annotations: { [ANNOTATION.ports]: odd } },
    { range: `${odd}-${i}` },
    { range: `nowhere-${i}` },
    { range: 'team', ports: [{ name: `p${i}`, port: 1 + i }] },
    { range: 'closed' },
    {},
  ];
  sim.service(`ns${i % 50}/${name}`, wishes[i % wishes.length] ?? {});
}

async function livedWith(services: number): Promise<{ sim: Simulation; metrics: Metrics }> {
  const metrics = createMetrics();
  const sim = createSimulation({ seed: 1, nodePorts: [30_000, 39_999], concurrency: 32, metrics });
  for (let i = 0; i < 50; i += 1) sim.namespace(`ns${i}`);
  sim.range('team', 30_000, 30_000 + NUMBERS - 1, { cooldown: '1s' });
  sim.range('closed', 30_100, 30_101, { namespaces: ['nobody'] });
  sim.start();
  for (let i = 0; i < services; i += 1) {
    ask(sim, i);
    if (i % 50 === 49) await sim.elapse(200);
  }
  await sim.elapse(60_000);
  for (const { metadata } of sim.services().slice(0, 20))
    sim.remove(`${metadata.namespace}/${metadata.name}`);
  await sim.elapse(60_000);
  return { sim, metrics };
}

test('5,000 Services, with names as odd as users can make them, have the series of 50', async () => {
  const few = await series((await livedWith(50)).metrics);
  const { sim, metrics } = await livedWith(5_000);
  expect(sim.services().length).toBeGreaterThan(4_900);
  const many = await series(metrics);
  expect(many).toEqual(few);
  expect(many.length).toBeGreaterThan(150);
  const reasons = many.flatMap((line) => /pending_services\{.*reason="(\w+)"/.exec(line)?.[1] ?? []);
  expect([...new Set(reasons)].toSorted()).toEqual([
    'InvalidRequest',
    'NotAdmitted',
    'PortTaken',
    'RangeExhausted',
    'RangeNotFound',
  ]);

  sim.request('DELETE', '/apis/nodeport-manager.io/v1alpha1/portranges/team');
  await sim.elapse(60_000);
  expect((await series(metrics)).filter((line) => line.includes('"team"'))).toEqual([]);
}, 60_000);
