/**
 * Keeps a store equal to one list of the apiserver.
 *
 *   run ─► listing ──complete──► watching ──closed after a while──► watching, from where it was
 *           ▲   │                 │  │  └──silent──► confirming
 *           │   └─error─► backing off◄──error, or closed at once
 *           │                   │  │
 *           ├──nothing listed──┘  └──► confirming: is the server's list as new as what was seen?
 *           │   yet, or 410              │   └──yes──► watching, from where it was
 *           └───no: a restored etcd──────┘
 *
 * - 410, as a status or as an ERROR event, means that the position is no longer served: list again.
 * - A list is complete or it changes nothing: the store is replaced after the last page, so that no object of a
 *   later page is ever taken for deleted.
 * - Lists are consistent reads (no resourceVersion). One that is older than what was seen is accepted and told.
 * - Pages are projected as they come and dropped: the raw objects of a large cluster are never held together.
 * - After the server was down (connections refused) everything is listed: it may have come back with a restored etcd
 *   that has gone past the position since.
 * - `listAgain` ends whatever is under way, a pause too, and begins with a list.
 * - A watch that ends costs no list: bookmarks keep the position fresh. One that ends within WATCH_WORTH_MS counts
 *   as a failure, so a server that accepts and closes cannot cause a storm.
 * - After an abort nothing is opened and the store is not touched.
 */
import { linkedAbort } from './abort.ts';
import { type Backoff, createBackoff } from './backoff.ts';
import { type Clock, type Millis, sleep } from './clock.ts';
import { isKubeError, reasons } from './errors.ts';
import { isolated } from './isolated.ts';
import { currentResourceVersion, listAll, type ListOptions } from './list.ts';
import { compareResourceVersions, keyOf, type Stored, type WritableStore } from './store.ts';
import type { KubeObject, Transport, WatchEvent } from './request.ts';

export interface ReflectorObserver {
  /** A list is complete and in the store. */
  listed(info: { name: string; items: number; seconds: number }): void;
  /** A watch was accepted by the server. */
  watched(name: string): void;
  /** Also for an object that could not be projected: then nothing is interrupted and retryInMs is 0. */
  failed(info: { name: string; during: 'list' | 'watch'; error: unknown; retryInMs: Millis }): void;
}

export interface ReflectorOptions<T extends Stored> {
  /** For the observer. */
  name: string;
  path: string;
  /** Selectors; given to lists and watches alike. */
  query?: Record<string, string>;
  transport: Transport;
  store: WritableStore<T>;
  /**
   * What is kept of an object. undefined: it is not stored, and removed if it was. The key must be keyOf(raw).
   * When this throws, the object is reported and skipped; what was stored of it stays.
   */
  project: (raw: KubeObject) => T | undefined;
  clock: Clock;
  random: () => number;
  /** Objects a page. @default 500 */
  pageSize?: number;
  observer?: ReflectorObserver;
  /** A list, or an object in it, was older than what was seen: a restored etcd. Called before the store takes it over. */
  onRollback?: () => void;
}

export interface Reflector {
  /** Returns only after the abort, and never throws. Once. */
  run(signal: AbortSignal): Promise<void>;
  /** Leaves what it does and lists; resolves when that list is in the store. */
  listAgain(): Promise<void>;
  /** Resolves after the first complete list. */
  readonly synced: Promise<void>;
  hasSynced(): boolean;
  /** Something failed, and neither a list nor a look at the position has succeeded since: the store may be old. */
  isDoubtful(): boolean;
  /** Nobody was there when something was asked, and nothing was listed since: the server may be another, or put back. */
  wasAway(): boolean;
  /** Milliseconds since the server last said anything about this kind: a page, an event, a bookmark, an accepted watch. */
  silentFor(): Millis;
  /** The newest seen; '' before the first list. */
  resourceVersion(): string;
}

/** kube-apiserver sends a bookmark about once a minute: more than that without a byte, and the stream is suspect. */
const INACTIVITY_MS: Millis = 90_000;
/** A watch must live so long to be opened again without a pause. */
const WATCH_WORTH_MS: Millis = 10_000;

