import { afterAll, beforeAll, describe, test } from 'vitest';
import { type Call, CASES } from '../test/simulation/conformance.ts';
import { type Client, createClient } from './cluster/client.ts';
import { type Cluster, startCluster } from './cluster/cluster.ts';

describe('the real apiserver, as the simulated one', () => {
  let cluster: Cluster;
  let client: Client;
  beforeAll(async () => {
    cluster = await startCluster({ nodePortRange: '30000-30299' });
    client = createClient(cluster);
  });
  afterAll(async () => {
    await client.close();
    await cluster.stop();
  });

  const call: Call = async (method, path, body, contentType = 'application/json') => {
    const headers = { 'content-type': contentType };
    const answer = await client.raw(
      method,
      path,
      body === undefined ? {} : { body: JSON.stringify(body), headers },
    );
    return { status: answer.status, body: JSON.parse(answer.body) };
  };

  test.each(Object.entries(CASES))('%s', (_, run) => run(call));
});
