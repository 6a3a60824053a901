import { TABLE } from '../api/names.ts';
import { portRangePath } from '../api/portRange.ts';
import { type RawService, type ServiceView, toServiceView } from '../api/service.ts';
import type { NamespaceView } from '../allocation/types.ts';
import type { Clock, Millis } from '../kube/clock.ts';
import { createReflector, type Reflector, type ReflectorObserver } from '../kube/reflector.ts';
import {
  compareResourceVersions,
  createStore,
  type Store,
  type Stored,
  type WritableStore,
} from '../kube/store.ts';
import type { KubeObject, Transport } from '../kube/transport.ts';
import { type PortRangeView, toNamespaceView, toPortRangeView } from './inputs.ts';
import { type BlockView, toBlockView } from './table.ts';

/** A cache that has heard nothing for so long is stale: its watch sends a bookmark about once a minute. */
const STALE_AFTER: Millis = 180_000;

/**
 * What the watches show: Services, Namespaces and PortRanges as long as we run; the table from when we are to write
 * it, so that it is listed afresh then.
 */
export interface Caches {
  readonly services: Store<ServiceView>;
  readonly namespaces: Store<NamespaceView>;
  readonly portRanges: Store<PortRangeView>;
  readonly blocks: Store<BlockView>;
  /** Keeps all but the table equal to the apiserver until the signal. */
  keepWarm(signal: AbortSignal): Promise<void>;
  /** Lists the table and keeps it so until the signal. */
  followTable(signal: AbortSignal): Promise<void>;
  /** Lists anew whatever is followed; resolves when all of it was. */
  listAgain(): Promise<unknown>;
  /**
   * Resolves when all four were listed, and those anew that have lost touch with the apiserver meanwhile. One that has
   * lost it without noticing is found out by what the table has: see `haveSeen`.
   */
  refreshed(): Promise<unknown>;
  /** Resolves when all four were listed. */
  readonly synced: Promise<unknown>;
  /** Whether what is known of the Services is not older than this revision. */
  haveSeen(resourceVersion: string): boolean;
  /**
   * False from when the apiserver is not there until everything was listed anew: what comes back may be an etcd that was
   * put back, and what was decided before is of a time that never was.
   */
  areInTouch(): boolean;
  /** Whether all but the table were listed. */
  areWarm(): boolean;
  /** By cache: ms since the apiserver last said anything about it. */
  silences(): Iterable<readonly [string, Millis]>;
  /** A cache that has heard nothing for too long. */
  stale(): string | undefined;
}

export function createCaches(options: {
  readonly namespace: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly observer: ReflectorObserver;
  readonly onListenerError: (error: unknown) => void;
  /** A list, or an object in it, was older than what was seen: a restored etcd. */
  readonly onRollback: () => void;
}): Caches {
  const { transport, clock, random, observer, onListenerError, onRollback } = options;
  const reflect = <T extends Stored>(
    name: string,
    path: string,
    project: (raw: KubeObject) => T,
    query: Record<string, string> = {},
  ): { name: string; store: WritableStore<T>; reflector: Reflector } => {
    const store = createStore<T>({ onListenerError });
    const parts = { name, path, query, store, project, transport, clock, random, observer, onRollback };
    return { name, store, reflector: createReflector(parts) };
  };
  const services = reflect('services', '/api/v1/services', (raw) =>
    toServiceView(raw as unknown as RawService),
  );
  const namespaces = reflect('namespaces', '/api/v1/namespaces', toNamespaceView);
  const portRanges = reflect('portranges', portRangePath, toPortRangeView);
  const tablePath = `/api/v1/namespaces/${options.namespace}/configmaps`;
  const table = reflect('table', tablePath, toBlockView, { labelSelector: `${TABLE.label}=true` });
  const warm = [services, namespaces, portRanges];
  let watched: { name: string; reflector: Reflector }[] = warm;

  return {
    services: services.store,
    namespaces: namespaces.store,
    portRanges: portRanges.store,
    blocks: table.store,
    keepWarm: async (signal) => void (await Promise.all(warm.map(({ reflector }) => reflector.run(signal)))),
    followTable(signal) {
      watched = [...warm, table];
      return table.reflector.run(signal);
    },
    listAgain: () => Promise.all(watched.map(({ reflector }) => reflector.listAgain())),
    refreshed: () =>
      Promise.all([
        table.reflector.synced,
        ...warm.map(({ reflector }) => (reflector.isDoubtful() ? reflector.listAgain() : reflector.synced)),
      ]),
    synced: Promise.all([...warm, table].map(({ reflector }) => reflector.synced)),
    haveSeen: (resourceVersion) =>
      compareResourceVersions(services.reflector.resourceVersion(), resourceVersion) >= 0,
    areInTouch: () => !watched.some(({ reflector }) => reflector.wasAway()),
    areWarm: () => warm.every(({ reflector }) => reflector.hasSynced()),
    silences: () => watched.map(({ name, reflector }) => [name, reflector.silentFor()] as const),
    stale: () => watched.find(({ reflector }) => reflector.silentFor() > STALE_AFTER)?.name,
  };
}
