import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../e2e/cluster/client.ts';
import { portRangeApiVersion, portRangePath } from '../../src/api/portRange.ts';
import { cpuSeconds } from './controller.ts';
import { type Figure, type Findings, show } from './report.ts';
import { type Bench, type Rig, withRig } from './rig.ts';
import { eachOf, percentile } from './stats.ts';

const RANGES = Number(process.env['BENCH_POLICY_RANGES'] ?? 200);
/** Numbers of each PortRange. */
const WIDTH = 100;
const FIRST = 30_000;
/** Nobody's: every PortRange has to say that it does not mind. At the low end the apiserver picks nothing at random. */
const NAMED = 29_872;
const NODE_PORTS = `${NAMED}-59999`;
const PAIRS = Number(process.env['BENCH_POLICY_PAIRS'] ?? 8);
/** Of each kind, in each half of a pair. */
const REQUESTS = 50;
const NAMESPACE = 'policy';
const SERVICES = `/api/v1/namespaces/${NAMESPACE}/services`;
const CONFIG = join(import.meta.dirname, '../../config/policy');
const BINDING = 'validatingadmissionpolicybinding/nodeport-manager-segments';
const APPLIED_WITHIN_MS = 30_000;
const LOOK_AGAIN_MS = 50;
/** What a change of the binding sets off in the apiserver has come to rest. */
const REST_MS = 1_000;

const PATCH = { 'content-type': 'application/json-patch+json' };
const manifest = (name: string, nodePort?: number): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { type: 'NodePort', selector: { app: name }, ports: [{ name: 'http', port: 80, nodePort }] },
});
const replace = (path: string, value: unknown): object[] => [{ op: 'replace', path, value }];

/** In this order: the first two create the Services that the others change. */
const KINDS = {
  'create that names a number': (client: Client, i: number) =>
    client.raw('POST', SERVICES, { body: manifest(`named-${i}`, NAMED + i) }),
  'create that names none': (client: Client, i: number) =>
    client.raw('POST', SERVICES, { body: manifest(`blank-${i}`) }),
  'patch of the number': (client: Client, i: number) =>
    client.raw('PATCH', `${SERVICES}/named-${i}`, {
      headers: PATCH,
      body: replace('/spec/ports/0/nodePort', NAMED + REQUESTS + i),
    }),
  'patch of something else': (client: Client, i: number) =>
    client.raw('PATCH', `${SERVICES}/named-${i}`, {
      headers: PATCH,
      body: replace('/spec/selector/app', 'changed'),
    }),
} as const;
type Kind = keyof typeof KINDS;
const NAMES = Object.keys(KINDS) as Kind[];

/** How long each request took (ms), and the CPU of the apiserver for all of them (s). */
interface Cost {
  readonly ms: number[];
  cpu: number;
}
type Costs = Readonly<Record<Kind, Cost>>;

/** Writes to Services with the policy bound, and many PortRanges that it has to ask, against the same without it. */
export async function policy(bench: Bench): Promise<Findings> {
  return withRig(bench, { nodePortRange: NODE_PORTS }, async (rig) => {
    await createRanges(rig.client);
    await kubectl(rig, 'create', 'namespace', NAMESPACE);
    const [bound, unbound] = [nothing(), nothing()];
    await measureHalf(rig, true, nothing());
    for (let i = 0; i < PAIRS; i++) {
      const boundFirst = i % 2 === 0;
      await measureHalf(rig, boundFirst, boundFirst ? bound : unbound);
      await measureHalf(rig, !boundFirst, boundFirst ? unbound : bound);
      rig.say(`pair ${i + 1} of ${PAIRS}`);
    }
    await assertNoneFailed(rig.client);
    return findings(bound, unbound);
  });
}

function nothing(): Costs {
  return Object.fromEntries(NAMES.map((kind) => [kind, { ms: [], cpu: 0 }])) as unknown as Costs;
}

/** Every other one admits by name, the rest by labels; none admits the namespace of the bench. */
async function createRanges(client: Client): Promise<void> {
  const all = Array.from({ length: RANGES }, (_, i) => ({ name: `team-${i}`, from: FIRST + WIDTH * i }));
  await eachOf(all, 16, async ({ name, from }, i) => {
    const ranges = [{ from, to: from + WIDTH - 1 }];
    const admits =
      i % 2 === 0 ? { namespaces: [name] } : { namespaceSelector: { matchLabels: { team: name } } };
    await client.create(portRangePath, {
      apiVersion: portRangeApiVersion,
      kind: 'PortRange',
      metadata: { name },
      spec: { ranges, ...admits },
    });
    await client.patch(`${portRangePath}/${name}/status`, 'merge', { status: { effective: ranges } });
  });
}

