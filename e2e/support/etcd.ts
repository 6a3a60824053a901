import { join } from 'node:path';
import { Client } from 'undici';
import type { Cluster } from '../cluster/cluster.ts';

type Service = 'put' | 'range' | 'compaction';

/**
 * Puts an object into etcd as it stands, behind the apiserver's back: what its validation would refuse, as a defect of
 * the apiserver would leave it. The apiserver reads JSON as well as protobuf.
 */
export async function putIntoEtcd(cluster: Cluster, key: string, object: unknown): Promise<void> {
  await askEtcd(cluster, 'put', { key: base64(key), value: base64(JSON.stringify(object)) });
}

/** Nothing but what is there now can be read any more. Returns the revision. */
export async function compactEtcd(cluster: Cluster): Promise<number> {
  const revision = await revisionOfEtcd(cluster);
  await askEtcd(cluster, 'compaction', { revision, physical: true });
  return revision;
}

export async function revisionOfEtcd(cluster: Cluster): Promise<number> {
  return revisionIn(await askEtcd(cluster, 'range', { key: base64('nothing') }));
}

/** Makes one more revision, of a key that nobody reads. Returns it. */
export async function bumpEtcd(cluster: Cluster): Promise<number> {
  return revisionIn(await askEtcd(cluster, 'put', { key: base64('bump'), value: '' }));
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const revisionIn = ({ header }: Answer): number => Number(header.revision);

interface Answer {
  readonly header: { readonly revision: string };
}

/** By etcd's JSON gateway. */
async function askEtcd(cluster: Cluster, what: Service, body: object): Promise<Answer> {
  const etcd = new Client('http://localhost', { socketPath: join(cluster.dir, 'etcd.sock') });
  try {
    const path = `/v3/kv/${what}`;
    const answer = await etcd.request({ method: 'POST', path, body: JSON.stringify(body) });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`etcd answers ${answer.statusCode}: ${text}`);
    return JSON.parse(text) as Answer;
  } finally {
    await etcd.destroy();
  }
}
