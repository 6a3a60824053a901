/**
 * Which keys need work: client-go's workqueue (dirty and processing sets), with lanes in turn.
 *
 *              add                    take                       done
 *   (unknown) ─────► ready ─────────────────► processing ──────────────────► (unknown)
 *      ▲               ▲                       │   │ add: again               │
 *      │               ├───done, if again──────┘   └─retry─► waiting ─────────┤
 *      │               └───────────time is up, or add────────────┘            │
 *      └───────────────────────────────────────────────────────────────────┘
 *
 * A key is in one state at a time, so it is never worked on twice at once and never waits twice. An add for a key
 * that waits its backoff makes it ready at once: something has happened since it failed. Failures are counted
 * until forget.
 */
import type { Cancel, Clock, Millis } from './clock.ts';
import { createLine, type First, foremost, type Line } from './line.ts';

export interface WorkqueueObserver {
  /** A key became ready that was not. */
  added(): void;
  /** A key was taken, so many seconds after it became ready. */
  started(waitedSeconds: number): void;
  finished(workedSeconds: number): void;
  /** A key began to wait its backoff. */
  retried(): void;
}

export interface AddOptions {
  /** Lanes take turns. A key stays in its lane while it is ready; computed only for one that is not. @default '' */
  lane?: string | (() => string);
  /** Before the others of its lane, or before all lanes. A key that is ready gains precedence by this, never loses it. */
  first?: First | undefined;
}

export interface Workqueue {
  /** Makes the key ready; once it is processed, if it is being processed. Nothing new happens to a ready key. */
  add(key: string, options?: AddOptions): void;
  /**
   * At most `max` ready keys: those that are first of all in their order, then one from each lane in turn; within a
   * lane those that are first in it, then the others, each in their order. They are processing from now on, until done or retry.
   */
  take(max: number): string[];
  /** The processing of the key has ended. Ignored for a key that is not being processed. */
  done(key: string): void;
  /**
   * done, and ready again after a backoff: baseDelayMs x 2^n (n: failures since forget), at most maxDelayMs, of
   * which the random half is taken off. In the lane it had. At once when the key was added meanwhile.
   * @param notBefore a reading of clock.monotonic(); counts if it is later, up to ten minutes from now
   */
  retry(key: string, notBefore?: Millis): void;
  /** Forgets what is ready or waits its backoff, and all backoffs. */
  reset(): void;
  /** Starts the key's backoff over: its work has succeeded. */
  forget(key: string): void;
  /** Keys that are ready. */
  readonly depth: number;
  /** Keys that are being processed. */
  readonly processing: number;
  /** Seconds that the keys in processing have been so: the longest, and all together. */
  ages(): { longest: number; sum: number };
  /** `run` is called, synchronously, whenever depth goes from 0 to more. */
  onReady(run: () => void): void;
  /** Stops all timers. What is added from now on is ignored, and take gives nothing. */
  close(): void;
}

interface Key {
  readonly name: string;
  /** `new` only inside add. */
  state: 'new' | 'ready' | 'processing' | 'waiting';
  lane: string;
  first: First | undefined;
  /** While processing: it was added meanwhile. */
  again: boolean;
  /** When this state began (monotonic). */
  since: Millis;
  /** While waiting: takes the timer back. */
  wake: Cancel | undefined;
}

interface Options {
  clock: Clock;
  random: () => number;
  /** @default 5 */
  baseDelayMs?: Millis;
  /** @default 30_000 */
  maxDelayMs?: Millis;
  observer?: WorkqueueObserver;
}

interface Queue extends Options {
  /** Every key that is ready, processing or waiting. */
  readonly keys: Map<string, Key>;
  readonly failures: Map<string, number>;
  readonly line: Line<Key>;
  readonly listeners: (() => void)[];
  processing: number;
  closed: boolean;
}

/** A bound on what callers may ask for; early is harmless, never is not. */
const LONGEST_NOT_BEFORE_MS: Millis = 600_000;

