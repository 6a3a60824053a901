import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BareOrder } from '../bareLoop.ts';
import { cpuSeconds } from './controller.ts';
import { asList, countWrites, difference, forAssigning, type Writes } from './counters.ts';
import { type Findings, show } from './report.ts';
import { type Bench, type Rig, TABLE_NAMESPACE, withRig } from './rig.ts';
import {
  cleanUp,
  conditionOf,
  createMany,
  createRange,
  type Segment,
  type Service,
  watchServices,
} from './services.ts';
import { median } from './stats.ts';

const PAIRS = Number(process.env['BENCH_PAIRS'] ?? 5);
const COUNT = Number(process.env['BENCH_ASSIGN_SERVICES'] ?? 2_000);
export const WIDE = '20000-45000';
const NAMESPACE = 'bench';
/** After everything was shown: events are sent at 5 a second, and the apiserver catches its breath. */
const PAUSE_MS = 1_500;

const isTrue = (service: Service): boolean => conditionOf(service)?.status === 'True';
const isWaiting = (service: Service): boolean => conditionOf(service)?.reason === 'RangeNotFound';

/** 2,000 Services wait for a PortRange; it is created; until the last is served, against the two bare writes for each. */
export async function assign(bench: Bench): Promise<Findings> {
  return withRig(bench, { nodePortRange: WIDE }, async (rig) => {
    const pairs: { first: string; ours: Served; bare: Run }[] = [];
    for (let i = 0; i < PAIRS; i++) {
      const first = i % 2 === 0 ? 'ours' : 'bare';
      let served: Served | undefined;
      if (first === 'ours') served = await serveWaiting(rig, COUNT);
      const bare = await serveBare(rig, COUNT);
      served ??= await serveWaiting(rig, COUNT);
      pairs.push({ first, ours: served, bare });
      rig.say(
        `pair ${i + 1}: ours ${describe(served)}, bare ${describe(bare)}, ratio ${show(ratioOf(served, bare))}`,
      );
    }
    return findings(pairs);
  });
}

/** How long it took, and what it cost: CPU seconds of the apiserver with etcd, and of the process that assigned. */
interface Run {
  readonly seconds: number;
  readonly serverCpu: number;
  readonly clientCpu: number;
}

function describe({ seconds, serverCpu, clientCpu }: Run): string {
  return `${show(seconds)} s (CPU ${show(serverCpu)} + ${show(clientCpu)} s)`;
}

function ratioOf(ours: Run, bare: Run): number {
  return ours.seconds / bare.seconds;
}

function cpuRatioOf(ours: Run, bare: Run): number {
  return (ours.serverCpu + ours.clientCpu) / (bare.serverCpu + bare.clientCpu);
}

function findings(pairs: readonly { first: string; ours: Served; bare: Run }[]): Findings {
  return {
    figures: [
      {
        what: `assign ${COUNT} waiting Services, median of ${PAIRS} pairs`,
        ours: `${show(median(pairs.map(({ ours }) => ours.seconds)))} s`,
        bare: `${show(median(pairs.map(({ bare }) => bare.seconds)))} s`,
        value: median(pairs.map(({ ours, bare }) => ratioOf(ours, bare))),
        budget: 1.1,
        ifMissed:
          'less CPU beside the two writes, where apiserver, etcd and controller share the cores: the table, events, log lines, and what each request costs in the client.',
      },
      {
        what: 'the same in CPU seconds of apiserver, etcd and the process that assigns',
        ours: `${show(median(pairs.map(({ ours }) => ours.serverCpu + ours.clientCpu)))} s`,
        bare: `${show(median(pairs.map(({ bare }) => bare.serverCpu + bare.clientCpu)))} s`,
        value: median(pairs.map(({ ours, bare }) => cpuRatioOf(ours, bare))),
        budget: undefined,
      },
    ],
    raw: [
      [
        'pair',
        'first',
        'ours, s',
        'bare, s',
        'ratio',
        'CPU ours, server + process',
        'CPU bare',
        'CPU ratio',
        'writes per Service',
      ],
      ...pairs.map(({ first, ours, bare }, i) => [
        String(i + 1),
        first,
        ours.seconds.toFixed(3),
        bare.seconds.toFixed(3),
        ratioOf(ours, bare).toFixed(3),
        `${ours.serverCpu.toFixed(2)} + ${ours.clientCpu.toFixed(2)}`,
        `${bare.serverCpu.toFixed(2)} + ${bare.clientCpu.toFixed(2)}`,
        cpuRatioOf(ours, bare).toFixed(3),
        (forAssigning(ours.writes) / COUNT).toFixed(3),
      ]),
    ],
    notes: [
      'Ours: from the answer to creating the PortRange until a watch has shown the last True condition.',
      'Bare: a process of its own, warm, with the controller’s token and an idle watch: JSON Patch of the nodePort, then strategic merge patch of the condition, 32 Services in flight, HTTP/1.1 with keep-alive; until the same watch has shown the last condition.',
      'Before each run new Services are created, all with random ports outside the segment, and all show that they wait.',
      'The CPU seconds tell what the time cannot when something else keeps the machine busy.',
    ],
  };
}

