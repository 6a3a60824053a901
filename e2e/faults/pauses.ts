/** What goes wrong between two steps of a scenario: processes, machines and people. False: there was nothing to strike. */
import { expect } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { ANNOTATION } from '../../src/api/names.ts';
import { ASKS, WISHES } from '../../test/simulation/people.ts';
import type { ControllerProcess } from '../support/controller.ts';
import { compactEtcd } from '../support/etcd.ts';
import { eventually } from '../support/eventually.ts';
import {
  type ConfigMap,
  keyOf,
  portRange,
  RANGES,
  type RangeSpec,
  type Service,
  servicesPath,
  TABLE,
} from '../support/objects.ts';
import type { History } from './arena.ts';
import { putBack, takeSnapshot } from './etcd.ts';
import type { Pause, Random } from './kinds.ts';
import { tolerant } from './stage.ts';
import { NAMESPACES } from './state.ts';

export async function kill(_: Random, { history }: Pause): Promise<boolean> {
  await history.restart();
  return true;
}

export function reset(_: Random, { history }: Pause): Promise<boolean> {
  history.arena.proxy.resetConnections();
  return Promise.resolve(true);
}

export function halfOpen(_: Random, { history }: Pause): Promise<boolean> {
  history.arena.proxy.halfOpen();
  return Promise.resolve(true);
}

export async function stopForAWhile(random: Random, { history }: Pause): Promise<boolean> {
  const stopped = history.running();
  for (const each of stopped) each.signal('SIGSTOP');
  const goOn = sleep(3_000 * random());
  void goOn.then(() => stopped.forEach((each) => each.signal('SIGCONT')));
  await sleep(1_000 * random());
  return true;
}

export async function restartApiserver(_: Random, { history }: Pause): Promise<boolean> {
  const { cluster, proxy } = history.arena;
  await proxy.goDown();
  await cluster.restartApiserver();
  await proxy.comeUp();
  return true;
}

/** No watch can go on from where it was: etcd has forgotten that, and the apiserver, which remembers some, is new. */
export async function compactHistory(_: Random, { history }: Pause): Promise<boolean> {
  const { cluster, proxy } = history.arena;
  await proxy.goDown();
  await cluster.stopApiserver();
  await compactEtcd(cluster);
  await cluster.startApiserver();
  await proxy.comeUp();
  return true;
}

export async function restartEtcd(random: Random, { history }: Pause): Promise<boolean> {
  const { cluster, client } = history.arena;
  await cluster.stopEtcd();
  await sleep(1_000 * random());
  await cluster.startEtcd();
  await eventually(() => client.list(RANGES));
  return true;
}

/** The first time there is nothing to go back to: what the next times go back to is copied. */
export async function restoreEtcd(_: Random, pause: Pause): Promise<boolean> {
  const { history, snapshots } = pause;
  const { cluster, proxy } = history.arena;
  const [snapshot] = snapshots;
  if (snapshot === undefined) {
    snapshots.push(await takeSnapshot(cluster, `snapshot-${Date.now()}`));
    return false;
  }
  await proxy.goDown();
  await history.judgeThen(() => putBack(cluster, snapshot));
  await proxy.comeUp();
  return true;
}

/** Who leads is stopped past its lease; another leads meanwhile; then it goes on, and must end. */
export async function twoLeaders(_: Random, { history }: Pause): Promise<boolean> {
  const stopped = await leaderOf(history);
  if (stopped === undefined) return false;
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
  return true;
}

/** Who leads reaches nobody for a while, often until its lease has run out and another leads. */
export async function cutLeaderOff(random: Random, { history }: Pause): Promise<boolean> {
  const leader = await leaderOf(history);
  if (leader === undefined) return false;
  const reconnect = history.cutOff(leader);
  void sleep(6_000 * random()).then(reconnect);
  await sleep(1_000 * random());
  return true;
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
): Promise<boolean> {
  const { client } = history.arena;
  const { items } = await client.list<ConfigMap>(TABLE);
  const blocks = items.filter(({ metadata }) => /^nodeport-table-\d+$/.test(metadata.name));
  const block = pick(random, blocks);
  if (block === undefined) return false;
  const path = `${TABLE}/${block.metadata.name}`;
  const data = change(block.data ?? {});
  return tolerant(() =>
    data === undefined ? client.delete(path) : client.put(path, { ...block, data, metadata: bare(block) }),
  );
}