async function measureHalf(rig: Rig, isBound: boolean, costs: Costs): Promise<void> {
  await (isBound ? kubectl(rig, 'apply', '-k', CONFIG) : kubectl(rig, 'delete', BINDING));
  await untilApplied(rig.client, isBound);
  await sleep(REST_MS);
  const pid = rig.cluster.pids().apiserver ?? 0;
  for (const kind of NAMES) {
    const before = await cpuSeconds(pid);
    for (let i = 0; i < REQUESTS; i++) {
      const began = performance.now();
      const { status, body } = await KINDS[kind](rig.client, i);
      costs[kind].ms.push(performance.now() - began);
      if (status >= 300) throw new Error(`${kind}: ${status} ${body}`);
    }
    costs[kind].cpu += (await cpuSeconds(pid)) - before;
  }
  const names = Array.from({ length: REQUESTS }, (_, i) => [`named-${i}`, `blank-${i}`]).flat();
  await eachOf(names, 16, async (name) => void (await rig.client.delete(`${SERVICES}/${name}`)));
}

/** A number of the last PortRange is refused, or no longer is. */
async function untilApplied(client: Client, isBound: boolean): Promise<void> {
  const deadline = performance.now() + APPLIED_WITHIN_MS;
  const number = FIRST + WIDTH * (RANGES - 1);
  for (;;) {
    const { status } = await client.raw('POST', SERVICES, { body: manifest('probe', number) });
    if (status === 201) await client.delete(`${SERVICES}/probe`);
    if (status === (isBound ? 403 : 201)) return;
    if (performance.now() > deadline)
      throw new Error(`the policy is ${isBound ? 'not ' : ''}bound after 30 s: ${status}`);
    await sleep(LOOK_AGAIN_MS);
  }
}

async function kubectl({ cluster }: Rig, ...args: string[]): Promise<void> {
  const { code, stderr } = await cluster.kubectl(args);
  // The first half that is to be without the policy may come before it was ever there.
  if (code !== 0 && !stderr.includes('NotFound')) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
}

/** A decision that ends in an error lets the request pass, and would be cheap. */
async function assertNoneFailed(client: Client): Promise<void> {
  const { body } = await client.raw('GET', '/metrics');
  const failed = body
    .split('\n')
    .filter((line) => line.startsWith('apiserver_validating_admission_policy_check_total{'))
    .filter((line) => line.includes('enforcement_action="allow"'));
  if (failed.length > 0) throw new Error(`decisions ended in errors:\n${failed.join('\n')}`);
}

function findings(bound: Costs, unbound: Costs): Findings {
  const of = (kind: Kind): Figure[] => [latencyOf(kind, 0.5), latencyOf(kind, 0.99), cpuOf(kind)];
  const latencyOf = (kind: Kind, p: number): Figure => {
    const [ours, bare] = [percentile(bound[kind].ms, p), percentile(unbound[kind].ms, p)];
    return figure(`${kind}, p${100 * p}`, [ours, bare]);
  };
  const cpuOf = (kind: Kind): Figure =>
    figure(
      `${kind}, CPU of the apiserver`,
      [bound, unbound].map((costs) => (1_000 * costs[kind].cpu) / costs[kind].ms.length),
    );
  const shares = [0.1, 0.5, 0.9, 0.99, 1];
  return {
    figures: NAMES.flatMap(of),
    raw: [
      ['what', 'of all', 'bound, ms', 'without, ms', 'ratio', 'more, ms'],
      ...NAMES.flatMap((kind) =>
        shares.map((p) => {
          const [ours, bare] = [percentile(bound[kind].ms, p), percentile(unbound[kind].ms, p)];
          const row = [p === 1 ? 'most' : `p${100 * p}`, ours, bare, ours / bare, ours - bare];
          return [kind, ...row.map((cell) => (typeof cell === 'number' ? show(cell) : cell))];
        }),
      ),
    ],
    notes: [
      `${RANGES} PortRanges of ${WIDTH} numbers, none of which admits the Services written here: each is asked, and agrees because the number is not its own.`,
      `Ours: config/policy as it is shipped. Bare: the same without its binding. ${PAIRS} pairs, each half ${REQUESTS} requests of each kind, one by one; which comes first alternates. No controller runs.`,
      'The CPU is that of the kube-apiserver process, in user and system mode, divided by the requests; the kernel counts it in steps of 10 ms.',
      'No decision ended in an error. The apiserver does not tell what CEL has spent of its budget, which counts for each PortRange alone.',
    ],
  };
}

function figure(what: string, [ours = Number.NaN, bare = Number.NaN]: readonly number[]): Figure {
  return {
    what: `${RANGES} PortRanges, ${what}`,
    ours: `${show(ours)} ms`,
    bare: `${show(bare)} ms`,
    value: ours / bare,
    budget: undefined,
  };
}