export function createWorkqueue(options: Options): Workqueue {
  const queue: Queue = {
    ...options,
    keys: new Map(),
    failures: new Map(),
    line: createLine(),
    listeners: [],
    processing: 0,
    closed: false,
  };
  return {
    add: (name, addOptions) => add(queue, name, addOptions),
    take: (max) => take(queue, max),
    done: (name) => done(queue, name),
    retry: (name, notBefore) => retry(queue, name, notBefore),
    reset: () => reset(queue),
    forget: (name) => void queue.failures.delete(name),
    get depth() {
      return queue.line.depth;
    },
    get processing() {
      return queue.processing;
    },
    ages: () => ages(queue),
    onReady: (run) => void queue.listeners.push(run),
    close: () => close(queue),
  };
}

function add(queue: Queue, name: string, { lane = '', first }: AddOptions = {}): void {
  if (queue.closed) return;
  const key = queue.keys.get(name) ?? newKey(queue, name);
  if (key.state === 'ready') {
    if (first !== undefined) queue.line.promote(key, first);
    return;
  }
  // Several adds during one processing are one.
  key.first = foremost(key.again ? key.first : undefined, first);
  key.lane = typeof lane === 'string' ? lane : lane();
  if (key.state === 'processing') key.again = true;
  else makeReady(queue, key);
}

function newKey(queue: Queue, name: string): Key {
  const key: Key = {
    name,
    state: 'new',
    lane: '',
    first: undefined,
    again: false,
    since: 0,
    wake: undefined,
  };
  queue.keys.set(name, key);
  return key;
}

function take(queue: Queue, max: number): string[] {
  const taken: string[] = [];
  while (!queue.closed && taken.length < max) {
    const key = queue.line.shift();
    if (key === undefined) break;
    queue.observer?.started(secondsIn(queue, key));
    enter(queue, key, 'processing');
    queue.processing += 1;
    taken.push(key.name);
  }
  return taken;
}

function done(queue: Queue, name: string): void {
  const key = finish(queue, name);
  if (key === undefined) return;
  if (key.again) makeReady(queue, key);
  else queue.keys.delete(name);
}

function retry(queue: Queue, name: string, notBefore: Millis = 0): void {
  const key = finish(queue, name);
  if (key === undefined) return;
  const backoff = nextBackoff(queue, name);
  if (key.again) return makeReady(queue, key);
  const wait = Math.max(backoff, Math.min(notBefore - queue.clock.monotonic(), LONGEST_NOT_BEFORE_MS));
  key.first = undefined;
  enter(queue, key, 'waiting');
  queue.observer?.retried();
  key.wake = queue.clock.after(wait, () => makeReady(queue, key));
}

/** Ends the processing of a key; undefined when it was not in processing, or nothing follows any more. */
function finish(queue: Queue, name: string): Key | undefined {
  const key = queue.keys.get(name);
  if (key?.state !== 'processing') return undefined;
  queue.processing -= 1;
  queue.observer?.finished(secondsIn(queue, key));
  if (!queue.closed) return key;
  queue.keys.delete(name);
  return undefined;
}

function nextBackoff(
  { failures, random, baseDelayMs = 5, maxDelayMs = 30_000 }: Queue,
  name: string,
): Millis {
  const count = failures.get(name) ?? 0;
  failures.set(name, count + 1);
  return Math.min(baseDelayMs * 2 ** count, maxDelayMs) * (1 - 0.5 * random());
}

function makeReady(queue: Queue, key: Key): void {
  key.wake?.();
  key.wake = undefined;
  enter(queue, key, 'ready');
  queue.observer?.added();
  queue.line.push(key);
  if (queue.line.depth === 1) for (const run of queue.listeners) run();
}

function enter(queue: Queue, key: Key, state: 'ready' | 'processing' | 'waiting'): void {
  key.state = state;
  key.again = false;
  key.since = queue.clock.monotonic();
}

function ages(queue: Queue): { longest: number; sum: number } {
  let [longest, sum] = [0, 0];
  for (const key of queue.keys.values()) {
    if (key.state !== 'processing') continue;
    const age = secondsIn(queue, key);
    longest = Math.max(longest, age);
    sum += age;
  }
  return { longest, sum };
}

function secondsIn(queue: Queue, key: Key): number {
  return (queue.clock.monotonic() - key.since) / 1000;
}

function reset(queue: Queue): void {
  for (const [name, key] of queue.keys) {
    key.wake?.();
    if (key.state !== 'processing') queue.keys.delete(name);
  }
  queue.line.clear();
  queue.failures.clear();
}

function close(queue: Queue): void {
  queue.closed = true;
  reset(queue);
}
