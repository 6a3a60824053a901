/**
 * Bytes to and from one apiserver: the only file that knows undici. A simulated apiserver plugs in here.
 *
 * HTTP/1.1 with keep-alive, as many connections as there are requests in flight (measured at twice the rate of
 * one HTTP/2 connection, and an abort closes the socket, whereas a black-holed HTTP/2 session outlives every
 * aborted call on it). Watches have a pool of their own, so that they never hold a request's connection.
 *
 *   a pool ──answers──► kept
 *      └──a timeout, and nothing at all was answered on it since that request began──► retired:
 *         new requests get a fresh pool, those in flight on the old one may finish
 *
 * Without that rule every idle connection to a vanished server (no FIN: a failed-over load balancer) would cost
 * one more request its whole timeout.
 */
import { type Dispatcher, Pool } from 'undici';
import type { Millis } from './clock.ts';
import type { Connection } from './connection.ts';

export interface WireRequest {
  method: string;
  /** With the query, relative to the server's root. */
  path: string;
  headers: Record<string, string>;
  body?: string;
  /** Until the status line and headers are in; 0: no bound. */
  headersTimeoutMs: Millis;
  /** Between two pieces of the body; 0: no bound. */
  bodyTimeoutMs: Millis;
  signal?: AbortSignal;
}

export interface WireResponse {
  status: number;
  /** Names in lower case; repeated headers joined with ', '. */
  headers: Record<string, string>;
  /** Must be read to its end or left by `break`: an unread body holds its connection. */
  body: AsyncIterable<Uint8Array> & { text(): Promise<string> };
}

export interface Wire {
  /** Rejects with a wireError, or with the signal's reason. Every HTTP status is an answer, not an error. */
  send(pool: 'requests' | 'watches', request: WireRequest): Promise<WireResponse>;
  /** Ends watches at once and waits for the requests in flight. Harmless twice. */
  close(): Promise<void>;
}

/**
 * Why there was no answer, or not a whole one.
 * unsent: no connection could be made (refused, unknown host, certificate not trusted), so nothing has happened;
 * reset: the connection broke; timeout: the server was silent for too long; closed: the wire is closed.
 */
export type WireFailure = 'unsent' | 'reset' | 'timeout' | 'closed';

export function wireError(
  failure: WireFailure,
  message: string,
  cause?: unknown,
): Error & { failure: WireFailure } {
  return Object.assign(new Error(message, { cause }), { failure });
}

/** What a send, or reading a body, failed with. Unknown errors count as a broken connection: the cautious reading. */
export function wireFailureOf(e: unknown): WireFailure {
  if (!(e instanceof Error)) return 'reset';
  if ('failure' in e) return e.failure as WireFailure;
  const code = 'code' in e ? String(e.code) : '';
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return 'timeout';
  if (code === 'UND_ERR_CLOSED' || code === 'UND_ERR_DESTROYED') return 'closed';
  if (UNSENT.test(code) || ('syscall' in e && e.syscall === 'connect')) return 'unsent';
  return 'reset';
}

const UNSENT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|UND_ERR_INVALID_ARG|DEPTH_ZERO_.*|SELF_SIGNED_.*|UNABLE_TO_.*|CERT_.*|ERR_TLS_.*)$/;

/** Below the 90 s after which kube-apiserver closes an idle connection, so that we are the first to let go of it. */
const KEEP_ALIVE_MS = 60_000;

export interface WireOptions {
  /** For requests, watches not counted; the rest wait their turn. Default 64, at least 1. */
  maxConnections?: number;
  /**
   * Asked in the moment in which a write would go into its socket, after all waiting for credentials, connections and
   * handshakes; false: it fails, and nothing was sent. Default: always.
   */
  mayWrite?: () => boolean;
}

export function createWire(connection: Connection, options: WireOptions = {}): Wire {
  const prefix = connection.server.pathname.replace(/\/$/, '');
  const pools = {
    requests: recyclable(() => openPool(connection, options.maxConnections ?? 64, options.mayWrite)),
    watches: recyclable(() => openPool(connection, null)),
  };
  return {
    send: (pool, request) => pools[pool].send({ ...request, path: prefix + request.path }),
    async close() {
      await Promise.all([pools.requests.close(), pools.watches.destroy()]);
    },
  };
}

function openPool({ server, tls }: Connection, connections: number | null, mayWrite = always): Pool {
  const pool = new Pool(server.origin, {
    connections,
    allowH2: false,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: { ...tls, timeout: 10_000, keepAlive: true, keepAliveInitialDelay: 30_000 },
  });
  return pool.compose(permittedBy(mayWrite)) as Pool;
}

const always = (): boolean => true;

/** undici calls onRequestStart right before it writes to the socket; what that throws fails the request. */
function permittedBy(mayWrite: () => boolean): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (request, handler) => {
    const start = handler.onRequestStart?.bind(handler);
    const onRequestStart: typeof start = (controller, context) => {
      if (request.method !== 'GET' && !mayWrite()) throw wireError('closed', 'not permitted to write');
      start?.(controller, context);
    };
    return dispatch(request, Object.assign(handler, { onRequestStart }));
  };
}

interface Recyclable {
  send(request: WireRequest): Promise<WireResponse>;
  close(): Promise<void>;
  destroy(): Promise<void>;
}

function recyclable(open: () => Pool): Recyclable {
  let pool = open();
  let answers = 0;
  /** The present one and those retired ones that still have requests in flight. */
  const pools = new Set([pool]);
  const retire = (silent: Pool): void => {
    if (silent !== pool || silent.closed) return;
    pools.add((pool = open()));
    void endAll([silent], (each) => each.close()).then(() => pools.delete(silent));
  };
  return {
    close: () => endAll(pools, (each) => each.close()),
    destroy: () => endAll(pools, (each) => each.destroy()),
    async send(request) {
      const [used, before] = [pool, answers];
      try {
        const response = await sendOn(used, request);
        answers += 1;
        return response;
      } catch (e) {
        if (answers === before && isTimeout(e, request.signal)) retire(used);
        throw e;
      }
    },
  };
}

/** Ending what has ended is an error in undici, and none here. */
async function endAll(pools: Iterable<Pool>, end: (pool: Pool) => Promise<void>): Promise<void> {
  await Promise.allSettled(Array.from(pools, (pool) => end(pool)));
}

function isTimeout(e: unknown, signal: AbortSignal | undefined): boolean {
  return (
    wireFailureOf(e) === 'timeout' ||
    (signal?.reason instanceof DOMException && signal.reason.name === 'TimeoutError')
  );
}

async function sendOn(pool: Pool, request: WireRequest): Promise<WireResponse> {
  const { statusCode, headers, body } = await pool.request({
    method: request.method,
    path: request.path,
    headers: request.headers,
    body: request.body ?? null,
    headersTimeout: request.headersTimeoutMs,
    bodyTimeout: request.bodyTimeoutMs,
    ...(request.signal === undefined ? {} : { signal: request.signal }),
  });
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return { status: statusCode, headers: flat, body };
}
