/**
 * etcd put back to an older snapshot, as Kubernetes recommends it: everything is down meanwhile, and afterwards the
 * revision is above all that anybody has seen, with what lies before it compacted, so that no watch can go on from a
 * time that never was. `etcdutl snapshot restore --bump-revision --mark-compacted` does that in the files; here a key
 * that nobody reads is written until the revision is high enough, and then etcd compacts.
 */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'undici';
import type { Cluster } from '../cluster/cluster.ts';
import { eventually } from '../support/eventually.ts';

export interface Snapshot {
  readonly dir: string;
}

/** A copy of its files while it stands still: what a machine that lost its power would find. */
export async function takeSnapshot(cluster: Cluster, name: string): Promise<Snapshot> {
  const dir = join(cluster.dir, `etcd-${name}`);
  const { etcd } = cluster.pids();
  process.kill(etcd, 'SIGSTOP');
  try {
    await cp(join(cluster.dir, 'etcd'), dir, { recursive: true });
  } finally {
    process.kill(etcd, 'SIGCONT');
  }
  return { dir };
}

/** Everything is as it was then. Nobody else may reach the apiserver meanwhile. */
export async function putBack(cluster: Cluster, { dir }: Snapshot): Promise<void> {
  const seen = await revisionOf(cluster);
  await cluster.stopApiserver();
  await cluster.stopEtcd();
  await rm(join(cluster.dir, 'etcd'), { recursive: true });
  await cp(dir, join(cluster.dir, 'etcd'), { recursive: true });
  await cluster.startEtcd();
  await eventually(async () => {
    for (let revision = 0; revision <= seen; ) revision = await bump(cluster);
  });
  await compact(cluster);
  await cluster.startApiserver();
}

/** What lies before now is no more. */
export async function compact(cluster: Cluster): Promise<void> {
  await ask(cluster, 'compaction', { revision: await revisionOf(cluster), physical: true });
}

async function bump(cluster: Cluster): Promise<number> {
  return revisionIn(await ask(cluster, 'put', { key: base64('bump'), value: base64('') }));
}

async function revisionOf(cluster: Cluster): Promise<number> {
  return revisionIn(await ask(cluster, 'range', { key: base64('bump') }));
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const revisionIn = ({ header }: { header: { revision: string } }): number => Number(header.revision);

/** By etcd's JSON gateway. */
async function ask(
  cluster: Cluster,
  what: 'put' | 'range' | 'compaction',
  body: object,
): Promise<{ header: { revision: string } }> {
  const etcd = new Client('http://localhost', { socketPath: join(cluster.dir, 'etcd.sock') });
  try {
    const path = `/v3/kv/${what}`;
    const answer = await etcd.request({ method: 'POST', path, body: JSON.stringify(body) });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`etcd answers ${answer.statusCode}: ${text}`);
    return JSON.parse(text) as { header: { revision: string } };
  } finally {
    await etcd.destroy();
  }
}
