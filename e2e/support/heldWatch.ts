import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import type { Cluster } from '../cluster/cluster.ts';
import { freePort } from '../cluster/ports.ts';

/**
 * A way to the apiserver on which the watch of Services can be held up, and nothing else: whoever uses it decides
 * from what was so a moment ago.
 */
export interface HeldWatch {
  /** The controller's kubeconfig that goes this way. */
  readonly kubeconfig: string;
  /** From now on no event of a Service passes. */
  hold(): void;
  /** Lets pass what was held up, and all that follows. */
  release(): void;
  /** Every write that came this way so far: method and path. */
  readonly writes: readonly string[];
  close(): Promise<void>;
}

export async function startHeldWatch(cluster: Cluster): Promise<HeldWatch> {
  const agent = new Agent({
    connect: { ca: readFileSync(cluster.caFile) },
    allowH2: false,
    bodyTimeout: 0,
    headersTimeout: 0,
  });
  const writes: string[] = [];
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  const answer = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const url = incoming.url ?? '/';
    if (incoming.method !== 'GET') writes.push(`${incoming.method} ${url.split('?')[0]}`);
    const isHeld = url.startsWith('/api/v1/services?') && url.includes('watch=true');
    const gone = new AbortController();
    outgoing.on('close', () => gone.abort());
    const { host: _, connection: __, 'transfer-encoding': ___, ...headers } = incoming.headers;
    const {
      statusCode,
      headers: answers,
      body,
    } = await request(cluster.url + url, {
      dispatcher: agent,
      method: incoming.method as 'GET',
      headers,
      body: incoming.method === 'GET' ? null : incoming,
      signal: gone.signal,
    });
    outgoing.statusCode = statusCode;
    for (const [name, value] of Object.entries<string | string[] | undefined>(answers)) {
      if (value !== undefined && name !== 'transfer-encoding' && name !== 'connection')
        outgoing.setHeader(name, value);
    }
    outgoing.flushHeaders();
    for await (const chunk of body) {
      if (isHeld) await gate.promise;
      outgoing.write(chunk);
    }
    outgoing.end();
  };
  const server = createServer((incoming, outgoing) => {
    answer(incoming, outgoing).catch(() => outgoing.destroy());
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const kubeconfig = join(cluster.dir, 'held-watch.kubeconfig');
  const direct = readFileSync(cluster.kubeconfig('controller'), 'utf8');
  await writeFile(kubeconfig, direct.replaceAll(cluster.url, `http://127.0.0.1:${port}`));
  return {
    kubeconfig,
    hold() {
      gate = Promise.withResolvers();
    },
    release: () => gate.resolve(),
    writes,
    async close() {
      gate.resolve();
      server.closeAllConnections();
      server.close();
      await agent.destroy();
    },
  };
}
