import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/** One request as it arrived. */
export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: NodeJS.Dict<string | string[]>;
  body: string;
  /** Which connection brought it: 1, 2, … in the order of their opening. */
  connection: number;
}

/** What to do about a request. The response may be left open, cut or never begun. */
export type Answer = (response: ServerResponse, request: Seen) => void;

export interface ScriptedServer {
  readonly url: URL;
  /** Everything that arrived, in order. */
  readonly requests: readonly Seen[];
  /** Those of one kind: `GET /path`, or `WATCH /path` for a GET with watch=true. */
  seen(what: string): Seen[];
  /** The answers to requests of one kind (`*`: of every other), in turn; the last one goes on. Replaces what was said before. */
  on(what: string, ...answers: [Answer, ...Answer[]]): void;
  /** Connections ever opened, and open now. */
  readonly connections: { opened: number; open: number };
  close(): Promise<void>;
  /** Listens again where it listened before it was closed. */
  reopen(): Promise<void>;
}

/** A real HTTP server on loopback that does what it is told, which a real apiserver would not. */
export async function scriptedServer(tls?: { key: string; cert: string }): Promise<ScriptedServer> {
  const requests: Seen[] = [];
  const scripts = new Map<string, Answer[]>();
  const sockets = new Map<Socket, number>();
  const connections = { opened: 0, open: 0 };
  const server = tls === undefined ? createServer() : createTlsServer(tls);

  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    sockets.set(socket, (connections.opened += 1));
    connections.open += 1;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      connections.open -= 1;
      sockets.delete(socket);
    });
  });
  server.on('request', (request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://server');
      const { method = '', headers } = request;
      const connection = sockets.get(request.socket) ?? 0;
      const seen: Seen = { method, path: pathname, query: searchParams, headers, body, connection };
      requests.push(seen);
      const answers = scripts.get(kindOf(seen)) ?? scripts.get('*') ?? [];
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      if (answer === undefined)
        status(500, { message: `nothing is scripted for ${kindOf(seen)}` })(response, seen);
      else answer(response, seen);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`),
    requests,
    seen: (what) => requests.filter((request) => kindOf(request) === what),
    on: (what, ...answers) => void scripts.set(what, answers),
    connections,
    async close() {
      for (const socket of sockets.keys()) socket.destroy();
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
    async reopen() {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
  };
}

function kindOf({ method, path, query }: Seen): string {
  return `${query.get('watch') === 'true' ? 'WATCH' : method} ${path}`;
}

/** A JSON body. */
export function json(body: unknown, code = 200, headers: Record<string, string> = {}): Answer {
  return text(JSON.stringify(body), code, { 'content-type': 'application/json', ...headers });
}

export function text(body: string, code = 200, headers: Record<string, string> = {}): Answer {
  return (response) => void response.writeHead(code, headers).end(body);
}

/** A metav1.Status. */
export function status(code: number, body: object = {}, headers: Record<string, string> = {}): Answer {
  return json({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, ...body }, code, headers);
}

/** The connection breaks before any answer. */
export const reset: Answer = (response) => void response.socket?.resetAndDestroy();

/** The server takes the request and is never heard of again. */
export const silence: Answer = () => undefined;

/** Headers and these pieces, each flushed; then what `then` does (by default the stream stays open). */
export function stream(pieces: readonly (string | Uint8Array)[], then: Answer = () => undefined): Answer {
  return (response, request) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const next = (index: number): void => {
      const piece = pieces[index];
      if (piece === undefined) return then(response, request);
      // One piece a turn of the loop, or the kernel would join them.
      response.write(piece, () => setImmediate(() => next(index + 1)));
    };
    next(0);
  };
}

/** The stream ends as HTTP wants it to. */
export const end: Answer = (response) => void response.end();

/** One line of a watch. */
export function event(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}