interface State {
  /** Where the next watch begins; undefined: list first. */
  position: string | undefined;
  newest: string;
  heardAt: Millis;
  synced: boolean;
  /** Something failed since the position was last known to be good. */
  doubtful: boolean;
  /** A connection was refused since the last list. */
  away: boolean;
  /** The server was seen at an older revision; not told yet. */
  wentBack: boolean;
  /** Who waits for a list that was begun after they asked. */
  asked: PromiseWithResolvers<void> | undefined;
  /** Ends the present turn. */
  interrupt: () => void;
}

export function createReflector<T extends Stored>(options: ReflectorOptions<T>): Reflector {
  const { clock } = options;
  const state: State = {
    position: undefined,
    newest: '',
    heardAt: clock.monotonic(),
    synced: false,
    doubtful: false,
    away: false,
    wentBack: false,
    asked: undefined,
    interrupt: () => undefined,
  };
  const synced = Promise.withResolvers<void>();
  return {
    run: (signal) => run(options, state, signal, synced.resolve),
    listAgain() {
      state.asked ??= Promise.withResolvers();
      state.interrupt();
      return state.asked.promise;
    },
    synced: synced.promise,
    hasSynced: () => state.synced,
    isDoubtful: () => state.doubtful,
    wasAway: () => state.away,
    silentFor: () => clock.monotonic() - state.heardAt,
    resourceVersion: () => state.newest,
  };
}

async function run<T extends Stored>(
  options: ReflectorOptions<T>,
  state: State,
  signal: AbortSignal,
  synced: () => void,
): Promise<void> {
  const backoff = createBackoff(options.clock, options.random);
  // It may have been made long before.
  state.heardAt = options.clock.monotonic();
  while (!signal.aborted) {
    const turn: Turn = { during: 'list', openedAt: undefined };
    const own = linkedAbort(signal);
    state.interrupt = () => own.abort(new DOMException('asked to list again', 'AbortError'));
    let error: unknown;
    try {
      await listThenWatch(options, state, turn, own.signal, synced);
    } catch (e) {
      error = e;
    }
    if (!own.signal.aborted) {
      const retryInMs = judge(options, state, turn, error, backoff);
      if (retryInMs > 0) await sleep(options.clock, retryInMs, own.signal);
    }
    own.dispose();
  }
}

/** One pass of the loop: how far it came. */
interface Turn {
  during: 'list' | 'watch';
  /** When the server accepted the watch. */
  openedAt: Millis | undefined;
}

async function listThenWatch<T extends Stored>(
  options: ReflectorOptions<T>,
  state: State,
  turn: Turn,
  signal: AbortSignal,
  synced: () => void,
): Promise<void> {
  const { asked } = state;
  if (asked !== undefined) state.position = undefined;
  if (state.position !== undefined && state.doubtful) await confirmPosition(options, state, signal);
  if (state.position === undefined) await list(options, state, signal);
  if (signal.aborted) return;
  if (asked !== undefined && state.asked === asked) state.asked = undefined;
  asked?.resolve();
  state.doubtful = false;
  state.away = false;
  if (!state.synced) {
    state.synced = true;
    synced();
  }
  turn.during = 'watch';
  await watch(options, state, turn, signal);
}

/** After a turn: reports what went wrong and says how many ms to wait. Decides what the next turn must not rely on. */
function judge<T extends Stored>(
  { clock, name, observer }: ReflectorOptions<T>,
  state: State,
  { during, openedAt }: Turn,
  error: unknown,
  backoff: Backoff,
): Millis {
  const lived = openedAt === undefined ? 0 : clock.monotonic() - openedAt;
  const worthIt = lived >= WATCH_WORTH_MS;
  if (error === undefined && worthIt) return 0;
  if (wasDown(error)) state.away = true;
  if (isKubeError(error, 'Gone') || state.away) state.position = undefined;
  state.doubtful = true;
  // Silence and a lost position say nothing against the server; after a watch of some length they need no pause.
  const harmless = worthIt && isKubeError(error, 'Timeout', 'Gone');
  const retryInMs = harmless ? 0 : backoff.next(isKubeError(error) ? error.retryAfterMs : 0);
  const told = error ?? new Error(`the server closed the watch after ${Math.round(lived)} ms`);
  isolated(() => observer?.failed({ name, during, error: told, retryInMs }));
  return retryInMs;
}

