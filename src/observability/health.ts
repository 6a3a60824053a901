import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Certificate } from './certificate.ts';

/** What one path answers; undefined: 404. `authorization`: the header of that name. */
export type Handler = (
  path: string,
  authorization: string | undefined,
) => Promise<Answer | undefined> | Answer | undefined;

export interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * A small HTTP server for probes and scrapes.
 * @param address `:8080`, `127.0.0.1:8080` or `[::1]:8080`; port 0 takes a free one
 * @param certificate asked for each connection; absent: without TLS
 * @throws Error that names the address, when it cannot be listened on
 */
export async function serve(
  address: string,
  handler: Handler,
  certificate?: () => Certificate,
): Promise<{ port: number; close: () => Promise<void> }> {
  const { host, port } = parseAddress(address);
  const listener = answering(handler);
  const server = certificate === undefined ? createServer(listener) : secureServer(listener, certificate);
  await listen(server, host, port, address);
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answering(handler: Handler): RequestListener {
  return ({ url = '/', method, headers }, response) => {
    const path = url.split('?')[0] ?? '/';
    const isRead = method === 'GET' || method === 'HEAD';
    // Async, so that also what a handler throws at once is an answer, and not the end of the process.
    const answer = async (): Promise<Answer | undefined> =>
      isRead ? handler(path, headers.authorization) : undefined;
    answer().then(
      ({ status, type = TEXT, headers, body } = { status: 404, body: 'not found\n' }) => {
        response.writeHead(status, { 'content-type': type, ...headers });
        response.end(method === 'HEAD' ? undefined : body);
      },
      (error: unknown) => {
        response.writeHead(500, { 'content-type': TEXT });
        response.end(`${String(error)}\n`);
      },
    );
  };
}

const TEXT = 'text/plain; charset=utf-8';

function secureServer(listener: RequestListener, certificate: () => Certificate): Server {
  let used = certificate();
  const server = createTlsServer({ ...used, minVersion: 'TLSv1.2' }, listener);
  // Before Node's own listener, which begins the handshake: this connection gets what is there now.
  server.prependListener('connection', () => {
    const now = certificate();
    if (now === used) return;
    used = now;
    server.setSecureContext({ ...used, minVersion: 'TLSv1.2' });
  });
  return server;
}

/** Liveness (`/healthz`: the process turns) and readiness (`/readyz`: it may be relied on; else 503 with the reason). */
export function probes(notReady: () => string | undefined): Handler {
  return (path) => {
    if (path === '/healthz') return { status: 200, body: 'ok\n' };
    if (path !== '/readyz') return undefined;
    const reason = notReady();
    return reason === undefined
      ? { status: 200, body: 'ok\n' }
      : { status: 503, body: `not ready: ${reason}\n` };
  };
}

/** @throws Error that quotes the address */
export function parseAddress(address: string): { host: string | undefined; port: number } {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:[\]]*):(\d{1,5})$/.exec(address);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535)
    throw new Error(`"${address}" is not an address: write ":8080" or "127.0.0.1:8080"`);
  const host = (match[1] ?? '').replace(/^\[|\]$/g, '');
  return { host: host === '' ? undefined : host, port };
}

function listen(server: Server, host: string | undefined, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`cannot listen on ${address}: ${error.message}`)));
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => resolve());
  });
}
