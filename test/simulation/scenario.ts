/**
 * A history in which everything happens that people do to Services and PortRanges; it comes to rest after each step.
 * Services of one step are created in the order of their names: who was watching sees them in that order, and who was
 * killed meanwhile takes them in it.
 */
import { numbersOf, RANGES, type Service } from '../../e2e/support/objects.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import type { SimObject } from './apiserver.ts';
import type { JsonObject } from './patches.ts';
import type { Simulation } from './simulation.ts';

/** Where steps are carried out, in the order in which they are asked for: the simulation, or a real cluster. */
export interface Stage
  extends Pick<Simulation, 'namespace' | 'range' | 'service' | 'edit' | 'remove' | 'elapse'> {
  request(method: string, path: string, body?: object): unknown;
  /** As they are before the step. */
  services(): readonly object[];
}

export interface Step {
  readonly name: string;
  run(on: Stage): void | Promise<void>;
}

const ports = (...numbers: number[]): { name: string; port: number }[] =>
  numbers.map((port) => ({ name: `p${port}`, port }));
const wants = (value: string): Record<string, string> => ({ [ANNOTATION.ports]: value });
const annotated = (range: string | null, wanted: string | null = null): JsonObject => ({
  metadata: { annotations: { [ANNOTATION.range]: range, [ANNOTATION.ports]: wanted } },
});

/** One after the other: which of two gets the lower number is nobody's promise. */
const WAYS_TO_ASK: readonly Step['run'][] = [
  (sim) =>
    sim.service('a/dns', {
      range: 'team-a',
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP' },
        { name: 'dns-tcp', port: 53 },
      ],
    }),
  (sim) => sim.service('a/list', { range: 'shared,team-a' }),
  (sim) =>
    sim.service('a/pinned', { range: 'team-a', ports: [{ name: 'http', port: 80, nodePort: 30_122 }] }),
  (sim) => sim.service('a/taken', { range: 'team-a', annotations: wants('30002') }),
  (sim) =>
    sim.service('a/voip', { range: 'auto', type: 'LoadBalancer', spec: { externalTrafficPolicy: 'Local' } }),
  (sim) => sim.service('b/exact', { annotations: wants('30044') }),
  (sim) => sim.service('b/malformed', { range: 'team-a', annotations: wants('http') }),
  (sim) => sim.service('b/stranger', { range: 'team-a' }),
  (sim) => sim.service('b/typo', { range: 'taem-a' }),
];

export const STEPS: readonly Step[] = [
  {
    name: 'three ranges',
    run(sim) {
      for (const name of ['a', 'b']) sim.namespace(name);
      sim.namespace('c', { [ANNOTATION.range]: 'shared' });
      sim.range('team-a', 30_000, 30_019, {
        namespaces: ['a'],
        cooldown: '0s',
        excluded: [{ from: 30_003 }],
      });
      sim.range('team-b', 30_020, 30_035, { namespaces: ['b'], strategy: 'Hash' });
      sim.range('shared', 30_040, 30_044, { priority: -1, explicitOnly: [{ from: 30_044 }] });
    },
  },
  {
    name: 'teams that ask',
    run(sim) {
      for (let i = 0; i < 12; i += 1) sim.service(`a/s${10 + i}`, { range: 'team-a' });
      for (let i = 0; i < 6; i += 1) sim.service(`b/s${10 + i}`, { range: 'team-b', ports: ports(80, 443) });
      for (let i = 0; i < 6; i += 1) sim.service(`c/s${10 + i}`);
    },
  },
  ...WAYS_TO_ASK.map((run, i) => ({ name: `ways to ask, and what is refused: ${i}`, run })),
  {
    name: 'some leave, and who waited is served',
    run(sim) {
      for (const key of ['a/s12', 'a/s15', 'b/s11', 'c/s10']) sim.remove(key);
    },
  },
  {
    name: 'one comes back within its cooldown, a newcomer meets it',
    run(sim) {
      sim.service('b/new', { range: 'team-b', ports: ports(8080) });
      sim.service('b/s11', { range: 'team-b', ports: ports(80, 443) });
    },
  },
  {
    name: 'requests change',
    run(sim) {
      sim.edit('a/s11', annotated('shared'));
      sim.edit('a/s14', annotated('team-a', '30018'));
      sim.edit('a/s16', annotated(null));
      sim.edit('b/s10', { spec: { ports: [...ports(80, 443, 9090)] } });
      sim.edit('a/s17', annotated('none'));
    },
  },
  {
    name: 'types flip away',
    run(sim) {
      for (const key of ['a/s13', 'b/s12']) sim.edit(key, { spec: { type: 'ClusterIP' } });
    },
  },
  {
    name: 'and back',
    run(sim) {
      for (const key of ['a/s13', 'b/s12']) sim.edit(key, { spec: { type: 'NodePort' } });
    },
  },
  {
    name: 'a range moves away from under its holders',
    run: (sim) => edit(sim, 'team-a', { ranges: [{ from: 30_010, to: 30_029 }] }),
  },
  {
    name: 'one grows, and who waited is served',
    run: (sim) => edit(sim, 'shared', { ranges: [{ from: 30_040, to: 30_049 }] }),
  },
  {
    name: 'one is paused',
    run: (sim) => edit(sim, 'team-b', { paused: true }),
  },
  {
    name: 'somebody takes a number by hand, another comes to a range that is paused',
    run(sim) {
      sim.service('b/late', { range: 'team-b' });
      sim.service('b/rival', { ports: [{ name: 'http', port: 80, nodePort: lowestFree(sim, 30_010) }] });
    },
  },
  {
    name: 'the next number is given, and a range goes',
    run(sim) {
      sim.service('a/after-rival', { range: 'team-a', ports: ports(80, 81) });
      sim.request('DELETE', `${RANGES}/team-b`);
    },
  },
  {
    name: 'cooldowns end',
    async run(sim) {
      await sim.elapse(900_000);
      sim.range('team-b', 30_020, 30_039, { namespaces: ['b'] });
    },
  },
];

