import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Cluster } from '../../e2e/cluster/cluster.ts';
import { WIDE } from './assign.ts';
import { memory } from './controller.ts';
import { type Figure, type Findings, show } from './report.ts';
import { type Bench, type Rig, TABLE_NAMESPACE, withRig } from './rig.ts';
import { conditionOf, createMany, createRange, type Service, watchServices } from './services.ts';
import { median } from './stats.ts';

const MANAGED = Number(process.env['BENCH_LARGE_MANAGED'] ?? 2_000);
const OTHERS = 4 * MANAGED;
const PAIRS = Number(process.env['BENCH_PAIRS'] ?? 5);
const SEGMENT = { from: 30_000, to: 30_000 + MANAGED - 1 };
const RSS_AFTER_S = Number(process.env['BENCH_RSS_SECONDS'] ?? 60);
const MANAGED_IN = 'managed';
const OTHERS_IN = 'others';

const run = promisify(execFile);

/** Starting with 10,000 Services, and the memory that takes. One cluster for both: it takes long to fill. */
export async function large(bench: Bench): Promise<Findings> {
  return withRig(bench, { nodePortRange: WIDE }, async (rig) => {
    const idle = await rssAfter(rig, 'idle');
    await fill(rig);
    const starts = await startPairs(rig);
    const full = await rssAfter(rig, 'with all Services');
    const imports = await importCost(bench);
    return {
      figures: [
        {
          what: `start with ${MANAGED + OTHERS} Services: first request → barrier passed, median of ${PAIRS} pairs`,
          ours: `${show(median(starts.map(({ ours }) => ours)))} ms`,
          bare: `${show(median(starts.map(({ bare }) => bare)))} ms`,
          value: median(starts.map(({ ours, bare }) => ours / bare)),
          budget: 1.5,
          ifMissed:
            'the projection of every object beside its parse, and the writes that stamp the table’s blocks before the barrier.',
        },
        ...memoryFigures(idle, full, imports),
      ],
      raw: [
        ['pair', 'first', 'ours, ms', 'bare, ms', 'ratio'],
        ...starts.map(({ first, ours, bare }, i) => [
          String(i + 1),
          first,
          show(ours),
          show(bare),
          (ours / bare).toFixed(3),
        ]),
      ],
      notes: [
        `${MANAGED} NodePort Services are managed and have their ports, ${OTHERS} are of type ClusterIP; the table has ${Math.ceil(MANAGED / 250)} blocks.`,
        'Ours: from the log line before the first request to the log line after the barrier, which includes a write to each block of the table. Bare: the same lists (services, namespaces, portranges, table; 500 a page), fetched at once and parsed in a fresh Node process, from the first request on.',
        `Memory: VmRSS ${RSS_AFTER_S} s after the barrier, in 10⁶ bytes; most of an empty Node’s are pages of its binary, which processes share.`,
        `An empty Node process: ${show(imports.node.rss)} MB (${show(imports.node.anonymous)} MB not of files); after importing the bundle: ${show(imports.bundle.rss)} MB (${show(imports.bundle.anonymous)}); the controller idle: ${show(idle.rss)} MB (${show(idle.anonymous)}); with all Services: ${show(full.rss)} MB (${show(full.anonymous)}).`,
      ],
    };
  });
}

interface Memory {
  readonly rss: number;
  readonly anonymous: number;
}

function memoryFigures(idle: Memory, full: Memory, imports: { node: Memory; bundle: Memory }): Figure[] {
  const dependencies = imports.bundle.rss - imports.node.rss;
  return [
    {
      what: `RSS ${RSS_AFTER_S} s after ready, idle`,
      ours: `${show(idle.rss)} MB`,
      bare: `${show(imports.node.rss)} MB (empty Node)`,
      value: idle.rss,
      budget: 100,
      unit: ' MB',
      ifMissed: `importing the bundle alone costs ${show(dependencies)} MB on top of an empty Node. Fewer or lighter dependencies: HTTP over node:http instead of undici, a reader of kubeconfigs without OIDC and SOCKS.`,
    },
    {
      what: `RSS ${RSS_AFTER_S} s after ready, ${MANAGED + OTHERS} Services`,
      ours: `${show(full.rss)} MB`,
      bare: `${show(imports.node.rss)} MB (empty Node)`,
      value: full.rss,
      budget: 150,
      unit: ' MB',
      ifMissed:
        'a tighter bound on V8’s young generation (--max-semi-space-size in config/manager), which costs CPU in bursts; smaller pages of lists, which cost time at the start.',
    },
    {
      what: 'of the idle RSS: importing the bundle’s code and dependencies',
      ours: `${show(dependencies)} MB`,
      bare: `${show(idle.rss)} MB`,
      value: (100 * dependencies) / idle.rss,
      budget: undefined,
      unit: ' %',
    },
  ];
}

