import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createClient } from '../cluster/client.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { compactEtcd, putIntoEtcd } from './etcd.ts';
import { eventually } from './eventually.ts';
import { follow } from './follow.ts';
import type { ConfigMap } from './objects.ts';

const PATH = '/api/v1/namespaces/default/configmaps';

let cluster: Cluster;
let client: Client;
beforeAll(async () => {
  cluster = await startCluster();
  client = createClient(cluster);
});
afterAll(async () => {
  await client?.close();
  await cluster?.stop();
});

test('revisions that nobody can be told any more are said to be missing, and those that nothing befell are not', async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  const gaps: string[] = [];
  const create = (name: string): Promise<ConfigMap> =>
    client.create(PATH, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
  await create('still');
  const moved = await create('moved');
  try {
    await follow<ConfigMap>(
      client,
      PATH,
      stop.signal,
      ({ object }) => seen.push(`${object.metadata.name} ${object.data?.['a'] ?? ''}`),
      (what) => gaps.push(what),
    );
    expect(seen).toEqual(['moved ', 'still ']);
    await cluster.stopApiserver();
    const { resourceVersion: _, ...metadata } = moved.metadata;
    for (const a of ['1', '2'])
      await putIntoEtcd(cluster, '/registry/configmaps/default/moved', { ...moved, metadata, data: { a } });
    await compactEtcd(cluster);
    await cluster.startApiserver();
    await eventually(() => expect(seen).toContain('moved 2'));
    expect(seen).not.toContain('moved 1');
    expect(gaps).toEqual([expect.stringContaining('of default/moved nothing')]);
  } finally {
    stop.abort();
  }
});
