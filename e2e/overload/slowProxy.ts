import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent, request as forward } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';

/** Stands between one controller and the apiserver, and holds back its writes to Services. */
export interface SlowProxy {
  /** Of the controller, through the proxy. */
  readonly kubeconfig: string;
  /** How long each write to a Service is held back from now on, ms. */
  hold(ms: number): void;
  /** Writes that are held back now. */
  held(): number;
  /** When the last write to a Service was answered, as performance.now() tells time, and each answer's status. */
  readonly answers: readonly { at: number; status: number }[];
  close(): Promise<void>;
}

/** What is held back goes on its way in time, whether or not its sender lives: as packets do. */
export async function startSlowProxy(cluster: Cluster): Promise<SlowProxy> {
  const agent = new Agent({ keepAlive: true, ca: readFileSync(cluster.caFile) });
  const answers: { at: number; status: number }[] = [];
  let [holdMs, held] = [0, 0];

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const isWrite = request.method === 'PATCH' && /\/services\//.test(request.url ?? '');
    const body = await bodyOf(request);
    if (isWrite) {
      held += 1;
      await new Promise((resolve) => setTimeout(resolve, holdMs));
      held -= 1;
    }
    const { method, headers } = request;
    const onward = forward(`${cluster.url}${request.url}`, { agent, method, headers }, (answer) => {
      if (isWrite) answers.push({ at: performance.now(), status: answer.statusCode ?? 0 });
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      response.on('close', () => answer.destroy());
    });
    onward.on('error', () => response.destroy());
    onward.end(body);
  }

  const server = createServer((request, response) => void pass(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const kubeconfig = join(cluster.dir, 'slow.kubeconfig');
  const text = readFileSync(cluster.kubeconfig('controller'), 'utf8').replace(cluster.url, url);
  await writeFile(kubeconfig, text, { mode: 0o600 });
  return {
    kubeconfig,
    hold: (ms) => void (holdMs = ms),
    held: () => held,
    answers,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      agent.destroy();
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
