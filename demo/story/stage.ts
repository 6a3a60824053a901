/** Where the story is played: a control plane, what is installed, replicas of the controller, and a Prometheus. */
import { join } from 'node:path';
import { type Client, createClient } from '../../e2e/cluster/client.ts';
import { type Cluster, startCluster } from '../../e2e/cluster/cluster.ts';
import type { Progress } from '../../e2e/cluster/run.ts';
import { type PrometheusServer, startPrometheus } from '../../e2e/prometheus/server.ts';
import { type Controller, prepareController } from '../controller.ts';
import { watchWorld, type World } from '../world.ts';

/** The apiserver picks none of the first 125 numbers at random: no stranger is in the segments but the story's own. */
const NODE_PORTS = '30000-33999';
const CONFIG = join(import.meta.dirname, '../../config/default');
const CRD = 'crd/portranges.nodeport-manager.io';
/** A leader that is killed is missed for so long. The default, 10 s, would be five minutes of the story. */
const LEASE = [
  '--leader-elect-lease-duration=3s',
  '--leader-elect-renew-deadline=2500ms',
  '--leader-elect-retry-period=400ms',
] as const;

export interface Stage {
  readonly cluster: Cluster;
  readonly client: Client;
  readonly world: World;
  readonly prometheus: PrometheusServer;
  /** Who runs now, by name. */
  readonly replicas: ReadonlyMap<string, Controller>;
  /** The name of the one that leads; undefined: none does. */
  leader(): Promise<string | undefined>;
  /** Starts one more, and has it scraped. */
  addReplica(name: string): Promise<void>;
  /** `kill -9`. It is scraped, in vain, until the next one is added. */
  killReplica(name: string): Promise<void>;
  apply(items: readonly object[]): Promise<void>;
  /** Ends everything. */
  close(): Promise<void>;
}

export interface StageOptions {
  readonly speed: number;
  /** Between two scrapes, ms. */
  readonly interval: number;
  /** The controller's `--resync-period`. */
  readonly resync: string;
  readonly onProgress: Progress;
  /** Something ended that nobody asked to. */
  readonly onBroken: (error: Error) => void;
}

export async function startStage(options: StageOptions): Promise<Stage> {
  const ends: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const end of ends.splice(0).toReversed()) await end();
  };
  try {
    return { ...(await setUp(options, ends)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function setUp(
  { speed, interval, resync, onProgress, onBroken }: StageOptions,
  ends: (() => Promise<void>)[],
): Promise<Omit<Stage, 'close'>> {
  const cluster = await startCluster({ nodePortRange: NODE_PORTS, onProgress });
  ends.push(() => cluster.stop());
  await kubectl(cluster, ['apply', '-k', CONFIG]);
  await kubectl(cluster, ['wait', '--for=condition=Established', '--timeout=30s', CRD]);

  const replicas = new Map<string, Controller>();
  const instances: Record<string, string> = {};
  const flags = [...LEASE, `--service-node-port-range=${NODE_PORTS}`, `--resync-period=${resync}`];
  const launch = async (name: string): Promise<void> => {
    const died = (): void => onBroken(new Error(`${name} ended by itself`));
    const replica = await prepareController(cluster.kubeconfig('controller'), died, flags);
    ends.push(() => replica.stop());
    await replica.start();
    replicas.set(name, replica);
    instances[name] = new URL(replica.metricsUrl()).host;
  };
  for (const name of ['manager-1', 'manager-2']) await launch(name);

  const prometheus = await startPrometheus(cluster, { speed, interval, instances, onProgress });
  ends.push(() => prometheus.stop());
  const client = createClient(cluster);
  const watching = new AbortController();
  ends.push(async () => {
    watching.abort();
    await client.close();
  });
  return {
    cluster,
    client,
    prometheus,
    replicas,
    world: await watchWorld(client, watching.signal),
    leader: () => leaderOf(replicas),
    addReplica: async (name) => {
      await launch(name);
      await prometheus.scrape(instances);
    },
    killReplica: async (name) => {
      const replica = replicas.get(name);
      replicas.delete(name);
      delete instances[name];
      await replica?.kill('SIGKILL');
    },
    apply: async (items) => {
      const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
      await kubectl(cluster, ['apply', '-f', '-'], input);
    },
  };
}

async function leaderOf(replicas: ReadonlyMap<string, Controller>): Promise<string | undefined> {
  for (const [name, replica] of replicas) {
    if (/^leader_election_master_status\{.*\} 1$/m.test(await replica.metrics())) return name;
  }
  return undefined;
}

async function kubectl(cluster: Cluster, args: readonly string[], input?: string): Promise<void> {
  const { code, stderr } = await cluster.kubectl(args, input === undefined ? {} : { input });
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr.trim()}`);
}
