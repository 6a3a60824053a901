import { afterAll, beforeAll, describe, test } from 'vitest';
import { type Beside, type Call, CASES, type Line } from '../test/simulation/conformance.ts';
import { OBJECT_CASES } from '../test/simulation/conformanceObjects.ts';
import { WATCH_CASES } from '../test/simulation/conformanceWatches.ts';
import { type Client, createClient } from './cluster/client.ts';
import { type Cluster, startCluster } from './cluster/cluster.ts';
import { compactEtcd } from './support/etcd.ts';
import { eventually } from './support/eventually.ts';
import { RANGES } from './support/objects.ts';

const CRD = new URL('../crds/portranges.yaml', import.meta.url);

describe('the real apiserver, as the simulated one', () => {
  let cluster: Cluster;
  let client: Client;
  beforeAll(async () => {
    cluster = await startCluster({ nodePortRange: '30000-30299' });
    client = createClient(cluster);
    const { code, stderr } = await cluster.kubectl(['apply', '-f', CRD.pathname]);
    if (code !== 0) throw new Error(stderr);
    await eventually(() => client.list(RANGES));
  });
  afterAll(async () => {
    await client?.close();
    await cluster?.stop();
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

  const beside: Beside = {
    async watch(path) {
      const gone = new AbortController();
      // Undefined: its end.
      const lines: (Line | undefined)[] = [];
      let heard = Promise.withResolvers<void>();
      const hear = (line: Line | undefined): void => {
        lines.push(line);
        heard.resolve();
      };
      const { ended } = await client.watch(path, hear, gone.signal);
      const over = ended.then(() => hear(undefined));
      over.catch(() => undefined);
      return {
        async next() {
          while (lines.length === 0) {
            heard = Promise.withResolvers();
            await Promise.race([heard.promise, over]);
          }
          return lines[0] === undefined ? undefined : lines.shift();
        },
        close: () => gone.abort(),
      };
    },
    // The apiserver's own cache remembers more than etcd, until it is restarted.
    async compact() {
      await compactEtcd(cluster);
      await cluster.restartApiserver();
    },
  };

  test.each(Object.entries({ ...CASES, ...WATCH_CASES, ...OBJECT_CASES }))('%s', (_, run) =>
    run(call, beside),
  );
});
