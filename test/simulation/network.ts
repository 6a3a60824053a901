/**
 * The network between one process and the simulated apiserver, plugged in under the transport. Every request takes a
 * while to arrive, takes effect at one moment, and its answer takes a while to come back; watches lag behind. All of
 * it on the virtual clock, by seeded chance, so that a seed is one history.
 *
 *   send ──latency──► [fault before] ──► takes effect ──► [fault after] ──latency──► answer
 *
 * A process that is killed hears nothing any more and nothing of it is heard, whatever was on its way.
 */
import type { Clock, Millis } from '../../src/kube/clock.ts';
import { type Wire, wireError, type WireRequest, type WireResponse } from '../../src/kube/wire.ts';
import { type Apiserver, type Change, selects, targetOf } from './apiserver.ts';
import type { JsonObject } from './patches.ts';
import { Refusal } from './refusal.ts';

/** What happens to one request. */
export type Fault =
  /** Before it takes effect. */
  | { at: 'before'; do: 'reset' }
  | { at: 'before'; do: 'hang' }
  | {
      at: 'before';
      do: 'answer';
      status: number;
      reason: string;
      message?: string;
      retryAfterSeconds?: number;
      /** What it objects to, as `details.causes` has it. */
      causes?: readonly JsonObject[];
    }
  /** It has taken effect, and nobody is told. */
  | { at: 'after'; do: 'reset' | 'hang' }
  /** The answer breaks off in the middle. */
  | { at: 'after'; do: 'cut' }
  | { at: 'before'; do: 'slow'; ms: Millis };

/** What happens to a watch that is being opened or is open. */
export type WatchFault =
  | { do: 'gone'; as: 'status' | 'event' }
  /** After so many ms. */
  | { do: 'reset' | 'silence' | 'cut line'; after: Millis }
  /** Everything comes so much later. */
  | { do: 'lag'; ms: Millis };

export interface Faults {
  /** Asked once for each request on its arrival. */
  onRequest?(request: WireRequest): Fault | undefined;
  /** Asked once for each watch. */
  onWatch?(request: WireRequest): WatchFault | undefined;
  /** Just before and just after a write takes effect, and when its answer is in. */
  onWrite?(moment: 'before' | 'after' | 'answered', request: WireRequest): void;
}

export interface NetworkOptions {
  readonly server: Apiserver;
  readonly clock: Clock;
  readonly random: () => number;
  readonly faults: Faults;
  /** Nobody listens: connections are refused. */
  readonly isDown: () => boolean;
}

const LATENCY = { least: 0.2, most: 4 };
const WATCH_LAG = { least: 0.1, most: 15 };
const BOOKMARK_EVERY: Millis = 60_000;

export interface Network extends Wire {
  /** All connections break, as when the apiserver is restarted. */
  reset(): void;
  /** The process is dead. */
  cut(): void;
}

