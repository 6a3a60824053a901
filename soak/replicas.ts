import { setTimeout as sleep } from 'node:timers/promises';
import { shippedSettings } from '../bench/lib/controller.ts';
import type { Cluster } from '../e2e/cluster/cluster.ts';
import { type ControllerProcess, startController } from '../e2e/support/controller.ts';

/** Who fails over within half a minute, and lives through a restart of the apiserver. */
const FLAGS = [
  '--leader-elect-lease-duration=30s',
  '--leader-elect-renew-deadline=25s',
  '--resync-period=60s',
] as const;
export const LEASE_MS = 30_000;
const STARTED_AGAIN_AFTER_MS = 1_000;

/** Two processes, as the Deployment has them: who ends is started again. */
export interface Replicas {
  running(): readonly ControllerProcess[];
  leader(): Promise<ControllerProcess | undefined>;
  /** How each that ended did so: exit code or signal. */
  readonly ends: readonly string[];
  stop(): Promise<void>;
}

export async function startReplicas(cluster: Cluster): Promise<Replicas> {
  const running = new Set<ControllerProcess>();
  const ends: string[] = [];
  const env = await shippedSettings();
  let isStopping = false;
  const keepOne = async (): Promise<void> => {
    const controller = await startController(cluster, { flags: FLAGS, env });
    running.add(controller);
    void controller.exited.then(async (how) => {
      running.delete(controller);
      ends.push(String(how));
      await sleep(STARTED_AGAIN_AFTER_MS);
      if (!isStopping) await keepOne();
    });
  };
  await keepOne();
  await [...running][0]?.ready();
  await keepOne();
  return {
    running: () => [...running],
    async leader() {
      for (const each of running) if ((await each.leads().catch(() => 0)) === 1) return each;
      return undefined;
    },
    ends,
    async stop() {
      isStopping = true;
      await Promise.all([...running].map((controller) => controller.kill('SIGKILL')));
    },
  };
}
