import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'yaml';
import { freePort } from '../../e2e/cluster/ports.ts';
import type { Bench } from './rig.ts';

/** The bundle as a process of its own. */
export interface Controller {
  readonly pid: number;
  /** URL of its metrics. */
  readonly metrics: string;
  /** Resolves when its startup barrier is passed. Rejects when it ends before, or after 60 s. */
  ready(): Promise<void>;
  /** When it wrote the line with this message, ms since 1970. */
  saidAt(message: string): number | undefined;
  /** Rejects when it ends without having been told to. */
  readonly died: Promise<never>;
  /** SIGTERM, and SIGKILL 6 s later. Harmless twice. */
  stop(): Promise<void>;
}

const MANIFEST = join(import.meta.dirname, '../../config/manager/manager.yaml');
const READY_WITHIN_MS = 60_000;
const BARRIER = 'barrier passed';
let started = 0;

/** BENCH_NODE_FLAGS: more flags for Node, to profile with (`--cpu-prof --cpu-prof-dir=DIR`). */
export async function startController(bench: Bench, kubeconfig: string): Promise<Controller> {
  const metrics = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    process.execPath,
    [
      ...(process.env['BENCH_NODE_FLAGS'] ?? '').split(' ').filter((flag) => flag !== ''),
      bench.bundle,
      `--kubeconfig=${kubeconfig}`,
      `--metrics-bind-address=${metrics}`,
      '--health-probe-bind-address=127.0.0.1:0',
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: await shippedSettings() },
  );
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  bench.guard.watch(pid);
  const ended = once(child, 'exit').then(() => bench.guard.forget(pid));
  const log = createWriteStream(join(bench.dir, `controller-${++started}.log`));
  child.stderr.pipe(log);
  const said = new Map<string, number>();
  const barrier = Promise.withResolvers<void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    log.write(`${line}\n`);
    const message = /"msg":"([^"]*)"/.exec(line)?.[1];
    if (message === undefined || said.has(message)) return;
    said.set(message, Date.parse(/"time":"([^"]*)"/.exec(line)?.[1] ?? ''));
    if (message === BARRIER) barrier.resolve();
  });
  barrier.promise.catch(() => undefined);
  let isToldToStop = false;
  const died = Promise.withResolvers<never>();
  died.promise.catch(() => undefined);
  void ended.then(async () => {
    if (!isToldToStop)
      died.reject(new Error(`the controller ended by itself:\n${await tailOf(String(log.path))}`));
  });
  void ended.then(() =>
    barrier.reject(new Error(`the controller ended before it was ready: see ${String(log.path)}`)),
  );
  const timeout = setTimeout(
    () => barrier.reject(new Error('the controller is not ready after 60 s')),
    READY_WITHIN_MS,
  );
  void barrier.promise.then(
    () => clearTimeout(timeout),
    () => clearTimeout(timeout),
  );
  return {
    pid,
    metrics: `http://${metrics}/metrics`,
    ready: () => barrier.promise,
    saidAt: (message) => said.get(message),
    died: died.promise,
    stop() {
      isToldToStop = true;
      return stop(child, ended);
    },
  };
}

async function tailOf(path: string): Promise<string> {
  await sleep(200);
  return (await readFile(path, 'utf8')).split('\n').slice(-12).join('\n');
}

/** What the shipped Deployment sets, and nothing of the caller's that configures a controller. */
export async function shippedSettings(): Promise<NodeJS.ProcessEnv> {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(NODEPORT_MANAGER_|NODE_OPTIONS|MALLOC_|KUBECONFIG)/.test(name),
  );
  return Object.fromEntries([...own, ...(await shippedEnvironment())]);
}

/** The plain values; those that Kubernetes fills in are the defaults of the flags. */
async function shippedEnvironment(): Promise<[string, string][]> {
  const { spec } = parse(await readFile(MANIFEST, 'utf8')) as Deployment;
  return spec.template.spec.containers.flatMap(({ env = [] }) =>
    env.flatMap(({ name, value }): [string, string][] => (value === undefined ? [] : [[name, value]])),
  );
}

interface Deployment {
  spec: { template: { spec: { containers: { env?: { name: string; value?: string }[] }[] } } };
}

async function stop(child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), 6_000);
  await ended;
  clearTimeout(kill);
}

/** Seconds of CPU that the process has used, in user and system mode, all threads. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // Fields 14 and 15 of proc(5), in ticks of 10 ms; the first two are cut off.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory in MB (10⁶ bytes): all, and without pages of files such as the Node binary. */
export async function memory(pid: number): Promise<{ rss: number; anonymous: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const of = (name: string): number =>
    (Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) * 1024) / 1e6;
  return { rss: of('VmRSS'), anonymous: of('RssAnon') };
}