export function createNetwork({ server, clock, random, faults, isDown }: NetworkOptions): Network {
  const breaks = new Set<() => void>();
  let isDead = false;
  const between = ({ least, most }: { least: number; most: number }): number =>
    least + random() * (most - least);

  /** Resolves later, unless the process is dead by then: then never. */
  const later = (ms: Millis): Promise<void> =>
    new Promise((resolve) => clock.after(ms, () => (isDead ? undefined : resolve())));

  async function exchange(request: WireRequest): Promise<WireResponse> {
    await later(between(LATENCY));
    const fault = faults.onRequest?.(request);
    if (fault?.at === 'before') {
      if (fault.do === 'reset') throw wireError('reset', 'connection reset');
      if (fault.do === 'hang') return new Promise(() => undefined);
      if (fault.do === 'answer') return refusalOf(fault);
      if (fault.do === 'slow') await later(fault.ms);
    }
    const isWrite = request.method !== 'GET';
    if (isWrite) faults.onWrite?.('before', request);
    if (isDead) return new Promise(() => undefined);
    const { status, body } = server.handle({
      ...request,
      contentType: request.headers['content-type'] ?? '',
    });
    const text = JSON.stringify(body);
    if (isWrite) faults.onWrite?.('after', request);
    if (fault?.at === 'after' && fault.do === 'hang') return new Promise(() => undefined);
    await later(between(LATENCY));
    if (fault?.at === 'after' && fault.do === 'reset') throw wireError('reset', 'connection reset');
    // What it does with the answer, it does before the next thing happens.
    if (isWrite) clock.after(0, () => faults.onWrite?.('answered', request));
    return answer(status, fault?.at === 'after' ? text.slice(0, text.length / 2) : text);
  }

  function watch(request: WireRequest): WireResponse {
    const { resource, namespace, query } = targetOf(request.path);
    const fault = faults.onWatch?.(request);
    const since = Number(query.get('resourceVersion'));
    if (since < server.compacted || (fault?.do === 'gone' && fault.as === 'status')) {
      return answer(410, JSON.stringify(new Refusal(410, 'Expired', `too old resource version: ${since}`)));
    }
    const stream = createStream();
    let due = 0;
    const push = (line: string): void => {
      // One after the other, however late each is.
      due = Math.max(due, clock.monotonic() + between(WATCH_LAG) + (fault?.do === 'lag' ? fault.ms : 0));
      clock.after(due - clock.monotonic(), () => stream.push(line));
    };
    const tell = (change: Change): void => {
      if (change.resource !== resource) return;
      const [was, is] = [change.before, change.object].map(
        (o) => o !== undefined && selects(query, namespace, o),
      );
      if (!was && !is) return;
      const type = !was ? 'ADDED' : is ? 'MODIFIED' : 'DELETED';
      const object = is
        ? change.object
        : {
            ...change.before,
            metadata: { ...change.before?.metadata, resourceVersion: `${change.revision}` },
          };
      push(`${JSON.stringify({ type, object })}\n`);
    };
    // From the future: silent until the server is there, as the real one.
    for (const change of server.history) if (change.revision > since) tell(change);
    const unsubscribe = server.subscribe((change) => (change.revision > since ? tell(change) : undefined));
    const bookmark = (): void => {
      push(
        `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: `${server.revision}` } } })}\n`,
      );
      cancelBookmark = clock.after(BOOKMARK_EVERY, bookmark);
    };
    let cancelBookmark = clock.after(BOOKMARK_EVERY * random(), bookmark);
    const end = (error?: Error): void => {
      unsubscribe();
      cancelBookmark();
      breaks.delete(broken);
      stream.end(error);
    };
    const broken = (): void => end(wireError('reset', 'connection reset'));
    breaks.add(broken);
    clock.after(Number(query.get('timeoutSeconds') ?? 300) * 1_000, () => end());
    request.signal?.addEventListener('abort', () => end(request.signal?.reason as Error), { once: true });
    applyWatchFault(fault, { push, end, broken, quiet: unsubscribe, stream });
    return { status: 200, headers: {}, body: stream.body };
  }

  function applyWatchFault(
    fault: WatchFault | undefined,
    on: { push(line: string): void; end(): void; broken(): void; quiet(): void; stream: Stream },
  ): void {
    if (fault?.do === 'gone') {
      on.push(
        `${JSON.stringify({ type: 'ERROR', object: new Refusal(410, 'Expired', 'too old resource version') })}\n`,
      );
    } else if (fault?.do === 'reset') clock.after(fault.after, on.broken);
    else if (fault?.do === 'cut line') {
      clock.after(fault.after, () => {
        on.stream.push('{"type":"MODIFIED","obj');
        on.end();
      });
    } else if (fault?.do === 'silence') {
      const fallSilent = (): void => {
        on.quiet();
        on.stream.mute();
      };
      // At once: not even what happened before it was opened is heard.
      if (fault.after === 0) fallSilent();
      else clock.after(fault.after, fallSilent);
    }
  }

  return {
    send(pool, request) {
      return new Promise((resolve, reject) => {
        if (isDead) return;
        if (isDown())
          return void later(between(LATENCY)).then(() => reject(wireError('unsent', 'connection refused')));
        const broken = (): void => reject(wireError('reset', 'connection reset'));
        breaks.add(broken);
        request.signal?.addEventListener('abort', () => reject(request.signal?.reason as Error), {
          once: true,
        });
        const answered =
          pool === 'watches' ? later(between(LATENCY)).then(() => watch(request)) : exchange(request);
        answered.then(resolve, reject).finally(() => breaks.delete(broken));
      });
    },
    close: () => Promise.resolve(),
    reset: () => breaks.forEach((broken) => broken()),
    cut() {
      isDead = true;
      breaks.clear();
    },
  };
}

function refusalOf(fault: Extract<Fault, { do: 'answer' }>): WireResponse {
  const { status, reason, message = `a fault: ${reason}`, retryAfterSeconds, causes } = fault;
  const refusal = JSON.stringify(new Refusal(status, reason, message, causes));
  return answer(
    status,
    refusal,
    retryAfterSeconds === undefined ? {} : { 'retry-after': `${retryAfterSeconds}` },
  );
}

function answer(status: number, text: string, headers: Record<string, string> = {}): WireResponse {
  const bytes = new TextEncoder().encode(text);
  const body = {
    text: () => Promise.resolve(text),
    async *[Symbol.asyncIterator]() {
      yield bytes;
    },
  };
  return { status, headers, body };
}

interface Stream {
  readonly body: WireResponse['body'];
  push(line: string): void;
  /** Nothing comes any more, and nothing says so. */
  mute(): void;
  end(error?: Error): void;
}

function createStream(): Stream {
  const lines: Uint8Array[] = [];
  const encoder = new TextEncoder();
  let ended: { error: Error | undefined } | undefined;
  let isMute = false;
  let wake: () => void = () => undefined;
  return {
    push(line) {
      if (isMute || ended !== undefined) return;
      lines.push(encoder.encode(line));
      wake();
    },
    mute() {
      isMute = true;
    },
    end(error) {
      ended ??= { error };
      wake();
    },
    body: {
      text: () => Promise.reject(new Error('a watch is not read as a whole')),
      async *[Symbol.asyncIterator]() {
        for (;;) {
          const line = lines.shift();
          if (line !== undefined) yield line;
          else if (ended === undefined) await new Promise<void>((resolve) => (wake = resolve));
          else if (ended.error === undefined) return;
          else throw ended.error;
        }
      },
    },
  };
}