/** By force: without the resourceVersion, which would be compared. */
function bare({ metadata }: ConfigMap): object {
  const { resourceVersion: _, managedFields: __, ...rest } = metadata;
  return rest;
}

/** Somebody pins a number of the segments on a Service of theirs, or on one that is managed. */
export async function editNodePort(random: Random, { history }: Pause): Promise<boolean> {
  const target = pick(
    random,
    servicesOf(history).filter(({ spec }) => spec.type === 'NodePort'),
  );
  if (target === undefined) return false;
  const nodePort = 30_000 + Math.floor(random() * 50);
  const ports = target.spec.ports.map((port, i) => (i === 0 ? { ...port, nodePort } : port));
  return edit(history, target, { spec: { ports } });
}

/** A team changes its mind, or its tool puts back what it had. */
export async function editAnnotations(random: Random, { history }: Pause): Promise<boolean> {
  const target = pick(random, servicesOf(history));
  if (target === undefined) return false;
  const annotations = {
    [ANNOTATION.range]: pick(random, ASKS) ?? null,
    [ANNOTATION.ports]: pick(random, WISHES) ?? null,
  };
  return edit(history, target, { metadata: { annotations } });
}

function servicesOf(history: History): Service[] {
  return history
    .checker()
    .services()
    .filter(({ metadata }) => NAMESPACES.includes(metadata.namespace ?? ''))
    .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function edit({ arena }: History, target: Service, patch: object): Promise<boolean> {
  const path = servicesPath(keyOf(target));
  return tolerant(() => arena.client.patch(path, 'merge', patch, 'fieldManager=kubectl-edit'));
}

/** Grown, shrunk under its holders, split, overlapped, renamed, deleted and made again. */
const EDITS: Readonly<Record<string, (on: Ranges) => Promise<boolean>>> = {
  grow: (on) => on.change('team-a', { ranges: [{ from: 30_000, to: 30_027 }] }),
  shrink: (on) => on.change('team-a', { ranges: [{ from: 30_004, to: 30_011 }] }),
  async split(on) {
    const isCut = await on.change('team-a', { ranges: [{ from: 30_000, to: 30_009 }] });
    return (await on.create('team-a2', 30_010, 30_019, { namespaces: ['a'] })) || isCut;
  },
  overlap: (on) => on.create('overlap', 30_015, 30_030, { priority: 5 }),
  async rename(on) {
    const isGone = await on.delete('shared');
    return (await on.create('shared-2', 30_040, 30_049, { priority: -1 })) || isGone;
  },
  async again(on) {
    const isGone = await on.delete('team-b');
    return (await on.create('team-b', 30_020, 30_035, { namespaces: ['b'], strategy: 'Hash' })) || isGone;
  },
  exclude: (on) => on.change('team-a', { excluded: [{ from: 30_001, to: 30_005 }] }),
};

/** Each: whether it was done. */
interface Ranges {
  change(name: string, spec: Partial<RangeSpec>): Promise<boolean>;
  create(name: string, from: number, to: number, spec: Partial<RangeSpec>): Promise<boolean>;
  delete(name: string): Promise<boolean>;
}

export async function editRange(random: Random, { history }: Pause): Promise<boolean> {
  const on = rangesOn(history);
  return (await pick(random, Object.values(EDITS))?.(on)) ?? false;
}

/** One that is paused is resumed, else one is paused. */
export async function pauseRange(random: Random, { history }: Pause): Promise<boolean> {
  const all = history
    .checker()
    .ranges()
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const paused = all.filter(({ spec }) => spec.paused === true);
  const target = pick(random, paused.length > 0 ? paused : all);
  if (target === undefined) return false;
  return rangesOn(history).change(target.metadata.name, { paused: target.spec.paused !== true });
}

function rangesOn({ arena: { client } }: History): Ranges {
  return {
    change: (name, spec) => tolerant(() => client.patch(`${RANGES}/${name}`, 'merge', { spec })),
    create: (name, from, to, spec) => tolerant(() => client.create(RANGES, portRange(name, from, to, spec))),
    delete: (name) => tolerant(() => client.delete(`${RANGES}/${name}`)),
  };
}

function pick<T>(random: Random, all: readonly T[]): T | undefined {
  return all[Math.floor(random() * all.length)];
}