function edit(sim: Stage, range: string, spec: object): void {
  sim.request('PATCH', `${RANGES}/${range}`, { spec });
}

function lowestFree(sim: Stage, from: number): number {
  const used = new Set(sim.services().flatMap((object) => numbersOf(object as Service)));
  let port = from;
  while (used.has(port)) port += 1;
  return port;
}

const MAPS = '/api/v1/namespaces/nodeport-manager-system/configmaps';

/** What is to be the same however often the controller was killed: no times, no uids, no revisions. */
export function endState(sim: Simulation): Readonly<Record<string, readonly unknown[]>> {
  return {
    services: sim
      .services()
      .map((object) => [
        keyOf(object),
        object['spec'],
        conditionsOf(object).map(({ reason, message }) => `${reason}: ${message}`),
      ]),
    table: blocksOf(sim).map(({ metadata, data }) => [
      metadata.name,
      Object.entries((data ?? {}) as Record<string, string>).map(([port, text]) => {
        const { state, service, ports: own, range, request, previous = [] } = JSON.parse(text);
        const former = (previous as { service: string }[]).map((each) => each.service);
        return [port, state, service, own, range, request, ...former].join(' ');
      }),
    ]),
    ranges: sim.list(RANGES).map(({ metadata, status }) => {
      const { conditions: _, ...counts } = status as Record<string, unknown>;
      return [metadata.name, counts];
    }),
  };
}

/** What a Service was told: which numbers it holds, and from which range; undefined: from none. */
export interface Claim {
  readonly key: string;
  readonly status: string;
  readonly numbers: readonly number[];
  readonly from: string | undefined;
}

export function claims(sim: Simulation): Claim[] {
  return sim.services().flatMap((object) => {
    const [condition] = conditionsOf(object);
    const match = /^holds (.+?) (from|outside) ([^\s;:]+)/.exec(condition?.message ?? '');
    if (condition === undefined || match === null) return [];
    const [, held = '', where, range] = match;
    const numbers = new Set(held.split(', ').map((part) => Number(part.split(' ').at(-1))));
    const from = where === 'from' ? range : undefined;
    return [{ key: keyOf(object), status: condition.status, numbers: [...numbers], from }];
  });
}

/** `30100 a/web`, for each number that a Service was told to hold. */
export function heldByServices(sim: Simulation): string[] {
  return claims(sim).flatMap(({ key, numbers }) => numbers.map((number) => `${number} ${key}`));
}

/** The same, as the table has it. */
export function heldInTable(sim: Simulation): string[] {
  return blocksOf(sim)
    .flatMap(({ data }) => Object.entries((data ?? {}) as Record<string, string>))
    .flatMap(([port, text]) => {
      const { state, service } = JSON.parse(text);
      return state === 'Held' ? [`${port} ${service}`] : [];
    });
}

/** Without what was copied aside. */
function blocksOf(sim: Simulation): SimObject[] {
  return sim.list(MAPS).filter(({ metadata }) => /^nodeport-table-\d+$/.test(metadata.name));
}

function conditionsOf({ status }: SimObject): { status: string; reason: string; message: string }[] {
  return (status as { conditions?: ReturnType<typeof conditionsOf> }).conditions ?? [];
}

function keyOf({ metadata }: SimObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}
