/**
 * The main job, on a control plane of its own: three teams, a segment of node ports each, some twenty Services.
 * On a terminal it stays up until Ctrl-C; otherwise it ends by itself. Nothing is left behind, however it ends.
 */
import { dirname, join } from 'node:path';
import { type Client, createClient } from '../e2e/cluster/client.ts';
import { type Cluster, startCluster } from '../e2e/cluster/cluster.ts';
import { ANNOTATION } from '../src/api/names.ts';
import type { ServiceView } from '../src/api/service.ts';
import { type Controller, prepareController } from './controller.ts';
import {
  duration,
  heading,
  isServed,
  paint,
  portsText,
  print,
  printRanges,
  printRefused,
  printRequests,
  printServices,
  progress,
  say,
} from './print.ts';
import {
  INTRUDER,
  LATE,
  LEAVES,
  namespaceDefault,
  namespaceManifests,
  NEW,
  OLD,
  OLDER,
  OTHER_WAYS,
  rangeManifests,
  rangeNames,
  REFUSED,
  SERVED_NEXT,
  serviceManifest,
  type ServiceRow,
} from './scenario.ts';
import { watchWorld, type World } from './world.ts';

const CONFIG = join(import.meta.dirname, '../config');
const CRD = 'crd/portranges.nodeport-manager.io';
const staysUp = process.stdin.isTTY && process.stdout.isTTY;

/** Everything that must end when the demo does, the last first. */
const cleanUps: (() => Promise<void>)[] = [];
let cleaning: Promise<void> | undefined;
let controller: Controller | undefined;

interface Stage {
  readonly cluster: Cluster;
  readonly client: Client;
  readonly controller: Controller;
  readonly world: World;
}

async function main(): Promise<void> {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => void finish(code));
  }
  // Whoever reads has gone (`make demo | head`).
  process.stdout.on('error', () => void finish(0));
  try {
    const stage = await setUp();
    await theTeamsMoveIn(stage);
    await everyWayToAsk(stage);
    await segmentsBind(stage);
    await oneLeaves(stage);
    await theControllerIsKilled(stage);
    await someMetrics(stage);
    whatToTry(stage);
    if (!staysUp) return await finish(0);
    await stayUp(stage);
  } catch (error) {
    await fail(error);
  }
}

async function setUp(): Promise<Stage> {
  print(paint('bold', 'nodeport-manager: node ports of a cluster in segments, one owner for each number'));
  heading('1  A control plane of its own');
  const started = performance.now();
  const cluster = await startCluster({ onProgress: progress });
  cleanUps.push(() => cluster.stop());
  say(`kube-apiserver ${cluster.version} and etcd on ${cluster.url}, ready after ${since(started)}`);

  heading('2  The cluster as it is found');
  await apply(cluster, [...namespaceManifests(), ...OLD.map(serviceManifest)]);
  say(
    'Five Services are there already. default/monitoring asks for nothing and sits in a segment. Two have numbers that ' +
      'somebody pinned by hand. One has a health check node port, inside a segment.',
  );

  heading('3  Install: kubectl apply -k config/default');
  const lines = await kubectl(cluster, 'apply', '-k', join(CONFIG, 'default'));
  await kubectl(cluster, 'wait', '--for=condition=Established', '--timeout=30s', CRD);
  say(`${lines.trim().split('\n').length} objects. No kubelet runs here, so the Deployment gets no Pod.`);
  const running = await prepareController(
    cluster.kubeconfig('controller'),
    () => void fail(new Error('the controller ended by itself')),
  );
  controller = running;
  cleanUps.push(() => running.stop());
  const ready = await running.start();
  say(
    `Instead, dist/nodeport-manager.js runs as process ${running.pid()}, ready after ${duration(ready)}, as the ` +
      'installed service account: system:serviceaccount:nodeport-manager-system:nodeport-manager.',
  );

  const client = createClient(cluster);
  const watching = new AbortController();
  cleanUps.push(async () => {
    watching.abort();
    await client.close();
  });
  return { cluster, client, controller: running, world: await watchWorld(client, watching.signal) };
}

async function theTeamsMoveIn({ cluster, world }: Stage): Promise<void> {
  heading('4  A segment for each team, and one for everybody');
  await apply(cluster, rangeManifests());
  await expected(world, OLD);
  const started = performance.now();
  const applied = apply(cluster, NEW.map(serviceManifest)).then(() => performance.now() - started);
  await expected(world, NEW);
  const took = performance.now() - started;
  await applied;
  await apply(cluster, REFUSED.map(serviceManifest));
  await expected(world, REFUSED);
  await counted(world);
  say(
    `${NEW.length} new Services that fit are served ${duration(took)} after kubectl was started, which itself took ` +
      `${duration(await applied)}. ${REFUSED.length} more do not fit.`,
  );
  print();
  printRanges(rangesOf(world), world.services.values());
  print();
  printServices(world.services.values());
  heading('5  Who is not served, and why');
  printRefused(world.services.values());
}

