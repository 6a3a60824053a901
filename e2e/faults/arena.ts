import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { type Client, createClient } from '../cluster/client.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import type { Step } from '../../test/simulation/scenario.ts';
import { type Checker, startChecker } from '../support/checker.ts';
import { type ControllerProcess, startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { type ConfigMap, type Metadata, RANGES, TABLE } from '../support/objects.ts';
import { type Proxy, startProxy } from './proxy.ts';
import { createTeam } from './stage.ts';
import { NAMESPACES } from './state.ts';

const CONFIG = join(import.meta.dirname, '../../config/default');
/** None of 30000–30127, where all segments of the scenario are, is ever picked at random. */
const NODE_PORT_RANGE = '30000-63999';

/** A control plane with the proxy in front of it: many histories are played on it, one after the other. */
export interface Arena {
  readonly cluster: Cluster;
  readonly client: Client;
  readonly proxy: Proxy;
  /** Begins a history in an empty cluster, with a checker of its own beside the proxy. */
  begin(options: HistoryOptions): Promise<History>;
  close(): Promise<void>;
}

export interface HistoryOptions {
  readonly flags: readonly string[];
  /** People leave out what cannot be done. */
  readonly isTolerant?: boolean;
}

export interface History {
  readonly arena: Arena;
  /** Another one after the history of etcd was cut. */
  checker(): Checker;
  /** Judges all so far, for what follows is another history. */
  judgeThen(cut: () => Promise<void>): Promise<void>;
  /** The process that was started last. */
  present(): ControllerProcess;
  /** All that run. */
  running(): readonly ControllerProcess[];
  /** SIGKILL for all; nothing that they sent and that has not taken effect yet ever does. */
  kill(): Promise<void>;
  /** Starts one, and another whenever it ends by itself, as a Deployment does. */
  start(): Promise<void>;
  /** Kills all that run and starts one; whoever asks meanwhile has it in that. */
  restart(): Promise<void>;
  /** This one reaches the apiserver no more, until what is returned is called. */
  cutOff(process: ControllerProcess): () => void;
  /** Why processes ended that nobody killed. */
  readonly ends: readonly string[];
  play(step: Step): Promise<void>;
  /** Until all that has happened by now was told to the controllers, and they have nothing more to do. */
  rests(within?: number): Promise<void>;
  end(): Promise<void>;
}

export async function startArena(): Promise<Arena> {
  const cluster = await startCluster({ nodePortRange: NODE_PORT_RANGE });
  const apply = await cluster.kubectl(['apply', '-k', CONFIG]);
  if (apply.code !== 0) throw new Error(apply.stderr);
  const client = createClient(cluster);
  await eventually(() => client.list(RANGES));
  for (const name of NAMESPACES)
    await client.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  const proxy = await startProxy(cluster);
  const arena: Arena = {
    cluster,
    client,
    proxy,
    async begin(options) {
      await clear(client);
      proxy.play({});
      proxy.forget();
      return beginHistory(arena, options);
    },
    async close() {
      await proxy.close();
      await client.close();
      await cluster.stop();
    },
  };
  return arena;
}

/** Empty again; namespaces would never finish deleting here. */
async function clear(client: Client): Promise<void> {
  for (const name of NAMESPACES) {
    await client.delete(`/api/v1/namespaces/${name}/services`);
    const annotations = { 'nodeport-manager.io/range': null };
    await client.patch(`/api/v1/namespaces/${name}`, 'merge', { metadata: { annotations } });
  }
  await client.delete(RANGES);
  const { items } = await client.list<ConfigMap>(TABLE);
  for (const { metadata } of items)
    if (metadata.name.startsWith('nodeport-')) await client.delete(`${TABLE}/${metadata.name}`);
  const lease = '/apis/coordination.k8s.io/v1/namespaces/nodeport-manager-system/leases';
  const leases = await client.list<{ metadata: Metadata }>(lease);
  for (const { metadata } of leases.items) await client.delete(`${lease}/${metadata.name}`);
}

/** Never the same twice: who is cut off has died with its history. */
let named = 0;

async function beginHistory(arena: Arena, options: HistoryOptions): Promise<History> {
  const { cluster, client, proxy } = arena;
  const written = () => Promise.resolve(proxy.answered.map(({ resourceVersion }) => resourceVersion));
  let checker = await startChecker(cluster, written);
  const processes: ControllerProcess[] = [];
  let isOver = false;
  const killed = new WeakSet<ControllerProcess>();
  const names = new WeakMap<ControllerProcess, string>();
  const ends: string[] = [];
  const team = createTeam(client, () => checker.services(), options.isTolerant ?? false);

  async function start(): Promise<void> {
    if (isOver) return;
    const name = `process-${(named += 1)}`;
    const kubeconfig = await proxy.kubeconfigFor(name);
    const next = await startController(cluster, { kubeconfig, flags: options.flags });
    names.set(next, name);
    processes.push(next);
    void restartWhenItEnds(next);
  }

  async function restartWhenItEnds(ended: ControllerProcess): Promise<void> {
    const code = await ended.exited;
    if (killed.has(ended)) return;
    const last = (await ended.logs()).findLast(({ level }) => level === 'error');
    ends.push(`${code}: ${last === undefined ? (await ended.output()).slice(-400) : String(last['reason'])}`);
    await start();
  }

  async function kill(): Promise<void> {
    // What they have sent is in our hands, and goes no further.
    proxy.freeze();
    for (const each of processes) killed.add(each);
    await Promise.all(processes.map((each) => each.kill()));
    proxy.resetConnections();
    proxy.thaw();
  }

  let restarting: Promise<void> | undefined;

  /** Of two writes under way both can strike: two that begin without leader election would end each other for ever. */
  function restart(): Promise<void> {
    restarting ??= kill()
      .then(start)
      .finally(() => {
        restarting = undefined;
      });
    return restarting;
  }

  const present = (): ControllerProcess => {
    const latest = processes.at(-1);
    if (latest === undefined) throw new Error('none was started');
    return latest;
  };

  const running = (): ControllerProcess[] => processes.filter((each) => each.running());

  return {
    arena,
    checker: () => checker,
    async judgeThen(cut) {
      await checker.verify();
      await checker.close();
      await cut();
      proxy.forget();
      checker = await startChecker(cluster, written);
    },
    present,
    running,
    kill,
    start,
    restart,
    cutOff: (process) => proxy.cutOff(names.get(process) ?? ''),
    ends,
    async play(step) {
      proxy.holdWatches();
      try {
        await team.run(step);
      } finally {
        proxy.releaseWatches();
      }
    },
    async rests(within = 60_000) {
      const sentinel = await touchSentinel(client);
      await eventually(() => {
        expect(proxy.told('services'), 'the newest Service told').toBeGreaterThanOrEqual(sentinel);
        const versions = checker.ranges().map(({ metadata }) => Number(metadata.resourceVersion));
        expect(proxy.told('portranges')).toBeGreaterThanOrEqual(Math.max(0, ...versions));
      }, within);
      await eventually(() => isAtRest(proxy, running()), within);
    },
    async end() {
      isOver = true;
      await kill();
      await checker.close();
    },
  };
}

/** Events of one kind come in order: whoever was told of this change was told of all before it. */
async function touchSentinel(client: Client): Promise<number> {
  const metadata = { annotations: { sentinel: `${Math.random()}` } };
  const path = '/api/v1/namespaces/default/services/kubernetes';
  const touched = await client.patch<{ metadata: Metadata }>(path, 'merge', { metadata });
  return Number(touched.metadata.resourceVersion);
}

/** Longer than the status of a PortRange lags. */
const RESTS_MS = 350;

/**
 * On a busy machine silence proves nothing: a controller may just not have had its turn. Who answers has had it, and its
 * timers with it; so it is asked before and after a pause in which nothing may be written.
 */
async function isAtRest(proxy: Proxy, all: readonly ControllerProcess[]): Promise<void> {
  const before = proxy.answered.length;
  const idle = async (): Promise<void> => {
    for (const each of all) {
      const metrics = await each.metrics();
      expect(metrics.get('workqueue_depth{name="services"}'), 'keys ready').toBe(0);
      expect(metrics.get('workqueue_unfinished_work_seconds{name="services"}'), 'keys in work').toBe(0);
    }
  };
  await idle();
  await sleep(RESTS_MS);
  await idle();
  await sleep(RESTS_MS / 10);
  expect(proxy.underWay(), 'requests under way').toBe(0);
  expect(proxy.answered.slice(before), 'writes').toEqual([]);
}
