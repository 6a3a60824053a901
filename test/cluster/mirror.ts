import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { archiveName } from '../../e2e/cluster/archive.ts';
import { run } from '../../e2e/cluster/run.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export interface Server {
  url: string;
  /** Paths asked for so far, in order. */
  asked: string[];
  close(): Promise<void>;
}

/** A loopback HTTP server that answers each path by its handler, and 404 without one. */
export async function serve(handlers: Record<string, Handler>): Promise<Server> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    const handler = handlers[path];
    if (handler === undefined) response.writeHead(404).end();
    else handler(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** An archive of envtest's form, packed by the system's tar, with tiny programs that say their name. */
export async function envtestArchive(dir: string, programs: readonly string[]): Promise<Buffer> {
  const folder = join(dir, 'controller-tools', 'envtest');
  await mkdir(folder, { recursive: true });
  for (const name of programs) await writeFile(join(folder, name), fakeProgram(name), { mode: 0o755 });
  const packed = join(dir, 'envtest.tar.gz');
  await run('tar', ['-czf', packed, '-C', dir, 'controller-tools']);
  return readFile(packed);
}

export function fakeProgram(name: string): string {
  return `#!/bin/sh\necho ${name}\n${'#'.repeat(name.length * 100)}\n`;
}

/** The index as controller-tools publishes it, with `archive` under `version`. */
export function indexOf(version: string, archive: Uint8Array, link: string, hash = sha512(archive)): string {
  const name = archiveName(version);
  return `releases:\n  ${version}:\n    ${name}:\n      hash: ${hash}\n      selfLink: ${link}\n`;
}

function sha512(content: Uint8Array): string {
  return createHash('sha512').update(content).digest('hex');
}

export function answer(body: string | Uint8Array): Handler {
  return (_request, response) => void response.end(body);
}