async function fill({ client, say, startController }: Rig): Promise<void> {
  const controller = await startController();
  await createRange(client, 'bench', SEGMENT);
  say(`creating ${MANAGED + OTHERS} Services`);
  const watch = await watchServices(client, MANAGED_IN);
  const names = await createMany(client, MANAGED_IN, {
    count: MANAGED,
    prefix: 'svc',
    range: 'bench',
    segment: SEGMENT,
  });
  await watch.until('served', names, (service: Service) => conditionOf(service)?.status === 'True');
  await watch.stop();
  // Afterwards: the server ends a watch that this process does not read fast enough while it creates thousands.
  await createMany(client, OTHERS_IN, { count: OTHERS, prefix: 'svc', segment: SEGMENT, type: 'ClusterIP' });
  await controller.stop();
}

interface Pair {
  readonly first: string;
  readonly ours: number;
  readonly bare: number;
}

async function startPairs(rig: Rig): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let i = 0; i < PAIRS; i++) {
    const first = i % 2 === 0 ? 'ours' : 'bare';
    const early = first === 'ours' ? await startOnce(rig) : undefined;
    const bare = await bareLists(rig.cluster);
    const ours = early ?? (await startOnce(rig));
    pairs.push({ first, ours, bare });
    rig.say(`start ${i + 1}: ours ${show(ours)} ms, bare ${show(bare)} ms, ratio ${show(ours / bare)}`);
  }
  return pairs;
}

/** ms from the line before the first request to the barrier. */
async function startOnce(rig: Rig): Promise<number> {
  const controller = await rig.startController();
  const [from, to] = [controller.saidAt('started'), controller.saidAt('barrier passed')];
  await controller.stop();
  return (to ?? Number.NaN) - (from ?? Number.NaN);
}

async function bareLists(cluster: Cluster): Promise<number> {
  const { stdout } = await run(process.execPath, [
    join(import.meta.dirname, '../bareLists.ts'),
    cluster.url,
    cluster.caFile,
    cluster.token('controller'),
    '/api/v1/services?',
    '/api/v1/namespaces?',
    '/apis/nodeport-manager.io/v1alpha1/portranges?',
    `/api/v1/namespaces/${TABLE_NAMESPACE}/configmaps?labelSelector=nodeport-manager.io%2Ftable%3Dtrue&`,
  ]);
  const { ms, counts } = JSON.parse(stdout) as { ms: number; counts: number[] };
  if ((counts[0] ?? 0) < MANAGED + OTHERS) throw new Error(`only ${counts[0]} Services were listed`);
  return ms;
}

async function rssAfter({ startController, say }: Rig, when: string): Promise<Memory> {
  const controller = await startController();
  say(`${when}: memory in ${RSS_AFTER_S} s`);
  await sleep(RSS_AFTER_S * 1_000);
  const found = await memory(controller.pid);
  await controller.stop();
  return found;
}

/** Of a Node process that does nothing, and of one that has loaded the bundle, which printed its version and waits. */
async function importCost({ bundle }: Bench): Promise<{ node: Memory; bundle: Memory }> {
  const report = `setTimeout(() => {
    const status = require('node:fs').readFileSync('/proc/self/status', 'utf8');
    const of = (name) => Number(new RegExp(name + ':\\\\s+(\\\\d+)').exec(status)[1]) * 1024 / 1e6;
    console.log(JSON.stringify({ rss: of('VmRSS'), anonymous: of('RssAnon') }));
  }, 2000)`;
  const measure = async (load: string): Promise<Memory> => {
    // The bundle reads its flags behind the name of the script.
    const { stdout } = await run(process.execPath, ['-e', `${load};${report}`, 'bench', '--version']);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Memory;
  };
  return { node: await measure(''), bundle: await measure(`import(${JSON.stringify(bundle)})`) };
}
