/**
 * Requests and watches over a Wire: credentials, time bounds, coded errors, and the retries that are always right.
 *
 *   attempt ──2xx──► parsed
 *      ├──429, or 503 with Retry-After──► wait as told ──► attempt (the server did no work, so writes too)
 *      ├──401──► fresh credentials, once ──► attempt
 *      ├──connection lost before an answer, GET only──► attempt, once (a keep-alive connection the server had
 *      │                                                 closed meanwhile; a write may have been done, so never)
 *      └──anything else──► KubeError
 *
 * One bound, `timeoutMs`, covers all attempts and the waits between them. A wait that would not end within it is
 * not begun: the 429 is thrown at once, with its retryAfterMs.
 */
import { linkedAbort } from './abort.ts';
import { answerOf, failureOf, type Status, statusError } from './answers.ts';
import { type Clock, type Millis, sleep } from './clock.ts';
import type { Connection } from './connection.ts';
import { isKubeError, KubeError, reasons } from './errors.ts';
import { linesOf } from './lines.ts';
import type { Wire, WireResponse } from './wire.ts';

export type PatchType =
  | 'application/json-patch+json'
  | 'application/strategic-merge-patch+json'
  | 'application/merge-patch+json'
  | 'application/apply-patch+yaml';

export type Query = Record<string, string | number | boolean | undefined>;

export interface ApiRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Without the query, e.g. `/api/v1/namespaces/default/services/web`. */
  path: string;
  query?: Query;
  /** Sent as JSON. */
  body?: unknown;
  /** @default application/json, which no PATCH may have */
  contentType?: PatchType;
  /** With `text/…` the body is returned as a string. @default application/json */
  accept?: string;
  /** For the whole request, tries and waits included. @default 30_000 */
  timeoutMs?: Millis;
  signal?: AbortSignal;
}

export interface WatchRequest {
  path: string;
  /** `watch=true` is added. */
  query: Query;
  /** The stream is given up (Timeout) when no byte has arrived for so long, headers included. */
  inactivityMs: Millis;
  signal: AbortSignal;
  /** Called once, when the server has accepted the watch. */
  onOpen?: () => void;
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid: string;
    resourceVersion: string;
    creationTimestamp: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    managedFields?: unknown[];
    [k: string]: unknown;
  };
  [k: string]: unknown;
}

/** A BOOKMARK's object has a resourceVersion and little else. ERROR events are thrown as KubeErrors, never yielded. */
export type WatchEvent = {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: KubeObject;
};

export interface Transport {
  /** @throws KubeError */
  request<T>(request: ApiRequest): Promise<T>;
  /**
   * Ends when the server closes the stream between two events. An ERROR event, a refused watch, a broken or cut
   * stream and silence are thrown as KubeErrors (410 in either form: Gone); an abort of `signal`: Aborted.
   */
  watch(request: WatchRequest): AsyncIterable<WatchEvent>;
  close(): Promise<void>;
}

export interface TransportObserver {
  /**
   * Once for each HTTP answer or failed attempt, retried ones too; for a watch when it opens.
   * verb: the HTTP method, or WATCH; code: HTTP status, or `<error>`; host: host:port.
   */
  answered(info: { verb: string; method: string; code: string; seconds: number; host: string }): void;
}

export interface TransportOptions {
  wire: Wire;
  authorize: Connection['authorize'];
  /** host:port, for the observer. */
  host: string;
  userAgent: string;
  clock: Clock;
  random: () => number;
  observer?: TransportObserver;
}

const DEFAULT_TIMEOUT_MS: Millis = 30_000;
/** Bounds on following Retry-After: how long one wait may be, and how often. */
const LONGEST_WAIT_MS: Millis = 30_000;
const MOST_TRIES = 10;
/** For a 429 that does not say. */
const DEFAULT_WAIT_MS: Millis = 1_000;

