import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BareOrder } from '../bareLoop.ts';
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

const PAIRS = 5;
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
    const pairs: { first: string; ours: number; bare: number; writes: number }[] = [];
    for (let i = 0; i < PAIRS; i++) {
      const first = i % 2 === 0 ? 'ours' : 'bare';
      let served: Served | undefined;
      if (first === 'ours') served = await serveWaiting(rig, COUNT);
      const bare = await serveBare(rig, COUNT);
      served ??= await serveWaiting(rig, COUNT);
      pairs.push({ first, ours: served.seconds, bare, writes: forAssigning(served.writes) / COUNT });
      rig.say(
        `pair ${i + 1}: ours ${show(served.seconds)} s, bare ${show(bare)} s, ratio ${show(served.seconds / bare)}`,
      );
    }
    return {
      figures: [
        {
          what: `assign ${COUNT} waiting Services, median of ${PAIRS} pairs`,
          ours: `${show(median(pairs.map(({ ours }) => ours)))} s`,
          bare: `${show(median(pairs.map(({ bare }) => bare)))} s`,
          value: median(pairs.map(({ ours, bare }) => ours / bare)),
          budget: 1.1,
        },
      ],
      raw: [
        ['pair', 'first', 'ours, s', 'bare, s', 'ratio', 'writes per Service'],
        ...pairs.map(({ first, ours, bare, writes }, i) => [
          String(i + 1),
          first,
          ours.toFixed(3),
          bare.toFixed(3),
          (ours / bare).toFixed(3),
          writes.toFixed(3),
        ]),
      ],
      notes: [
        'Ours: from the answer to creating the PortRange until a watch has shown the last True condition.',
        'Bare: a process of its own, warm, with the controller’s token and an idle watch: JSON Patch of the nodePort, then strategic merge patch of the condition, 32 Services in flight, HTTP/1.1 with keep-alive; until the same watch has shown the last condition.',
        'Before each run new Services are created, all with random ports outside the segment, and all show that they wait.',
      ],
    };
  });
}

export interface Served {
  readonly seconds: number;
  readonly writes: Writes;
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
  await createRange(client, 'bench', segment);
  const began = performance.now();
  const ended = await watch.until('served', names, isTrue);
  const writes = difference(before, await countWrites(client));
  await controller.stop();
  await watch.stop();
  await cleanUp(client, NAMESPACE, TABLE_NAMESPACE);
  await sleep(PAUSE_MS);
  rig.say(`ours: ${show((ended - began) / 1000)} s; ${asList(writes)}`);
  return { seconds: (ended - began) / 1000, writes };
}

async function serveBare(rig: Rig, count: number): Promise<number> {
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
  await Promise.race([once(child, 'message'), failed]);
  await watch.until('waiting', names, isWaiting);
  await sleep(PAUSE_MS);
  const began = performance.now();
  child.send('go');
  const [last] = await Promise.all([watch.until('served', names, isTrue), failed]);
  if (child.pid !== undefined) rig.guard.forget(child.pid);
  await watch.stop();
  await cleanUp(client, NAMESPACE, TABLE_NAMESPACE);
  await sleep(PAUSE_MS);
  return (last - began) / 1000;
}
