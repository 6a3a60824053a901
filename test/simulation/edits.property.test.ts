import { describe, expect, test } from 'vitest';
import { RANGES } from '../../e2e/support/objects.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import { portRangeDefaults } from '../../src/api/portRange.ts';
import { complaintsAbout } from './campaign.ts';
import {
  generatedAnnotations,
  generatedPorts,
  generatedService,
  generatedSpec,
  generatedType,
  NAMESPACES,
  RANGE_NAMES,
} from './generated.ts';
import { pick } from './schema.ts';
import { createSimulation, randomFrom, type Simulation } from './simulation.ts';

/** `SEED=` is the first history, `RUNS=` how many follow. */
const FIRST = Number(process.env['SEED'] ?? 0);
const RUNS = Number(process.env['RUNS'] ?? 15);
const EDITS = 60;

type Edit = (sim: Simulation, random: () => number) => void;

const serviceKey = (random: () => number): string =>
  `${pick(NAMESPACES, random)}/s${Math.floor(8 * random())}`;

const EDIT: readonly Edit[] = [
  (sim, random) => sim.request('POST', RANGES, portRange(random)),
  (sim, random) => sim.request('PUT', `${RANGES}/${pick(RANGE_NAMES, random)}`, portRange(random)),
  (sim, random) => sim.request('DELETE', `${RANGES}/${pick(RANGE_NAMES, random)}`),
  ...repeated(5, (sim, random) => sim.service(serviceKey(random), generatedService(random))),
  ...repeated(2, (sim, random) =>
    sim.edit(serviceKey(random), { metadata: { annotations: generatedAnnotations(random) } }),
  ),
  (sim, random) => sim.edit(serviceKey(random), { spec: generatedType(random) }),
  (sim, random) =>
    sim.edit(serviceKey(random), { spec: { ports: generatedPorts(random).map((port) => ({ ...port })) } }),
  (sim, random) => sim.remove(serviceKey(random)),
];

function repeated(times: number, edit: Edit): Edit[] {
  return Array.from({ length: times }, () => edit);
}

function portRange(random: () => number): object {
  const name = pick(RANGE_NAMES, random);
  const spec = { ...portRangeDefaults, ...generatedSpec(random) };
  return { apiVersion: 'nodeport-manager.io/v1alpha1', kind: 'PortRange', metadata: { name }, spec };
}

/** What the apiserver refuses, it refuses to anybody. */
function attempt(edit: () => void): void {
  try {
    edit();
  } catch (error) {
    if (!/: (404|409|422|500) /.test(String(error))) throw error;
  }
}

async function play(seed: number): Promise<Simulation> {
  const random = randomFrom(seed * 13 + 5);
  const sim = createSimulation({ seed });
  for (const name of [...NAMESPACES, 'sane']) sim.namespace(name);
  sim.supervise();
  for (let i = 0; i < EDITS; i += 1) {
    attempt(() => pick(EDIT, random)(sim, random));
    await sim.elapse(random() < 0.1 ? 400_000 * random() : 3_000 * random());
  }
  sim.range('sane', 30_290, 30_299, { namespaces: ['sane'] });
  sim.service('sane/web', { range: 'sane' });
  await sim.elapse(780_000);
  await sim.rest();
  return sim;
}

/** Who asks with annotations of its own, and is not told anything. */
function unanswered(sim: Simulation): string[] {
  return sim
    .services()
    .filter(({ metadata }) => {
      const own = metadata.annotations?.[ANNOTATION.range];
      return (own ?? metadata.annotations?.[ANNOTATION.ports]) !== undefined && own !== 'none';
    })
    .filter(({ status }) => reasonIn(status) === undefined)
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}: ${JSON.stringify(metadata.annotations)}`);
}

function reasonIn(status: unknown): string | undefined {
  return (status as { conditions?: { reason: string }[] }).conditions?.[0]?.reason;
}

describe('whatever is edited, within what the CRD allows and whatever Services ask, every promise is kept', () => {
  test.each(Array.from({ length: RUNS }, (_, i) => FIRST + i))('SEED=%i RUNS=1', async (seed) => {
    const sim = await play(seed);
    expect(unanswered(sim)).toEqual([]);
    const sane = sim.services().find(({ metadata }) => metadata.namespace === 'sane');
    expect(['Assigned', 'Adopted']).toContain(reasonIn(sane?.['status']));
    expect(await complaintsAbout(sim)).toEqual([]);
  });
});
