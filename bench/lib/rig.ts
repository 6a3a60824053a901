import { execFile } from 'node:child_process';
import { copyFile, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Client, createClient } from '../../e2e/cluster/client.ts';
import { type Cluster, startCluster } from '../../e2e/cluster/cluster.ts';
import { type Guard, startGuard } from '../../e2e/cluster/guard.ts';
import { obtainControlPlane } from '../../e2e/cluster/obtain.ts';
import { type Controller, startController } from './controller.ts';

const ROOT = join(import.meta.dirname, '../..');

export const TABLE_NAMESPACE = 'nodeport-manager-system';

/** What every part needs: the bundle as it was at the start, and whoever kills what a dying bench leaves. */
export interface Bench {
  /** A copy: somebody may build again while we measure. */
  readonly bundle: string;
  readonly dir: string;
  readonly guard: Guard;
  readonly say: (line: string) => void;
}

export async function startBench(): Promise<Bench> {
  const dir = await mkdtemp(join(tmpdir(), 'nodeport-manager-bench-'));
  const guard = await startGuard(dir);
  const bundle = join(dir, 'nodeport-manager.mjs');
  const built = process.env['BENCH_BUNDLE'] ?? join(ROOT, 'dist/nodeport-manager.js');
  await copyFile(built, bundle).catch(() => {
    throw new Error(`${built} is missing: run make build first`);
  });
  const began = performance.now();
  const say = (line: string): void =>
    void process.stderr.write(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${line}\n`);
  return { bundle, dir, guard, say };
}

/** A cluster with everything installed but the controller, which runs as a process beside it, with its own rights. */
export interface Rig extends Bench {
  readonly cluster: Cluster;
  /** The administrator. */
  readonly client: Client;
  startController(): Promise<Controller>;
}

/** Starts a cluster for `work` and removes it, whatever happens. */
export async function withRig<T>(
  bench: Bench,
  options: { nodePortRange?: string },
  work: (rig: Rig) => Promise<T>,
): Promise<T> {
  bench.say('starting etcd and kube-apiserver');
  const cluster = await startCluster({ ...options, onProgress: bench.say });
  const client = createClient(cluster);
  const running: Controller[] = [];
  const died = Promise.withResolvers<never>();
  try {
    await install(cluster);
    const done = work({
      ...bench,
      cluster,
      client,
      async startController() {
        const controller = await startController(bench, cluster.kubeconfig('controller'));
        running.push(controller);
        controller.died.catch(died.reject);
        await controller.ready();
        return controller;
      },
    });
    return await Promise.race([done, died.promise]);
  } finally {
    await Promise.all(running.map((controller) => controller.stop()));
    await client.close();
    await cluster.stop();
  }
}

async function install(cluster: Cluster): Promise<void> {
  for (const args of [
    ['apply', '-k', join(ROOT, 'config/default')],
    ['wait', '--for=condition=Established', '--timeout=30s', 'crd/portranges.nodeport-manager.io'],
  ]) {
    const { code, stderr } = await cluster.kubectl(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  }
}

/** Of the programs that clusters are started from. */
export async function versions(): Promise<{ kubernetes: string; etcd: string }> {
  const { etcd, kubeApiserver } = await obtainControlPlane();
  const run = promisify(execFile);
  const [k, e] = await Promise.all([run(kubeApiserver, ['--version']), run(etcd, ['--version'])]);
  return {
    kubernetes: k.stdout.trim().replace('Kubernetes ', ''),
    etcd: /etcd Version: (\S+)/.exec(e.stdout)?.[1] ?? 'unknown',
  };
}
