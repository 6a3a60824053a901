/**
 * Histories under faults. A seed says everything: which two kinds of faults, when each strikes, and how the people in
 * it hurry through the scenario instead of waiting until it rests. When the faults are over, all must be well again.
 */
import {
  type ConfigMap,
  type Namespace,
  type PortRange,
  RANGES,
  type Service,
  TABLE,
} from '../../e2e/support/objects.ts';
import { unservedIn } from '../../e2e/support/served.ts';
import type { Faults } from './faults.ts';
import { type Kind, KINDS, type Stage } from './kinds.ts';
import { endState, heldByServices, heldInTable, STEPS } from './scenario.ts';
import { createSimulation, randomFrom, type Simulation } from './simulation.ts';

/** The share of histories with a standby, where the faults do not need one. */
const WITH_STANDBY = 0.1;

export interface Outcome {
  /** What a person would need to hear; empty: all is well. */
  readonly complaints: readonly string[];
  /** How often a fault struck. */
  readonly strikes: number;
  readonly sim: Simulation;
}

/** The two kinds that a seed stands for: all pairs come in turn, and each alone with itself. */
export function kindsOf(seed: number): readonly [string, string] {
  const names = Object.keys(KINDS);
  const at = (i: number): string => names[i % names.length] ?? 'nothing';
  return [at(seed), at(Math.floor(seed / names.length))];
}

export async function play(seed: number): Promise<Outcome> {
  const random = randomFrom(seed * 7 + 3);
  const kinds = [...new Set(kindsOf(seed))].map((name) => KINDS[name] as Kind);
  let isOver = false;
  let strikes = 0;
  const next = <P extends Kind['per']>(per: P): (Kind & { per: P }) | undefined =>
    kinds.find((one) => !isOver && one.per === per && random() < one.odds) as (Kind & { per: P }) | undefined;
  const faults: Faults = {
    onRequest(request, from) {
      const strike = next('request')?.strike(random, request, from, stage);
      if (strike !== undefined) strikes += 1;
      return strike === 'done' ? undefined : strike;
    },
    onWatch() {
      const kind = next('watch');
      if (kind !== undefined) strikes += 1;
      return kind?.strike(random);
    },
  };
  const chance = random() < WITH_STANDBY ? 2 : 1;
  const replicas = Math.max(chance, ...kinds.map((kind) => kind.replicas ?? 1));
  const sim = createSimulation({ seed, faults, replicas });
  const stage: Stage = { sim, present: sim.supervise() };
  for (const step of STEPS) {
    await tolerant(() => step.run(sim));
    await sim.elapse(random() < 0.3 ? 60_000 * random() : 3_000 * random());
    const kind = next('pause');
    if (kind !== undefined) strikes += 1;
    await tolerant(() => kind?.strike(random, stage));
  }
  isOver = true;
  // A cache that a fault made blind notices it by itself, but not at once; what it missed, the resync brings.
  await sim.elapse(780_000);
  await sim.rest();
  return { complaints: await complaintsAbout(sim), strikes, sim };
}

/** What is wrong with a history that has come to rest: while it went on, in how it ended, and after a fresh start. */
export async function complaintsAbout(sim: Simulation): Promise<string[]> {
  const complaints = [...tableAndServices(sim), ...unserved(sim)];
  const before = partsOf(sim);
  const revisions = sim.services().map(({ metadata }) => metadata.resourceVersion);
  for (const each of sim.processes()) each.kill();
  // A standby waits until the Lease has expired; and where the clock was set back, a number that has rested rests anew.
  await sim.elapse(360_000);
  await sim.rest();
  const now = sim.services().map(({ metadata }) => metadata.resourceVersion);
  if (JSON.stringify(revisions) !== JSON.stringify(now))
    complaints.push('Converges: a fresh start wrote to Services, so not all was settled');
  const after = partsOf(sim);
  const i = [...after.keys(), ...before.keys()].find((i) => before[i] !== after[i]);
  if (i !== undefined)
    complaints.push(`Converges: a fresh start came to another state, from ${before[i]} to ${after[i]}`);
  return [...complaints, ...sim.violations()];
}

function partsOf(sim: Simulation): string[] {
  return Object.values(endState(sim)).flatMap((all) => all.map((each) => JSON.stringify(each)));
}

function tableAndServices(sim: Simulation): string[] {
  const [told, held] = [heldByServices(sim), heldInTable(sim)];
  return [
    ...told.filter((each) => !held.includes(each)).map((each) => `Table = reality: no entry for ${each}`),
    ...held.filter((each) => !told.includes(each)).map((each) => `Table = reality: nobody has ${each}`),
  ];
}

function unserved(sim: Simulation): readonly string[] {
  const all = <T>(path: string): T[] => sim.list(path) as unknown as T[];
  return unservedIn({
    services: all<Service>('/api/v1/services'),
    ranges: all<PortRange>(RANGES),
    namespaces: all<Namespace>('/api/v1/namespaces'),
    blocks: all<ConfigMap>(TABLE),
    now: sim.clock.now(),
  });
}

/** Steps are written for a history without faults: what cannot be done in this one is left out. */
export async function tolerant(run: () => void | Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!/: (404|409|422) /.test(String(error))) throw error;
  }
}