export function createTransport(options: TransportOptions): Transport {
  return {
    request: (request) => requestWithRetries(options, request),
    watch: (request) => watchEvents(options, request),
    close: () => options.wire.close(),
  };
}

async function requestWithRetries<T>(options: TransportOptions, request: ApiRequest): Promise<T> {
  const { clock } = options;
  const deadline = clock.monotonic() + (request.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const abort = linkedAbort(request.signal);
  const cancel = clock.after(deadline - clock.monotonic(), () => abort.abort(timedOut()));
  const spent = { credentials: false, connection: false, tries: 0 };
  try {
    for (;;) {
      try {
        return await attempt<T>(options, request, abort.signal, spent.credentials);
      } catch (e) {
        const wait = waitBeforeRetry(e, request, spent, options.random);
        if (wait === undefined || abort.signal.aborted || clock.monotonic() + wait > deadline) throw e;
        if (wait > 0) await sleep(clock, wait, abort.signal);
        if (abort.signal.aborted) throw failureOf(nameOf(request), abort.signal.reason, abort.signal);
      }
    }
  } finally {
    cancel();
    abort.dispose();
  }
}

/** Milliseconds until the next try (0: at once), or undefined when this error is final. Counts what is spent. */
function waitBeforeRetry(
  e: unknown,
  request: ApiRequest,
  spent: { credentials: boolean; connection: boolean; tries: number },
  random: () => number,
): Millis | undefined {
  if (!(e instanceof KubeError)) return undefined;
  spent.tries += 1;
  if (spent.tries >= MOST_TRIES) return undefined;
  if (e.status === 401 && !spent.credentials) {
    spent.credentials = true;
    return 0;
  }
  if (request.method === 'GET' && e.reason === reasons.connectionLost && !spent.connection) {
    spent.connection = true;
    return 0;
  }
  const told = e.status === 429 || (e.status === 503 && e.retryAfterMs !== undefined);
  if (!told) return undefined;
  // Jitter only upwards: not before the time the server gave, and not all of us at once.
  return Math.min(e.retryAfterMs ?? DEFAULT_WAIT_MS, LONGEST_WAIT_MS) * (1 + 0.25 * random());
}

async function attempt<T>(
  options: TransportOptions,
  request: ApiRequest,
  signal: AbortSignal,
  fresh: boolean,
): Promise<T> {
  const headers = await headersFor(options, request, fresh, signal);
  const response = await send(
    options,
    request.method,
    nameOf(request),
    () =>
      options.wire.send('requests', {
        method: request.method,
        path: pathOf(request.path, request.query),
        headers,
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
        // Both bounded by the signal already; these only make sure that a wire without a clock gives up too.
        headersTimeoutMs: request.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        bodyTimeoutMs: request.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        signal,
      }),
    signal,
  );
  return (await answerOf(nameOf(request), response, request.accept, signal)) as T;
}

async function headersFor(
  options: TransportOptions,
  request: Pick<ApiRequest, 'method' | 'path' | 'accept' | 'body' | 'contentType'>,
  fresh: boolean,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  if (signal.aborted) throw failureOf(nameOf(request), signal.reason, signal);
  const credentials = await options.authorize({ fresh }).catch((cause: unknown) => {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new KubeError({
      code: 'Unauthorized',
      request: nameOf(request),
      reason: reasons.noCredentials,
      message,
      cause,
    });
  });
  return {
    ...credentials,
    accept: request.accept ?? 'application/json',
    'user-agent': options.userAgent,
    ...(request.body === undefined ? {} : { 'content-type': request.contentType ?? 'application/json' }),
  };
}

/** Sends, tells the observer, and codes what goes wrong before the headers. */
async function send(
  { clock, host, observer }: TransportOptions,
  verb: string,
  name: string,
  go: () => Promise<WireResponse>,
  signal: AbortSignal,
): Promise<WireResponse> {
  const began = clock.monotonic();
  const tell = (code: string): void => {
    const method = verb === 'WATCH' ? 'GET' : verb;
    observer?.answered({ verb, method, code, seconds: (clock.monotonic() - began) / 1000, host });
  };
  try {
    const response = await go();
    tell(String(response.status));
    return response;
  } catch (e) {
    tell('<error>');
    throw failureOf(name, e, signal);
  }
}

async function* watchEvents(options: TransportOptions, request: WatchRequest): AsyncGenerator<WatchEvent> {
  const name = `WATCH ${request.path}`;
  const watchdog = createWatchdog(options.clock, request.inactivityMs, request.signal);
  try {
    const response = await openWatch(options, request, name, watchdog.signal);
    request.onOpen?.();
    for await (const line of linesOf(response.body, () => watchdog.heard())) {
      yield eventOf(name, line);
    }
  } catch (e) {
    throw failureOf(name, e, watchdog.signal);
  } finally {
    watchdog.stop();
  }
}

async function openWatch(
  options: TransportOptions,
  request: WatchRequest,
  name: string,
  signal: AbortSignal,
  fresh = false,
): Promise<WireResponse> {
  const headers = await headersFor(options, { method: 'GET', path: request.path }, fresh, signal);
  const response = await send(
    options,
    'WATCH',
    name,
    () =>
      options.wire.send('watches', {
        method: 'GET',
        path: pathOf(request.path, { watch: true, ...request.query }),
        headers,
        headersTimeoutMs: request.inactivityMs,
        bodyTimeoutMs: 0,
        signal,
      }),
    signal,
  );
  if (response.status === 200) return response;
  const refusal = await answerOf(name, response, undefined, signal).catch((e: unknown) => e);
  if (isKubeError(refusal, 'Unauthorized') && !fresh) return openWatch(options, request, name, signal, true);
  if (refusal instanceof KubeError) throw refusal;
  throw new KubeError({
    code: 'BadResponse',
    request: name,
    status: response.status,
    message: 'not a watch',
  });
}

/** Aborts when nothing was heard for `inactivityMs`: a half-open connection looks exactly like a quiet server. */
function createWatchdog(
  clock: Clock,
  inactivityMs: Millis,
  parent: AbortSignal,
): { signal: AbortSignal; heard(): void; stop(): void } {
  const abort = linkedAbort(parent);
  let last = clock.monotonic();
  let cancel: () => void;
  const arm = (ms: Millis): void => {
    cancel = clock.after(ms, () => {
      const silent = clock.monotonic() - last;
      if (silent >= inactivityMs) abort.abort(timedOut());
      else arm(inactivityMs - silent);
    });
  };
  arm(inactivityMs);
  return {
    signal: abort.signal,
    heard: () => {
      last = clock.monotonic();
    },
    stop() {
      cancel();
      abort.abort(new DOMException('the watch is no longer read', 'AbortError'));
      abort.dispose();
    },
  };
}

const EVENT_TYPES = new Set<unknown>(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK']);

function eventOf(name: string, line: string): WatchEvent {
  let event: { type?: unknown; object?: { metadata?: unknown } | null };
  try {
    event = JSON.parse(line) as typeof event;
  } catch (cause) {
    throw new KubeError({ code: 'BadResponse', request: name, message: 'a line is no JSON', cause });
  }
  if (event?.type === 'ERROR') throw statusError(name, event.object as Status | null, undefined);
  if (
    !EVENT_TYPES.has(event?.type) ||
    typeof event.object?.metadata !== 'object' ||
    event.object.metadata === null
  ) {
    throw new KubeError({
      code: 'BadResponse',
      request: name,
      message: `not a watch event: ${line.slice(0, 200)}`,
    });
  }
  return event as WatchEvent;
}

function timedOut(): DOMException {
  return new DOMException('timed out', 'TimeoutError');
}

function nameOf({ method, path }: { method: string; path: string }): string {
  return `${method} ${path}`;
}

function pathOf(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === '' ? path : `${path}?${text}`;
}
