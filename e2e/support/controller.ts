import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { request } from 'undici';
import { expect } from 'vitest';
import type { Cluster } from '../cluster/cluster.ts';
import { startGuard } from '../cluster/guard.ts';
import { freePort } from '../cluster/ports.ts';
import { eventually } from './eventually.ts';

const ROOT = join(import.meta.dirname, '../..');
export const NODE = join(ROOT, 'node_modules/.bin/node');
export const BUNDLE = join(ROOT, 'dist/nodeport-manager.js');

/**
 * Flags for a test that kills the only controller with SIGKILL and starts another: that would wait for the abandoned
 * lease to expire, 10 s by default.
 */
export const ALONE = ['--leader-elect=false'] as const;

/** Flags for a test of a longer outage: by default a leader that cannot renew its lease ends after 7 s. */
export const PATIENT = ['--leader-elect-lease-duration=90s', '--leader-elect-renew-deadline=80s'] as const;

export interface ControllerOptions {
  flags?: readonly string[];
  /** Where it serves /metrics; default: anywhere. */
  metricsPort?: number;
  /** Default: the controller's own in the cluster. */
  kubeconfig?: string;
  /** Default: that of the tests. */
  env?: NodeJS.ProcessEnv;
}

/** A line of its log, which is JSON. */
export type LogLine = Record<string, unknown> & { level: string; time: string; msg: string };

/** The controller as users run it: the bundle, in a process of its own. */
export interface ControllerProcess {
  readonly pid: number;
  running(): boolean;
  /** Resolves with the exit code, or the name of the signal that ended it. */
  readonly exited: Promise<number | string>;
  /** Sends the signal at once. */
  signal(signal: NodeJS.Signals): void;
  /** Sends the signal and resolves when the process has ended. */
  kill(signal?: NodeJS.Signals): Promise<number | string>;
  /** Resolves when it decides: it is ready, and it leads unless it runs ALONE. */
  ready(): Promise<void>;
  /** Resolves when it is ready and waits for its turn to lead. */
  standsBy(): Promise<void>;
  /** Whether it leads: 1 or 0; undefined without leader election. */
  leads(): Promise<number | undefined>;
  readyz(): Promise<{ status: number; body: string }>;
  healthz(): Promise<{ status: number; body: string }>;
  metrics(): Promise<Series>;
  /** Where it serves /metrics: host and port. */
  readonly metricsAddress: string;
  /** Its log so far, and whatever it wrote to standard error. */
  output(): Promise<string>;
  logs(): Promise<LogLine[]>;
}

/** `name{label="value"}`, labels sorted, to its value. */
export type Series = ReadonlyMap<string, number>;

let started = 0;

export async function startController(
  cluster: Cluster,
  options: ControllerOptions = {},
): Promise<ControllerProcess> {
  started += 1;
  const dir = join(cluster.dir, `controller-${started}`);
  await mkdir(dir);
  const [metrics, probes] = [options.metricsPort ?? (await freePort()), await freePort()];
  const args = [
    BUNDLE,
    `--kubeconfig=${options.kubeconfig ?? cluster.kubeconfig('controller')}`,
    `--metrics-bind-address=127.0.0.1:${metrics}`,
    `--health-probe-bind-address=127.0.0.1:${probes}`,
    ...(options.flags ?? []),
  ];
  const log = join(cluster.dir, `controller-${started}.log`);
  const child = await launch(args, dir, log, options.env);
  const running = (): boolean => child.exitCode === null && child.signalCode === null;
  const exited = once(child, 'exit').then(([code, signal]: (number | string)[]) => code ?? signal ?? '');
  const guard = await startGuard(dir);
  guard.watch(child.pid ?? 0);
  void exited.then(() => guard.finish());
  const get = async (port: number, path: string): Promise<{ status: number; body: string }> => {
    const { statusCode, body } = await request(`http://127.0.0.1:${port}${path}`);
    return { status: statusCode, body: await body.text() };
  };
  const output = (): Promise<string> => readFile(log, 'utf8');
  const readyz = () => get(probes, '/readyz');
  const isReady = async () => expect(await readyz()).toEqual({ status: 200, body: 'ok\n' });
  const seriesNow = async (): Promise<Series> => parseSeries((await get(metrics, '/metrics')).body);
  const leads = async () => (await seriesNow()).get('leader_election_master_status{name="nodeport-manager"}');
  return {
    pid: child.pid ?? 0,
    running,
    exited,
    signal: (signal) => void child.kill(signal),
    kill(signal = 'SIGKILL') {
      if (running()) child.kill(signal);
      return exited;
    },
    async ready() {
      await eventually(async () => expect(await leads()).not.toBe(0));
      await eventually(isReady);
    },
    standsBy: () =>
      eventually(async () => {
        await isReady();
        expect(await leads()).toBe(0);
      }),
    leads,
    readyz,
    healthz: () => get(probes, '/healthz'),
    metrics: seriesNow,
    metricsAddress: `127.0.0.1:${metrics}`,
    output,
    logs: async () => (await output()).split('\n').flatMap(parseLine),
  };
}

async function launch(
  args: string[],
  cwd: string,
  logFile: string,
  env: NodeJS.ProcessEnv | undefined,
): Promise<ChildProcess> {
  const log = await open(logFile, 'a');
  try {
    const child = spawn(NODE, args, { cwd, env, stdio: ['ignore', log.fd, log.fd] });
    await once(child, 'spawn');
    return child;
  } finally {
    await log.close();
  }
}

function parseLine(line: string): LogLine[] {
  try {
    const parsed: LogLine = JSON.parse(line);
    return [parsed];
  } catch {
    return [];
  }
}

function parseSeries(text: string): Series {
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (match === null) continue;
    const [, name = '', labels = '', value] = match;
    const sorted = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([pair]) => pair).toSorted();
    series.set(sorted.length === 0 ? name : `${name}{${sorted.join(',')}}`, Number(value));
  }
  return series;
}