function wasDown(error: unknown): boolean {
  return isKubeError(error, 'Network') && error.reason === reasons.notSent;
}

async function list<T extends Stored>(
  options: ReflectorOptions<T>,
  state: State,
  signal: AbortSignal,
): Promise<void> {
  const { clock, name, observer, store } = options;
  const began = clock.monotonic();
  const complete = await listAll(listOptions(options, state, signal), (raw) =>
    projectOr(options, 'list', raw, store.get(keyOf(raw))),
  );
  if (signal.aborted) return;
  const wentBack =
    state.wentBack ||
    compareResourceVersions(complete.resourceVersion, state.newest) < 0 ||
    complete.items.some((item) => wasNewer(store.get(item.key), item));
  if (wentBack) isolated(() => options.onRollback?.());
  state.wentBack = false;
  state.position = complete.resourceVersion;
  state.newest = complete.resourceVersion;
  store.replace(complete.items);
  const seconds = (clock.monotonic() - began) / 1000;
  isolated(() => observer?.listed({ name, items: complete.items.length, seconds }));
}

function listOptions<T extends Stored>(
  { transport, path, query, pageSize = 500, clock }: ReflectorOptions<T>,
  state: State,
  signal: AbortSignal,
): ListOptions {
  const onPage = (): void => {
    state.heardAt = clock.monotonic();
  };
  return { transport, path, pageSize, signal, onPage, ...(query === undefined ? {} : { query }) };
}

/**
 * After a failure the server may be another, or the same with a restored etcd. It would accept a watch from the
 * future and stay silent until it gets there, so its position is asked for first: a list of one object.
 */
async function confirmPosition<T extends Stored>(
  options: ReflectorOptions<T>,
  state: State,
  signal: AbortSignal,
): Promise<void> {
  const resourceVersion = await currentResourceVersion(listOptions(options, state, signal));
  if (compareResourceVersions(resourceVersion, state.newest) >= 0) return;
  state.wentBack = true;
  state.position = undefined;
}

/** Of one UID, no object ever has an older revision than it had, unless all went back. */
function wasNewer(before: Stored | undefined, now: Stored): boolean {
  return before?.uid === now.uid && compareResourceVersions(before.resourceVersion, now.resourceVersion) > 0;
}

async function watch<T extends Stored>(
  options: ReflectorOptions<T>,
  state: State,
  turn: Turn,
  signal: AbortSignal,
): Promise<void> {
  const { clock, name, observer, random } = options;
  const events = options.transport.watch({
    path: options.path,
    query: {
      ...options.query,
      resourceVersion: state.position,
      allowWatchBookmarks: true,
      // Spread, so that a restarted server is not asked by everyone at the same second ever after.
      timeoutSeconds: Math.round(300 * (1 + random())),
    },
    inactivityMs: INACTIVITY_MS,
    signal,
    onOpen() {
      turn.openedAt = state.heardAt = clock.monotonic();
      isolated(() => observer?.watched(name));
    },
  });
  for await (const event of events) {
    if (signal.aborted) return;
    state.heardAt = clock.monotonic();
    apply(options, event);
    state.position = state.newest = event.object.metadata.resourceVersion;
  }
}

function apply<T extends Stored>(options: ReflectorOptions<T>, { type, object }: WatchEvent): void {
  if (type === 'BOOKMARK') return;
  const key = keyOf(object);
  if (type === 'DELETED') return options.store.remove(key);
  const before = options.store.get(key);
  const item = projectOr(options, 'watch', object, before);
  if (item === undefined) options.store.remove(key);
  else if (item !== before) options.store.set(item);
}

/** The projection; when it throws, what was stored of the same object. */
function projectOr<T extends Stored>(
  { name, project, observer }: ReflectorOptions<T>,
  during: 'list' | 'watch',
  raw: KubeObject,
  before: T | undefined,
): T | undefined {
  try {
    const item = project(raw);
    if (item === undefined || item.key === keyOf(raw)) return item;
    throw new Error(`the projection of '${keyOf(raw)}' has the key '${item.key}'`);
  } catch (error) {
    isolated(() => observer?.failed({ name, during, error, retryInMs: 0 }));
    return before?.uid === raw.metadata.uid ? before : undefined;
  }
}