export interface Served extends Run {
  readonly writes: Writes;
}

async function measure(rig: Rig, pid: number, work: () => Promise<number>): Promise<Run> {
  const { etcd, apiserver = 0 } = rig.cluster.pids();
  const server = async (): Promise<number> => (await cpuSeconds(etcd)) + (await cpuSeconds(apiserver));
  const [serverBefore, clientBefore] = [await server(), await cpuSeconds(pid)];
  const seconds = await work();
  const [serverAfter, clientAfter] = [await server(), await cpuSeconds(pid)];
  return { seconds, serverCpu: serverAfter - serverBefore, clientCpu: clientAfter - clientBefore };
}
/** By the controller, started for this. Leaves a cluster without Services. */
export async function serveWaiting(rig: Rig, count: number): Promise<Served> {
  const { client } = rig;
  const segment = { from: 30_000, to: 30_000 + count - 1 };
  const watch = await watchServices(client, NAMESPACE);
  const controller = await rig.startController();
  const names = await createMany(client, NAMESPACE, { count, prefix: 'svc', range: 'bench', segment });
  await watch.until('waiting', names, isWaiting);
  await sleep(PAUSE_MS);
  const before = await countWrites(client);
  const run = await measure(rig, controller.pid, async () => {
    await createRange(client, 'bench', segment);
    const began = performance.now();
    return ((await watch.until('served', names, isTrue)) - began) / 1000;
  });
  const writes = difference(before, await countWrites(client));
  await controller.stop();
  await watch.stop();
  await cleanUp(client, NAMESPACE, TABLE_NAMESPACE);
  await sleep(PAUSE_MS);
  rig.say(`ours: ${asList(writes)}`);
  return { ...run, writes };
}

async function serveBare(rig: Rig, count: number): Promise<Run> {
  const { client, cluster } = rig;
  const segment: Segment = { from: 30_000, to: 30_000 + count - 1 };
  const watch = await watchServices(client, NAMESPACE);
  const names = await createMany(client, NAMESPACE, { count, prefix: 'svc', range: 'bench', segment });
  const child = fork(join(import.meta.dirname, '../bareLoop.ts'));
  if (child.pid !== undefined) rig.guard.watch(child.pid);
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const order: BareOrder = {
    url: cluster.url,
    caFile: cluster.caFile,
    token: cluster.token('controller'),
    namespace: NAMESPACE,
    names,
    firstPort: segment.from,
  };
  child.send(order);
  const failed = ended.then((code) => {
    if (code !== 0) throw new Error(`the bare loop ended with ${code}`);
  });
  const failedEarly = failed.then((): never => {
    throw new Error('the bare loop ended early');
  });
  failedEarly.catch(() => undefined);
  await Promise.race([once(child, 'message'), failedEarly]);
  await watch.until('waiting', names, isWaiting);
  await sleep(PAUSE_MS);
  const run = await measure(rig, child.pid ?? 0, async () => {
    const began = performance.now();
    child.send('go');
    return ((await Promise.race([watch.until('served', names, isTrue), failedEarly])) - began) / 1000;
  });
  child.send('end');
  await failed;
  if (child.pid !== undefined) rig.guard.forget(child.pid);
  await watch.stop();
  await cleanUp(client, NAMESPACE, TABLE_NAMESPACE);
  await sleep(PAUSE_MS);
  return run;
}
