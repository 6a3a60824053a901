/** What goes wrong between two steps of a scenario: processes, machines and people. */
import { expect } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import {
  type ConfigMap,
  keyOf,
  portRange,
  RANGES,
  type RangeSpec,
  servicesPath,
  TABLE,
} from '../support/objects.ts';
import type { History } from './arena.ts';
import { putBack, takeSnapshot } from './etcd.ts';
import type { Pause, Random } from './kinds.ts';
import { tolerant } from './stage.ts';
import { NAMESPACES } from './state.ts';

export function kill(_: Random, { history }: Pause): Promise<void> {
  return history.restart();
}

export function reset(_: Random, { history }: Pause): Promise<void> {
  history.arena.proxy.resetConnections();
  return Promise.resolve();
}

export function halfOpen(_: Random, { history }: Pause): Promise<void> {
  history.arena.proxy.halfOpen();
  return Promise.resolve();
}

export async function stopForAWhile(random: Random, { history }: Pause): Promise<void> {
  const stopped = history.running();
  for (const each of stopped) each.signal('SIGSTOP');
  const goOn = sleep(3_000 * random());
  void goOn.then(() => stopped.forEach((each) => each.signal('SIGCONT')));
  await sleep(1_000 * random());
}

export async function restartApiserver(_: Random, { history }: Pause): Promise<void> {
  const { cluster, proxy } = history.arena;
  await proxy.goDown();
  await cluster.restartApiserver();
  await proxy.comeUp();
}

export async function restartEtcd(random: Random, { history }: Pause): Promise<void> {
  const { cluster, client } = history.arena;
  await cluster.stopEtcd();
  await sleep(1_000 * random());
  await cluster.startEtcd();
  await eventually(() => client.list(RANGES));
}

/** The first time there is only a snapshot, which the next times go back to. */
export async function restoreEtcd(_: Random, pause: Pause): Promise<void> {
  const { history, snapshots } = pause;
  const { cluster, proxy } = history.arena;
  const [snapshot] = snapshots;
  if (snapshot === undefined) {
    snapshots.push(await takeSnapshot(cluster, `snapshot-${Date.now()}`));
    return;
  }
  await proxy.goDown();
  await history.judgeThen(() => putBack(cluster, snapshot));
  await proxy.comeUp();
}

/** Who leads is stopped past its lease; another leads meanwhile; then it goes on, and must end. */
export async function twoLeaders(_: Random, { history }: Pause): Promise<void> {
  const stopped = await leaderOf(history);
  if (stopped === undefined) return;
  stopped.signal('SIGSTOP');
  try {
    await eventually(async () => {
      const others = history.running().filter((each) => each !== stopped);
      const leads = await Promise.all(others.map((each) => each.leads()));
      expect(leads, 'another leads').toContain(1);
    });
  } finally {
    stopped.signal('SIGCONT');
  }
}

async function leaderOf(history: History): Promise<ControllerProcess | undefined> {
  for (const each of history.running()) if ((await each.leads().catch(() => 0)) === 1) return each;
  return undefined;
}

export const deleteTable = (random: Random, pause: Pause) => spoil(random, pause, () => undefined);
export const editTable = (random: Random, pause: Pause) =>
  spoil(random, pause, (data) => Object.fromEntries(Object.entries(data).filter(() => random() < 0.7)));
export const spoilTable = (random: Random, pause: Pause) =>
  spoil(random, pause, (data) => ({ ...data, '30001': '{"state":"He' }));

/** Changes one block of the table; undefined deletes it. */
async function spoil(
  random: Random,
  { history }: Pause,
  change: (data: Record<string, string>) => Record<string, string> | undefined,
): Promise<void> {
  const { client } = history.arena;
  const { items } = await client.list<ConfigMap>(TABLE);
  const blocks = items.filter(({ metadata }) => /^nodeport-table-\d+$/.test(metadata.name));
  const block = pick(random, blocks);
  if (block === undefined) return;
  const path = `${TABLE}/${block.metadata.name}`;
  const data = change(block.data ?? {});
  await tolerant(() =>
    data === undefined ? client.delete(path) : client.put(path, { ...block, data, metadata: bare(block) }),
  );
}

/** By force: without the resourceVersion, which would be compared. */
function bare({ metadata }: ConfigMap): object {
  const { resourceVersion: _, managedFields: __, ...rest } = metadata;
  return rest;
}

/** Somebody pins a number of the segments on a Service of theirs, or on one that is managed. */
export async function editNodePort(random: Random, { history }: Pause): Promise<void> {
  const services = history
    .checker()
    .services()
    .filter(({ metadata, spec }) => NAMESPACES.includes(metadata.namespace ?? '') && spec.type === 'NodePort')
    .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const target = pick(random, services);
  if (target === undefined) return;
  const nodePort = 30_000 + Math.floor(random() * 50);
  const ports = target.spec.ports.map((port, i) => (i === 0 ? { ...port, nodePort } : port));
  const path = servicesPath(keyOf(target));
  await tolerant(() =>
    history.arena.client.patch(path, 'merge', { spec: { ports } }, 'fieldManager=kubectl-edit'),
  );
}

/** Grown, shrunk under its holders, split, overlapped, renamed, deleted and made again. */
const EDITS: Readonly<Record<string, (on: Ranges) => Promise<void>>> = {
  grow: (on) => on.change('team-a', { ranges: [{ from: 30_000, to: 30_027 }] }),
  shrink: (on) => on.change('team-a', { ranges: [{ from: 30_004, to: 30_011 }] }),
  async split(on) {
    await on.change('team-a', { ranges: [{ from: 30_000, to: 30_009 }] });
    await on.create('team-a2', 30_010, 30_019, { namespaces: ['a'] });
  },
  overlap: (on) => on.create('overlap', 30_015, 30_030, { priority: 5 }),
  async rename(on) {
    await on.delete('shared');
    await on.create('shared-2', 30_040, 30_049, { priority: -1 });
  },
  async again(on) {
    await on.delete('team-b');
    await on.create('team-b', 30_020, 30_035, { namespaces: ['b'], strategy: 'Hash' });
  },
  exclude: (on) => on.change('team-a', { excluded: [{ from: 30_001, to: 30_005 }] }),
};

interface Ranges {
  change(name: string, spec: Partial<RangeSpec>): Promise<void>;
  create(name: string, from: number, to: number, spec: Partial<RangeSpec>): Promise<void>;
  delete(name: string): Promise<void>;
}

export async function editRange(random: Random, { history }: Pause): Promise<void> {
  const { client } = history.arena;
  const edit = pick(random, Object.values(EDITS));
  await edit?.({
    change: (name, spec) => tolerant(() => client.patch(`${RANGES}/${name}`, 'merge', { spec })),
    create: (name, from, to, spec) => tolerant(() => client.create(RANGES, portRange(name, from, to, spec))),
    delete: (name) => tolerant(() => client.delete(`${RANGES}/${name}`)),
  });
}

function pick<T>(random: Random, all: readonly T[]): T | undefined {
  return all[Math.floor(random() * all.length)];
}
