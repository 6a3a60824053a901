/**
 * Tells what happened to an object, for people: events.k8s.io/v1. Telling never blocks the work and never fails it.
 *
 *   record ──known for less than 10 min──► counted ──already in the outbox──► (the count goes along)
 *      │                                      └──else──┐
 *      └──new─────────────────────────────────────────┴─► limits ──► outbox ──► POST, or PATCH of the series
 *                                                            └─► dropped       one at a time, at most 3 tries
 *
 * Two limits, as in client-go's EventCorrelator: 25 at once for an object and one each 5 minutes after that; and for
 * all objects together 25 at once, then 5 a second. A repetition that a limit stops still counts in its series.
 */
import { type Bucket, createBucket, recent } from './bucket.ts';
import { type Clock, type Millis, sleep } from './clock.ts';
import { isKubeError } from './errors.ts';
import { isolated } from './isolated.ts';
import type { Transport } from './transport.ts';

export interface EventRegarding {
  apiVersion: string;
  kind: string;
  /** Absent for what lives in no namespace: such events go to `default`, as the apiserver demands. */
  namespace?: string;
  name: string;
  uid: string;
  resourceVersion?: string;
}

interface EventInput {
  regarding: EventRegarding;
  type: 'Normal' | 'Warning';
  /** Why, for machines: CamelCase, at most 128 characters. */
  reason: string;
  /** What was done or attempted: at most 128 characters. */
  action: string;
  /** For people. Cut to 1,024 bytes. */
  note: string;
}

export interface EventRecorder {
  /** Never throws and never waits. */
  record(event: EventInput): void;
  /** Resolves when what was accepted is sent or given up. */
  flush(): Promise<void>;
  /** Events that were not sent: limited, given up, or recorded after close. */
  readonly dropped: number;
  /** Accepts nothing more and gives up what is not sent: flush first. */
  close(): void;
}

export interface EventRecorderOptions {
  transport: Transport;
  /** Of the controller, e.g. `example.com/controller`; at most 128 characters. */
  reportingController: string;
  /** Of this process, e.g. the Pod's name; at most 128 characters. */
  reportingInstance: string;
  clock: Clock;
  onDropped?: () => void;
  /** Once for each spell of failures. */
  log?: (message: string, error: unknown) => void;
}

interface Series {
  readonly event: EventInput;
  readonly namespace: string;
  name: string;
  count: number;
  /** What the server knows; 0: nothing yet. */
  told: number;
  /** Wall clock, ms. */
  first: Millis;
  last: Millis;
  /** Monotonic, ms: for the window. */
  lastAt: Millis;
  queued: boolean;
}

interface Recorder extends EventRecorderOptions {
  readonly series: Map<string, Series>;
  readonly perObject: Map<string, Bucket>;
  readonly overall: Bucket;
  readonly outbox: Series[];
  readonly stop: AbortController;
  sending: Promise<void> | undefined;
  dropped: number;
  names: number;
  failing: boolean;
}

const SERIES_WINDOW_MS: Millis = 600_000;
/** Bounds on memory: series and objects remembered, and events that wait. */
const MOST_REMEMBERED = 4096;
const MOST_WAITING = 1000;
const MOST_TRIES = 3;
const SEND_TIMEOUT_MS: Millis = 10_000;

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const recorder: Recorder = {
    ...options,
    series: new Map(),
    perObject: new Map(),
    overall: createBucket(options.clock, 25, 200),
    outbox: [],
    stop: new AbortController(),
    sending: undefined,
    dropped: 0,
    names: hashOf(options.reportingInstance),
    failing: false,
  };
  return {
    record: (event) => record(recorder, event),
    flush: async () => {
      while (recorder.sending !== undefined) await recorder.sending;
    },
    get dropped() {
      return recorder.dropped;
    },
    close: () => recorder.stop.abort(),
  };
}

function record(recorder: Recorder, event: EventInput): void {
  const { clock, outbox, stop } = recorder;
  if (stop.signal.aborted) return drop(recorder);
  const series = seriesOf(recorder, event);
  series.count += 1;
  series.last = clock.now();
  series.lastAt = clock.monotonic();
  if (series.queued) return;
  if (outbox.length >= MOST_WAITING || !withinLimits(recorder, event.regarding.uid)) return drop(recorder);
  series.queued = true;
  outbox.push(series);
  recorder.sending ??= sendAll(recorder);
}

