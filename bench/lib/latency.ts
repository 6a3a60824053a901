import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../e2e/cluster/client.ts';
import { type Findings, show } from './report.ts';
import { type Bench, TABLE_NAMESPACE, withRig } from './rig.ts';
import {
  conditionOf,
  createMany,
  createOutside,
  createRange,
  isIn,
  serviceBody,
  type Service,
  type ServiceWatch,
  watchServices,
} from './services.ts';
import { percentile } from './stats.ts';

const CREATES = Number(process.env['BENCH_LATENCY_CREATES'] ?? 500);
/** Not measured: until both sides run warm. */
const WARM_UP = 20;
/** One block of the table; 90 % of it are held before the first create. */
const SEGMENT = { from: 30_000, to: 30_249 };
const HELD = 225;
const NAMESPACE = 'latency';
const GIVE_UP_MS = 10_000;
/** From one measurement to the next: what the last one set off has come to rest. */
const REST_MS = 15;

const isTrue = (service: Service): boolean => conditionOf(service)?.status === 'True';

/** One Service created on an idle cluster until its port is written, against a bare GET and PATCH of another one. */
export async function latency(bench: Bench): Promise<Findings> {
  return withRig(bench, {}, async ({ client, startController, say }) => {
    await startController();
    await createRange(client, 'bench', SEGMENT);
    const watch = await watchServices(client, '');
    const held = await createMany(client, NAMESPACE, {
      count: HELD,
      prefix: 'held',
      range: 'bench',
      segment: SEGMENT,
    });
    await watch.until('served', held, isTrue);
    await sleep(1_000);
    say(`${HELD} of 250 numbers of the block are held`);
    const ours: number[] = [];
    const bare: number[] = [];
    for (let i = 0; i < WARM_UP + CREATES; i++) {
      const times = [await measureOurs(client, watch, `ours-${i}`), await measureBare(client, `bare-${i}`)];
      if (i < WARM_UP) continue;
      ours.push(times[0] ?? Number.NaN);
      bare.push(times[1] ?? Number.NaN);
      if (ours.length % 100 === 0) say(`${ours.length} of ${CREATES}`);
    }
    await watch.stop();
    return findings(ours, bare, await bytesOfBlock(client));
  });
}

/** ms from the answer to the create until the watch shows the number. The Service is gone, and its number free, afterwards. */
async function measureOurs(client: Client, watch: ServiceWatch, name: string): Promise<number> {
  const body = serviceBody(name, 'bench');
  const shown = Promise.withResolvers<number>();
  const timeout = setTimeout(() => shown.reject(new Error(`${name} has no port after 10 s`)), GIVE_UP_MS);
  const served = Promise.withResolvers<void>();
  watch.onService((service) => {
    if (service.metadata.name !== name) return;
    if (isIn(SEGMENT, service)) shown.resolve(performance.now());
    if (isTrue(service)) served.resolve();
  });
  try {
    await createOutside(client, NAMESPACE, body, SEGMENT);
    const created = performance.now();
    const took = (await shown.promise) - created;
    await served.promise;
    return took;
  } finally {
    clearTimeout(timeout);
    watch.onService(undefined);
    await client.delete(`/api/v1/namespaces/${NAMESPACE}/services/${name}`);
    await untilReleased(client, name);
  }
}

/** The number lies in the table's block until the controller has seen the deletion. */
async function untilReleased(client: Client, name: string): Promise<void> {
  for (;;) {
    await sleep(REST_MS);
    const { data } = await block(client);
    const mine = Object.values(data).find((entry) => entry.includes(`"service":"${NAMESPACE}/${name}"`));
    if (mine === undefined || mine.includes('"Released"')) return;
  }
}

async function measureBare(client: Client, name: string): Promise<number> {
  const path = `/api/v1/namespaces/${NAMESPACE}/services`;
  await createOutside(client, NAMESPACE, serviceBody(name, undefined), SEGMENT);
  await sleep(REST_MS);
  const began = performance.now();
  await client.raw('GET', `${path}/${name}`);
  const value = SEGMENT.to;
  const { status } = await client.raw('PATCH', `${path}/${name}`, {
    headers: { 'content-type': 'application/json-patch+json' },
    body: [{ op: 'replace', path: '/spec/ports/0/nodePort', value }],
  });
  const took = performance.now() - began;
  if (status !== 200) throw new Error(`PATCH ${name}: ${status}`);
  await client.delete(`${path}/${name}`);
  await sleep(REST_MS);
  return took;
}

function block(client: Client): Promise<{ data: Record<string, string> }> {
  return client.get(`/api/v1/namespaces/${TABLE_NAMESPACE}/configmaps/nodeport-table-30000`);
}

async function bytesOfBlock(client: Client): Promise<number> {
  const { data } = await block(client);
  return Object.entries(data).reduce((sum, [key, text]) => sum + key.length + text.length, 0);
}

function findings(ours: readonly number[], bare: readonly number[], blockBytes: number): Findings {
  const at = (p: number): { ours: string; bare: string; value: number } => {
    const [a, b] = [percentile(ours, p), percentile(bare, p)];
    return { ours: `${show(a)} ms`, bare: `${show(b)} ms`, value: a / b };
  };
  const shares = [0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1];
  return {
    figures: [
      {
        what: 'one Service created → its port written, p50',
        ...at(0.5),
        budget: 2.5,
        ifMissed:
          'the table is written before the Service: a smaller block, or entries in fewer bytes, would make that write cheaper.',
      },
      {
        what: 'one Service created → its port written, p99',
        ...at(0.99),
        budget: 4,
        ifMissed: 'see p50; and fewer pauses of the garbage collectors on both sides.',
      },
    ],
    raw: [
      ['of all', 'ours, ms', 'bare, ms', 'ratio'],
      ...shares.map((p) => [
        p === 0 ? 'least' : p === 1 ? 'most' : `p${100 * p}`,
        show(percentile(ours, p)),
        show(percentile(bare, p)),
        show(percentile(ours, p) / percentile(bare, p)),
      ]),
    ],
    notes: [
      `${ours.length} of each, one by one and alternating, after ${WARM_UP} that do not count. The table’s block holds ${HELD} of 250 numbers, ${show(blockBytes / 1000)} KB.`,
      'Ours: from the answer to the create until a watch shows the port. Bare: GET, then JSON Patch of the nodePort, of a Service that asks for nothing.',
    ],
  };
}
