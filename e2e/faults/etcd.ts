/**
 * etcd put back to an older snapshot, as Kubernetes recommends it: everything is down meanwhile, and afterwards the
 * revision is above all that anybody has seen, with what lies before it compacted, so that no watch can go on from a
 * time that never was. `etcdutl snapshot restore --bump-revision --mark-compacted` does that in the files; here a key
 * that nobody reads is written until the revision is high enough, and then etcd compacts.
 */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import { bumpEtcd, compactEtcd, revisionOfEtcd } from '../support/etcd.ts';
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
  const seen = await revisionOfEtcd(cluster);
  await cluster.stopApiserver();
  await cluster.stopEtcd();
  await rm(join(cluster.dir, 'etcd'), { recursive: true });
  await cp(dir, join(cluster.dir, 'etcd'), { recursive: true });
  await cluster.startEtcd();
  await eventually(async () => {
    for (let revision = 0; revision <= seen; ) revision = await bumpEtcd(cluster);
  });
  await compactEtcd(cluster);
  await cluster.startApiserver();
}
