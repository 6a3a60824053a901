import { join } from 'node:path';
import { Client } from 'undici';
import type { Cluster } from '../cluster/cluster.ts';

/**
 * Puts an object into etcd as it stands, behind the apiserver's back: what its validation would refuse, as a defect of
 * the apiserver would leave it. By etcd's JSON gateway; the apiserver reads JSON as well as protobuf.
 */
export async function putIntoEtcd(cluster: Cluster, key: string, object: unknown): Promise<void> {
  const etcd = new Client('http://localhost', { socketPath: join(cluster.dir, 'etcd.sock') });
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  try {
    const body = JSON.stringify({ key: base64(key), value: base64(JSON.stringify(object)) });
    const answer = await etcd.request({ method: 'POST', path: '/v3/kv/put', body });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`etcd answers ${answer.statusCode}: ${text}`);
  } finally {
    await etcd.close();
  }
}