async function everyWayToAsk({ cluster, world }: Stage): Promise<void> {
  heading('6  Other ways to ask');
  await apply(cluster, [namespaceDefault()]);
  await expected(world, [OLDER]);
  // One after the other: who asks for a number that another one has waits for it.
  for (const row of OTHER_WAYS) {
    await apply(cluster, [serviceManifest(row)]);
    await world.until(() => (world.services.has(row.key) ? undefined : `${row.key} is not there`));
    await expected(world, [row]);
  }
  printRequests([...OTHER_WAYS, OLDER].map(({ key }) => known(world, key)));
  say(
    'The namespace d-prod has the default shared: d-prod/web follows it, d-prod/own-way does not, and d-prod/older, ' +
      'which was there before it, is not moved. 30250 is given only to who asks for that number. e-prod/web asks for ' +
      'nothing: team-e is Automatic, for Services at the edge; it gets 30220, because what team-e and team-b both declare ' +
      'belongs to team-b. And closed is paused: it keeps its holders and takes ' +
      'nobody new.',
    '  ',
    'dim',
  );
}

async function segmentsBind({ cluster }: Stage): Promise<void> {
  heading('7  Segments that bind: kubectl apply -k config/policy');
  await kubectl(cluster, 'apply', '-k', join(CONFIG, 'policy'));
  const input = JSON.stringify(serviceManifest(INTRUDER));
  const [namespace = '', name = ''] = INTRUDER.key.split('/');
  const deadline = performance.now() + 30_000;
  for (;;) {
    // The apiserver needs a moment until it has read the policy.
    const { code, stderr } = await cluster.kubectl(['create', '-f', '-'], { input });
    if (code !== 0) {
      say(`Somebody in ${namespace} pins a number of team B's segment:`);
      return say(stderr.trim().replace(/^.*denied request: /s, ''), '    ', 'red');
    }
    if (performance.now() > deadline) throw new Error('the policy denies nothing');
    await kubectl(cluster, 'delete', 'service', '-n', namespace, name);
  }
}

async function oneLeaves({ client, world }: Stage): Promise<void> {
  heading('8  A Service is deleted, and the first in line is served');
  const [before, waits] = [known(world, LEAVES), known(world, SERVED_NEXT)];
  say(
    `${LEAVES} has ${portsText(before)}; ${SERVED_NEXT} waits and has ${portsText(waits)} meanwhile, a random number.`,
  );
  say(`Now ${LEAVES} is deleted.`);
  const started = performance.now();
  await client.delete(pathOf(LEAVES));
  let written: number | undefined;
  await world.until(() => {
    const [now] = known(world, SERVED_NEXT).ports;
    if (now?.nodePort === before.ports[0]?.nodePort) written ??= performance.now() - started;
    return isServed(known(world, SERVED_NEXT)) ? undefined : `${SERVED_NEXT} is not served`;
  });
  const told = performance.now() - started;
  say(
    `${paint('green', SERVED_NEXT)} has ${portsText(known(world, SERVED_NEXT))}, ${duration(written ?? told)} after ` +
      `the delete was sent; its condition followed at ${duration(told)}.`,
  );
  say('(team-c has cooldown 0s. By default a released number rests for 5 minutes first.)', '  ', 'dim');
  await counted(world);
}

async function theControllerIsKilled({ cluster, controller, world }: Stage): Promise<void> {
  heading('9  The controller is killed, and starts again');
  await controller.idle();
  const before = new Map(world.services);
  const pid = controller.pid();
  await controller.kill('SIGKILL');
  await apply(cluster, [serviceManifest(LATE)]);
  await world.until(() => (world.services.has(LATE.key) ? undefined : `${LATE.key} is not there`));
  say(
    `kill -9 ${pid}. Meanwhile ${LATE.key} is created: the apiserver gives it ${portsText(known(world, LATE.key))}.`,
  );
  const ready = await controller.start();
  await expected(world, [LATE]);
  await controller.idle();
  say(
    `Process ${controller.pid()} is ready after ${duration(ready)}; ${LATE.key} has ${portsText(known(world, LATE.key))}.`,
  );
  const moved = [...before].filter(
    ([key, service]) => world.services.get(key)?.resourceVersion !== service.resourceVersion,
  );
  if (moved.length > 0)
    throw new Error(`written by the restarted controller: ${moved.map(([key]) => key).join(', ')}`);
  say(`${paint('green', 'Nobody moved')}: of the other ${before.size} Services not one was even written.`);
}

async function someMetrics({ controller }: Stage): Promise<void> {
  heading('10  Metrics');
  const interesting =
    /^nodeport_manager_(range_(allocated|free)_ports|range_usage_ratio|pending_services|allocations_total)/;
  const lines = (await controller.metrics()).split('\n').filter((line) => interesting.test(line));
  for (const line of lines) print(`  ${line}`);
  say('(Gauges are computed when they are read. Counters began with the process.)', '  ', 'dim');
}

