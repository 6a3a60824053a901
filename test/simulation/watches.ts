/**
 * What a watch tells: every change after its position, late, in its order, and then bookmarks, until it ends.
 *
 *   change ──[dropped]──► [held with others of its object] ──lag──► line ──► the process
 */
import type { Clock, Millis } from '../../src/kube/clock.ts';
import { wireError, type WireRequest, type WireResponse } from '../../src/kube/wire.ts';
import { type Apiserver, type Change, selects, targetOf } from './apiserver.ts';
import type { WatchFault } from './faults.ts';
import { Refusal } from './refusal.ts';
import { createStream, type Stream } from './stream.ts';
import { textOf } from './texts.ts';

const LAG = { least: 0.1, most: 15 };
const BOOKMARK_EVERY: Millis = 60_000;
/** One comes so long before the watch's own end, too. */
const BOOKMARK_BEFORE_END: Millis = 2_000;

export interface WatchParts {
  readonly server: Apiserver;
  /** The world's. */
  readonly clock: Clock;
  readonly random: () => number;
  /** Hands on to the process. */
  readonly deliver: (run: () => void) => void;
  /** Nothing gets through to the process. */
  readonly isCutOff: () => boolean;
  /** What is to be called when all connections break. */
  readonly breaks: Set<() => void>;
  /** What is to be called when there is nobody any more to tell. */
  readonly watching: Set<() => void>;
}

/** One that the server has accepted. */
export function openWatch(
  parts: WatchParts,
  request: WireRequest,
  fault: WatchFault | undefined,
): WireResponse {
  const { clock, random, deliver, breaks, watching } = parts;
  const { query } = targetOf(request.path);
  const stream = createStream();
  let due = 0;
  const push = (line: string, lag = between(random, LAG)): void => {
    // One after the other, however late each is.
    due = Math.max(due, clock.monotonic() + lag + (fault?.do === 'lag' ? fault.ms : 0));
    clock.after(due - clock.monotonic(), () => {
      if (parts.isCutOff()) stream.mute();
      else deliver(() => stream.push(line));
    });
  };
  const unfollow = follow(parts, request, fault, push);
  const quiet = (): void => {
    watching.delete(quiet);
    unfollow();
  };
  watching.add(quiet);
  const end = (error?: Error): void => {
    quiet();
    breaks.delete(broken);
    stream.end(error);
  };
  const broken = (): void => deliver(() => end(wireError('reset', 'connection reset')));
  breaks.add(broken);
  clock.after(lifetimeOf(query), () => (parts.isCutOff() ? stream.mute() : deliver(() => end())));
  request.signal?.addEventListener('abort', () => end(request.signal?.reason as Error), { once: true });
  applyFault(parts, fault, { push, end, broken, quiet, stream });
  return { status: 200, headers: {}, body: stream.body };
}

/** Tells what has happened since the request's position, and what happens from now on; the result ends it. */
function follow(
  { server, clock, random }: WatchParts,
  request: WireRequest,
  fault: WatchFault | undefined,
  push: (line: string, lag?: Millis) => void,
): () => void {
  const { resource, namespace, query } = targetOf(request.path);
  // From the future: silent until the server is there, as the real one.
  const since = Number(query.get('resourceVersion'));
  const outcomes = new Map<string, Outcome>();
  let cancelFlush: (() => void) | undefined;
  const flush = (): void => {
    cancelFlush?.();
    cancelFlush = undefined;
    for (const outcome of outcomes.values()) {
      const line = lineOf(outcome);
      if (line !== undefined) push(line);
    }
    outcomes.clear();
  };
  const tell = (change: Change): void => {
    if (change.revision <= since || change.resource !== resource) return;
    const [was, is] = [change.before, change.object].map(
      (object) => object !== undefined && selects(query, namespace, object),
    ) as [boolean, boolean];
    if (!was && !is) return;
    if (fault?.do === 'drop' && random() < fault.odds) return;
    const first = outcomes.get(change.key);
    // Told in the order of their last revisions.
    outcomes.delete(change.key);
    outcomes.set(change.key, { was: first?.was ?? was, is, change });
    if (fault?.do !== 'coalesce') flush();
    else cancelFlush ??= clock.after(fault.within, flush);
  };
  for (const change of server.history) tell(change);
  const unsubscribe = server.subscribe(tell);
  const bookmark = (lag?: Millis): void => {
    flush();
    // Never behind the position. The real one is never quite as quiet as this: some revision is always new.
    if (server.revision < since) return;
    push(`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"${server.revision}"}}}\n`, lag);
  };
  const cancelBookmarks =
    fault?.do === 'no bookmarks' ? () => undefined : bookmarks(clock, random, query, bookmark);
  return () => {
    unsubscribe();
    cancelFlush?.();
    cancelBookmarks();
  };
}

/** Every minute, the first of them earlier, and before the end. Only to who asks for them. */
function bookmarks(
  clock: Clock,
  random: () => number,
  query: URLSearchParams,
  tell: (lag?: Millis) => void,
): () => void {
  if (query.get('allowWatchBookmarks') !== 'true') return () => undefined;
  const again = (): void => {
    tell();
    cancel = clock.after(BOOKMARK_EVERY, again);
  };
  let cancel = clock.after(BOOKMARK_EVERY * random(), again);
  const cancelLast = clock.after(lifetimeOf(query) - BOOKMARK_BEFORE_END, () => tell(LAG.most));
  return () => {
    cancel();
    cancelLast();
  };
}

function lifetimeOf(query: URLSearchParams): Millis {
  return Number(query.get('timeoutSeconds') ?? 300) * 1_000;
}

/** Of one object: whether it was shown before, and whether it is now. */
interface Outcome {
  readonly was: boolean;
  readonly is: boolean;
  readonly change: Change;
}

function lineOf({ was, is, change }: Outcome): string | undefined {
  if (!was && !is) return undefined;
  const type = !was ? 'ADDED' : is ? 'MODIFIED' : 'DELETED';
  return `{"type":"${type}","object":${textOf((is ? change.object : change.last) ?? {})}}\n`;
}

function applyFault(
  { clock, deliver }: WatchParts,
  fault: WatchFault | undefined,
  on: { push(line: string): void; end(): void; broken(): void; quiet(): void; stream: Stream },
): void {
  if (fault?.do === 'gone') {
    on.push(goneLine());
  } else if (fault?.do === 'reset') clock.after(fault.after, on.broken);
  else if (fault?.do === 'cut line') {
    clock.after(fault.after, () =>
      deliver(() => {
        on.stream.push('{"type":"MODIFIED","obj');
        on.end();
      }),
    );
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

/** The position is no longer served. */
export function goneLine(): string {
  return `${JSON.stringify({ type: 'ERROR', object: new Refusal(410, 'Expired', 'too old resource version') })}\n`;
}

export function between(random: () => number, { least, most }: { least: number; most: number }): Millis {
  return least + random() * (most - least);
}
