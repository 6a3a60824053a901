/**
 * One watch: a stream of events that ends well, or is thrown out of.
 *
 *   opening ──200──► streaming ──closed between two lines──► over
 *      │ └─401─► opening, once, with fresh credentials
 *      └──────────────────┴── other status, ERROR event, cut line, broken connection, silence, abort ──► KubeError
 */
import { linkedAbort } from './abort.ts';
import { answerOf, failureOf, type Status, statusError } from './answers.ts';
import type { Clock, Millis } from './clock.ts';
import { isKubeError, KubeError } from './errors.ts';
import { headersFor, pathOf, send, timedOut } from './exchange.ts';
import { linesOf } from './lines.ts';
import type { TransportOptions, WatchEvent, WatchRequest } from './request.ts';
import type { WireResponse } from './wire.ts';

export async function* watchEvents(
  options: TransportOptions,
  request: WatchRequest,
): AsyncGenerator<WatchEvent> {
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
  const refusal = await answerOf(name, response, undefined, signal, headers['authorization']).catch(
    (e: unknown) => e,
  );
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
    // Not quoted: whoever answers so is no apiserver, and may repeat the request with its credentials.
    throw new KubeError({ code: 'BadResponse', request: name, message: 'a line is not a watch event' });
  }
  return event as WatchEvent;
}