function whatToTry({ cluster, controller }: Stage): void {
  heading('What to try next');
  if (!staysUp) say('In a terminal, make demo stays up, and this can be pasted into another one:');
  for (const line of [
    `export KUBECONFIG=${cluster.kubeconfig('admin')} PATH=${dirname(cluster.kubectlPath)}:$PATH`,
    'kubectl get npr',
    'kubectl delete service -n b-stage exact; kubectl get service -n b-prod same -o yaml',
    'kubectl annotate service -n a-dev typo nodeport-manager.io/range=team-a --overwrite',
    `kubectl patch npr team-c --type=merge -p '{"spec":{"ranges":[{"from":30300,"to":30309}]}}'`,
    `kubectl wait -n c-prod service/mail --for=condition=nodeport-manager.io/Allocated`,
    'kubectl get service -n c-prod mail -o yaml',
    'kubectl events -A',
    'kubectl get configmap -n nodeport-manager-system -l nodeport-manager.io/table -o yaml',
    `curl -s ${controller.metricsUrl()} | grep ^nodeport_manager`,
    `tail -f ${controller.logFile}`,
  ]) {
    print(`  ${line}`);
  }
}

/** Shows what happens to Services until a signal comes. */
async function stayUp({ world }: Stage): Promise<void> {
  print();
  print(paint('bold', 'Up until Ctrl-C. What changes from now on:'));
  const shown = new Map([...world.services].map(([key, service]) => [key, textOf(service)]));
  world.onService((service) => {
    const text = textOf(service);
    if (shown.get(service.key) === text) return;
    shown.set(service.key, text);
    say(`${new Date().toTimeString().slice(0, 8)}  ${service.key}  ${text}`);
  });
  process.removeAllListeners('SIGINT').removeAllListeners('SIGTERM');
  await new Promise<void>((resolve) => {
    const keepAlive = setInterval(() => {}, 60_000);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        clearInterval(keepAlive);
        resolve();
      });
    }
  });
  await finish(0);
}

function textOf(service: ServiceView): string {
  const { condition } = service;
  return condition === undefined ? portsText(service) : `${condition.reason}: ${condition.message}`;
}

/** Resolves when every Service shows what the scenario says it shall. */
async function expected(world: World, rows: readonly ServiceRow[]): Promise<void> {
  await world.until(() => {
    const missing = rows.flatMap(({ key, expect }) => {
      const service = world.services.get(key);
      const reason = service?.condition?.reason;
      if (service !== undefined && expect.some((one) => one === reason)) return [];
      if (service !== undefined && expect.length === 0 && reason === undefined) return [];
      return [`${key} shows ${reason ?? 'nothing'}, not ${expect.join(' or ')}`];
    });
    return missing.length === 0 ? undefined : missing.join('; ');
  });
}

/** Resolves when the status of each range says what its Services show. */
async function counted(world: World): Promise<void> {
  await world.until(() => {
    const services = [...world.services.values()];
    const late = rangesOf(world).filter(({ metadata: { name }, status }) => {
      const waiting = services.filter(
        ({ annotations, condition }) =>
          condition?.status === 'False' && annotations[ANNOTATION.range]?.split(',')[0] === name,
      );
      const inside = services.filter(
        ({ condition }) =>
          condition?.status === 'True' &&
          condition.reason !== 'HeldOutOfRange' &&
          condition.message.includes(` from ${name}`),
      );
      const held = new Set(inside.flatMap(({ ports }) => ports.map(({ nodePort }) => nodePort)));
      return status?.pending !== waiting.length || status.allocated !== held.size;
    });
    return late.length === 0
      ? undefined
      : `the status of ${late.map(({ metadata }) => metadata.name).join(', ')} is late`;
  });
}

function rangesOf({ ranges }: World) {
  return rangeNames.flatMap((name) => ranges.get(name) ?? []);
}

function known(world: World, key: string): ServiceView {
  const service = world.services.get(key);
  if (service === undefined) throw new Error(`Service ${key} is not there`);
  return service;
}

function pathOf(key: string): string {
  const [namespace, name] = key.split('/');
  return `/api/v1/namespaces/${namespace}/services/${name}`;
}

async function apply(cluster: Cluster, items: readonly object[]): Promise<void> {
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const { code, stderr } = await cluster.kubectl(['apply', '-f', '-'], { input });
  if (code !== 0) throw new Error(`kubectl apply: ${stderr.trim()}`);
}

async function kubectl(cluster: Cluster, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.kubectl(args);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr.trim()}`);
  return stdout;
}

function since(started: number): string {
  return duration(performance.now() - started);
}

async function fail(error: unknown): Promise<void> {
  if (cleaning !== undefined) return;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`\ndemo: failed: ${message}\n`);
  const log = (await controller?.logTail()) ?? '';
  if (log !== '') process.stderr.write(`\nThe controller's last lines:\n${log}\n`);
  await finish(1);
}

/** Cleans up, once, and ends the process. */
async function finish(code: number): Promise<void> {
  cleaning ??= (async () => {
    for (const cleanUp of cleanUps.toReversed()) {
      await cleanUp().catch((error: unknown) =>
        process.stderr.write(`demo: cleaning up: ${String(error)}\n`),
      );
    }
  })();
  await cleaning;
  process.exit(code);
}

await main();
