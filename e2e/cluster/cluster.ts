import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { apiserverArgs, caFileIn, etcdArgs, untilReady } from './apiserver.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { type Guard, startGuard } from './guard.ts';
import { type KubectlOptions, type KubectlResult, runKubectl } from './kubectl.ts';
import { type ControlPlane, obtainControlPlane } from './obtain.ts';
import { freePort } from './ports.ts';
import type { Progress } from './run.ts';
import {
  kubeconfigPath,
  newTokens,
  type Tokens,
  type User,
  writeKubeconfigs,
  writeServiceAccountKeys,
  writeTokens,
} from './users.ts';

export interface ClusterOptions {
  /** Default "30000-32767". */
  nodePortRange?: string;
  /** Kubernetes version, default "v1.36.3". */
  version?: string;
  /** More flags for kube-apiserver ("--v=2"); they come last and win. */
  apiserverFlags?: readonly string[];
  onProgress?: Progress;
  /** How the apiserver's port on 127.0.0.1 is chosen, asked again when it turns out to be taken. */
  choosePort?: () => Promise<number>;
}

/**
 * A kube-apiserver with an etcd of its own. No controllers run: nothing collects garbage, finishes namespaces, or
 * fills the aggregated ClusterRoles (view, edit, admin), which grant nothing here.
 */
export interface Cluster {
  readonly url: string;
  /** Folder of everything it keeps, removed by stop(): data, logs (etcd.log, apiserver.log), kubeconfigs. */
  readonly dir: string;
  readonly nodePortRange: string;
  /** What the apiserver says it is: "v1.36.3". */
  readonly version: string;
  readonly kubectlPath: string;
  /** The authority that verifies the apiserver's certificate (PEM). */
  readonly caFile: string;
  /** Path of the user's kubeconfig. */
  kubeconfig(user: User): string;
  /** The user's bearer token. */
  token(user: User): string;
  /** Process numbers; no apiserver while it is stopped. */
  pids(): { etcd: number; apiserver: number | undefined; guard: number };
  /** Runs kubectl, as admin unless told otherwise. A code other than 0 is an answer, not an error. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<KubectlResult>;
  /** Ends the apiserver (default SIGKILL; SIGTERM lets it drain, which takes seconds); etcd runs on. */
  stopApiserver(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and data; resolves when it is ready. */
  startApiserver(): Promise<void>;
  restartApiserver(): Promise<void>;
  /** Ends etcd with SIGKILL. An apiserver that runs beside it waits for it. */
  stopEtcd(): Promise<void>;
  startEtcd(): Promise<void>;
  /** Ends both and removes the folder. Happens by itself when this process ends, however it ends. */
  stop(): Promise<void>;
}

/** What belongs to one cluster while it runs. */
interface Running {
  readonly dir: string;
  readonly guard: Guard;
  readonly programs: ControlPlane;
  readonly tokens: Tokens;
  readonly nodePortRange: string;
  readonly flags: readonly string[];
  etcd: Daemon;
  apiserver: Daemon | undefined;
  port: number;
}

const PORT_TRIES = 5;
/** A unix socket's path holds little more than 100 characters. */
const LONGEST_FOLDER = 80;

/**
 * Starts etcd and kube-apiserver (2–3 s) and resolves when the apiserver is ready.
 * The programs are obtained first if need be, which can take minutes: see obtainControlPlane.
 * Throws with the end of the log of the program that would not start; nothing is left running then.
 */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { version, onProgress, nodePortRange = '30000-32767' } = options;
  const programs = await obtainControlPlane({
    ...(version === undefined ? {} : { version }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  const base = tmpdir().length > LONGEST_FOLDER ? '/tmp' : tmpdir();
  const dir = await mkdtemp(join(base, 'nodeport-manager-cluster-'));
  const guard = await startGuard(dir);
  try {
    const tokens = newTokens();
    await mkdir(join(dir, 'certs'));
    await writeTokens(dir, tokens);
    await writeServiceAccountKeys(dir);
    const etcd = await startEtcd({ dir, guard, programs });
    const flags = options.apiserverFlags ?? [];
    const running: Running = {
      dir,
      guard,
      programs,
      tokens,
      nodePortRange,
      flags,
      etcd,
      apiserver: undefined,
      port: 0,
    };
    const gitVersion = await startOnFreePort(running, options.choosePort ?? freePort);
    await writeKubeconfigs(dir, urlOf(running), caFileIn(dir), tokens);
    return clusterOf(running, gitVersion);
  } catch (error) {
    await guard.finish();
    throw error;
  }
}

function startEtcd({ dir, guard, programs }: Pick<Running, 'dir' | 'guard' | 'programs'>): Promise<Daemon> {
  return startDaemon(programs.etcd, etcdArgs(dir), dir, join(dir, 'etcd.log'), guard);
}

/** Between choosing a port and binding it anybody may take it: then another is chosen. */
async function startOnFreePort(running: Running, choosePort: () => Promise<number>): Promise<string> {
  for (let tried = 1; ; tried += 1) {
    running.port = await choosePort();
    try {
      return await startApiserver(running);
    } catch (error) {
      const taken = error instanceof Error && error.message.includes('address already in use');
      if (!taken || tried === PORT_TRIES) throw error;
    }
  }
}

async function startApiserver(running: Running): Promise<string> {
  const { dir, guard, programs, port, nodePortRange, flags } = running;
  if (running.apiserver?.running()) throw new Error('the apiserver runs already: stop it first');
  const args = apiserverArgs(dir, port, nodePortRange, flags);
  const apiserver = await startDaemon(programs.kubeApiserver, args, dir, join(dir, 'apiserver.log'), guard);
  running.apiserver = apiserver;
  try {
    return await untilReady([running.etcd, apiserver], urlOf(running), dir, running.tokens.admin);
  } catch (error) {
    await apiserver.end('SIGKILL');
    running.apiserver = undefined;
    throw error;
  }
}

async function stopApiserver(running: Running, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  await running.apiserver?.end(signal);
  running.apiserver = undefined;
}

function urlOf({ port }: Running): string {
  return `https://127.0.0.1:${port}`;
}

/** Both by SIGKILL: an apiserver whose etcd is gone drains for seconds and keeps its port. */
async function stop({ guard, etcd, apiserver, dir }: Running): Promise<void> {
  await guard.finish();
  // All gone already, unless somebody has killed the guard.
  await Promise.all([apiserver?.end('SIGKILL'), etcd.end('SIGKILL')]);
  await rm(dir, { recursive: true, force: true });
}

function clusterOf(running: Running, version: string): Cluster {
  const { dir, programs, tokens, guard, nodePortRange } = running;
  const start = async () => void (await startApiserver(running));
  let stopped: Promise<void> | undefined;
  return {
    url: urlOf(running),
    dir,
    nodePortRange,
    version,
    kubectlPath: programs.kubectl,
    caFile: caFileIn(dir),
    kubeconfig: (user) => kubeconfigPath(dir, user),
    token: (user) => tokens[user],
    pids: () => ({ etcd: running.etcd.pid, apiserver: running.apiserver?.pid, guard: guard.pid }),
    kubectl: (args, options) => runKubectl(programs.kubectl, dir, args, options),
    stopApiserver: (signal) => stopApiserver(running, signal),
    startApiserver: start,
    restartApiserver: async () => {
      await stopApiserver(running);
      await start();
    },
    stopEtcd: () => running.etcd.end('SIGKILL'),
    startEtcd: async () => {
      running.etcd = await startEtcd(running);
    },
    stop: () => (stopped ??= stop(running)),
  };
}