function seriesOf(recorder: Recorder, event: EventInput): Series {
  const { regarding, type, reason, note } = event;
  const { series, clock } = recorder;
  const key = JSON.stringify([regarding.uid, type, reason, note]);
  const known = series.get(key);
  if (known !== undefined && !known.queued && clock.monotonic() - known.lastAt >= SERIES_WINDOW_MS)
    series.delete(key);
  return recent(series, MOST_REMEMBERED, key, () => {
    const now = clock.now();
    const name = nameFor(recorder, regarding.name);
    const namespace = regarding.namespace ?? 'default';
    return {
      event,
      namespace,
      name,
      count: 0,
      told: 0,
      first: now,
      last: now,
      lastAt: clock.monotonic(),
      queued: false,
    };
  });
}

function withinLimits({ clock, perObject, overall }: Recorder, uid: string): boolean {
  const own = recent(perObject, MOST_REMEMBERED, uid, () => createBucket(clock, 25, 300_000));
  if (!own.has() || !overall.has()) return false;
  own.take();
  overall.take();
  return true;
}

function drop(recorder: Recorder): void {
  recorder.dropped += 1;
  isolated(() => recorder.onDropped?.());
}

async function sendAll(recorder: Recorder): Promise<void> {
  // Not within record(): a caller must not wait for JSON and sockets.
  await Promise.resolve();
  for (let next = recorder.outbox.shift(); next !== undefined; next = recorder.outbox.shift()) {
    try {
      await sendWithRetries(recorder, next);
      recorder.failing = false;
    } catch (e) {
      drop(recorder);
      if (!recorder.failing && !recorder.stop.signal.aborted)
        recorder.log?.('an event could not be recorded', e);
      recorder.failing = true;
    }
    next.queued = false;
  }
  recorder.sending = undefined;
}

async function sendWithRetries(recorder: Recorder, series: Series): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await send(recorder, series);
    } catch (e) {
      const transient = isKubeError(e, 'Network', 'Timeout', 'ServerError', 'TooManyRequests', 'BadResponse');
      if (!transient || tries >= MOST_TRIES || recorder.stop.signal.aborted) throw e;
      await sleep(recorder.clock, 1000 * 2 ** (tries - 1), recorder.stop.signal);
    }
  }
}

/** Brings the server up to the count of now: an event of its own first, the series on top of it. */
async function send(recorder: Recorder, series: Series): Promise<void> {
  if (series.told === 0) await create(recorder, series);
  while (series.told < series.count) {
    const count = series.count;
    try {
      await patch(recorder, series, count);
      series.told = count;
    } catch (e) {
      if (!isKubeError(e, 'NotFound')) throw e;
      // The event has expired or was deleted: what goes on begins anew.
      series.name = nameFor(recorder, series.event.regarding.name);
      series.first = series.last;
      series.count -= series.told;
      series.told = 0;
      await create(recorder, series);
    }
  }
}

async function create({ transport, stop, ...of }: Recorder, series: Series): Promise<void> {
  const { event, namespace, name } = series;
  const body = {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name, namespace },
    eventTime: microTime(series.first),
    reportingController: of.reportingController,
    reportingInstance: of.reportingInstance.slice(0, 128),
    type: event.type,
    reason: event.reason.slice(0, 128),
    action: event.action.slice(0, 128),
    regarding: event.regarding,
    note: cut(event.note, 1024),
  };
  try {
    const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
    await transport.request({ method: 'POST', path, body, timeoutMs: SEND_TIMEOUT_MS, signal: stop.signal });
  } catch (e) {
    // A try before this one was answered by nobody and done all the same.
    if (!isKubeError(e, 'AlreadyExists')) throw e;
  }
  series.told = 1;
}

async function patch(
  { transport, stop }: Recorder,
  { namespace, name, last }: Series,
  count: number,
): Promise<void> {
  await transport.request({
    method: 'PATCH',
    path: `/apis/events.k8s.io/v1/namespaces/${namespace}/events/${name}`,
    contentType: 'application/merge-patch+json',
    body: { series: { count, lastObservedTime: microTime(last) } },
    timeoutMs: SEND_TIMEOUT_MS,
    signal: stop.signal,
  });
}

/** `<object>.<hex>`, as kubectl users know it: the time, and in its last digits what keeps processes and calls apart. */
function nameFor(recorder: Recorder, object: string): string {
  recorder.names = (recorder.names + 1) % 1_000_000;
  const unique = BigInt(Math.trunc(recorder.clock.now())) * 1_000_000n + BigInt(recorder.names);
  const suffix = `.${unique.toString(16)}`;
  return object.slice(0, 253 - suffix.length).replace(/[-.]+$/, '') + suffix;
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % 1_000_000;
}

/** metav1.MicroTime: six digits, or the apiserver refuses it. */
function microTime(ms: Millis): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}

/** At most so many bytes of UTF-8, and no part of a character. */
function cut(text: string, bytes: number): string {
  return text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(bytes)).read);
}
