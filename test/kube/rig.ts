import { onTestFinished } from 'vitest';
import { createReflector, type Reflector, type ReflectorOptions } from '../../src/kube/reflector.ts';
import { type Change, createStore, keyOf, type Stored, type WritableStore } from '../../src/kube/store.ts';
import {
  createTransport,
  type KubeObject,
  type Transport,
  type TransportOptions,
} from '../../src/kube/transport.ts';
import { createWire } from '../../src/kube/wire.ts';
import { type ManualClock, manualClock } from '../support/manualClock.ts';
import { type ScriptedServer, scriptedServer } from './scriptedServer.ts';

export interface Rig {
  server: ScriptedServer;
  transport: Transport;
  clock: ManualClock;
}

/** A scripted server, our transport to it and a clock that stands still. All end with the test. */
export async function rig(options: Partial<TransportOptions> = {}): Promise<Rig> {
  const server = await scriptedServer();
  const clock = manualClock();
  const authorize = async (): Promise<Record<string, string>> => ({});
  const wire = createWire({ server: server.url, tls: { rejectUnauthorized: true }, authorize });
  const defaults = {
    wire,
    authorize,
    host: server.url.host,
    userAgent: 'kube-test/1',
    clock,
    random: () => 0,
  };
  const transport = createTransport({ ...defaults, ...options });
  onTestFinished(async () => {
    await server.close();
    await transport.close();
  });
  return { server, transport, clock };
}

export interface Thing extends Stored {
  readonly data: string;
}

export interface ReflectorRig extends Rig {
  reflector: Reflector;
  store: WritableStore<Thing>;
  /** `+key`, `~key` and `-key`, with the data after a colon where there is some. */
  changes: string[];
  observed: string[];
  failures: { during: string; error: unknown; retryInMs: number }[];
  stop(): Promise<void>;
}

export const LIST = 'GET /api/v1/things';
export const WATCH = 'WATCH /api/v1/things';

/** A running reflector of `/api/v1/things`. Script the server in `script`, before the first request. */
export async function reflectorRig(
  script: (server: ScriptedServer) => void,
  options: Partial<ReflectorOptions<Thing>> = {},
): Promise<ReflectorRig> {
  const base = await rig();
  script(base.server);
  const observed: string[] = [];
  const failures: ReflectorRig['failures'] = [];
  const store = createStore<Thing>();
  const changes = recordChanges(store);
  const reflector = createReflector<Thing>({
    name: 'things',
    path: '/api/v1/things',
    transport: base.transport,
    store,
    project,
    clock: base.clock,
    random: () => 0,
    observer: {
      listed: ({ items }) => observed.push(`listed ${items}`),
      watched: () => observed.push('watched'),
      failed: ({ during, error, retryInMs }) => failures.push({ during, error, retryInMs }),
    },
    ...options,
  });
  const abort = new AbortController();
  const ended = reflector.run(abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await ended;
  };
  onTestFinished(stop);
  return { ...base, reflector, store, changes, observed, failures, stop };
}

export function project(raw: KubeObject): Thing {
  const { uid, resourceVersion } = raw.metadata;
  return { key: keyOf(raw), uid, resourceVersion, data: typeof raw['data'] === 'string' ? raw['data'] : '' };
}

/** An object; its uid is `u-<name>` unless given. */
export function thing(name: string, resourceVersion: number, data = '', uid = `u-${name}`): KubeObject {
  const metadata = {
    name,
    uid,
    resourceVersion: String(resourceVersion),
    creationTimestamp: '2026-01-01T00:00:00Z',
  };
  return { metadata, data };
}

export function list(resourceVersion: number, items: readonly KubeObject[], next?: string): object {
  return {
    kind: 'ThingList',
    metadata: { resourceVersion: String(resourceVersion), ...(next ? { continue: next } : {}) },
    items,
  };
}

export function bookmark(resourceVersion: number): object {
  return { kind: 'Thing', metadata: { resourceVersion: String(resourceVersion), creationTimestamp: null } };
}

export function recordChanges(store: WritableStore<Thing>): string[] {
  const changes: string[] = [];
  const describe = ({ before, after }: Change<Thing>): string => {
    const sign = before === undefined ? '+' : after === undefined ? '-' : '~';
    const item = after ?? before;
    return `${sign}${item?.key}${item?.data ? `:${item.data}` : ''}`;
  };
  store.subscribe((change) => changes.push(describe(change)));
  return changes;
}

/** Below the time that a test has: one that fails shall say why, and end. */
const LONGEST_MS = 15_000;

/** Waits for what does not depend on the manual clock: sockets and promises. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + LONGEST_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`does not come to hold: ${condition.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
