/**
 * The bare limit of assigning: the two writes that every Service needs, 32 in flight, and nothing else. A process of
 * its own, as the controller is; started by the bench, which tells it what to write and when to begin.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';
import { eachOf } from './lib/stats.ts';

/** The order that the bench gives. */
export interface BareOrder {
  readonly url: string;
  readonly caFile: string;
  readonly token: string;
  readonly namespace: string;
  readonly names: readonly string[];
  readonly firstPort: number;
}

const IN_FLIGHT = 32;

async function main({ url, caFile, token, namespace, names, firstPort }: BareOrder): Promise<void> {
  const connect = { ca: readFileSync(caFile) };
  const dispatcher = new Agent({ connect, allowH2: false, connections: IN_FLIGHT, pipelining: 1 });
  const authorization = `Bearer ${token}`;

  async function patch(path: string, type: string, body: unknown): Promise<void> {
    const { statusCode, body: answer } = await request(url + path, {
      dispatcher,
      method: 'PATCH',
      headers: { authorization, accept: 'application/json', 'content-type': `application/${type}+json` },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (statusCode !== 200) throw new Error(`PATCH ${path}: ${statusCode} ${text}`);
  }

  const pathOf = (name: string): string => `/api/v1/namespaces/${namespace}/services/${name}`;
  const query = 'fieldManager=bench';
  const condition = (name: string, status: string, reason: string, message: string): Promise<void> =>
    patch(`${pathOf(name)}/status?${query}`, 'strategic-merge-patch', {
      status: {
        conditions: [
          {
            type: 'nodeport-manager.io/Allocated',
            status,
            reason,
            message,
            lastTransitionTime: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
          },
        ],
      },
    });

  await idleWatch(`${url}/api/v1/services?watch=true`, connect, authorization);
  // What the controller has shown before it is measured. It also warms this process up.
  await eachOf(names, IN_FLIGHT, (name) =>
    condition(name, 'False', 'RangeNotFound', 'PortRange "bench" does not exist'),
  );
  process.send?.('waiting');
  await once(process, 'message');
  await eachOf(names, IN_FLIGHT, async (name, i) => {
    const value = firstPort + i;
    const operation = { op: 'replace', path: '/spec/ports/0/nodePort', value };
    await patch(`${pathOf(name)}?${query}`, 'json-patch', [operation]);
    await condition(name, 'True', 'Assigned', `holds http ${value} from bench`);
  });
  // It lives until its CPU time has been read.
  await once(process, 'message');
  process.exit(0);
}

/** Nothing is done with what it brings. */
async function idleWatch(url: string, connect: { ca: Buffer }, authorization: string): Promise<void> {
  const dispatcher = new Agent({ connect, allowH2: false, bodyTimeout: 0 });
  const { body } = await request(url, { dispatcher, headers: { authorization, accept: 'application/json' } });
  body.on('data', () => {}).on('error', () => {});
}

function fail(error: unknown): never {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
}

process.once('message', (order: BareOrder) => {
  main(order).catch(fail);
});
