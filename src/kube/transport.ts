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
import { answerOf, failureOf } from './answers.ts';
import { type Millis, sleep } from './clock.ts';
import { KubeError, reasons } from './errors.ts';
import { headersFor, nameOf, pathOf, send, timedOut } from './exchange.ts';
import type { ApiRequest, Transport, TransportOptions } from './request.ts';
import { watchEvents } from './watch.ts';

export type * from './request.ts';

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
        if (abort.signal.aborted) throw failureOf(nameOf(request), abort.signal.reason, abort.signal, false);
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
  const body = request.body === undefined ? undefined : JSON.stringify(request.body);
  const response = await send(
    options,
    request.method,
    nameOf(request),
    () =>
      options.wire.send('requests', {
        method: request.method,
        path: pathOf(request.path, request.query),
        headers,
        ...(body === undefined ? {} : { body }),
        // Both bounded by the signal already; these only make sure that a wire without a clock gives up too.
        headersTimeoutMs: request.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        bodyTimeoutMs: request.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        signal,
      }),
    signal,
  );
  return (await answerOf(nameOf(request), response, request.accept, signal, headers['authorization'])) as T;
}
