import type { Client, Watch, WatchEvent } from '../../e2e/cluster/client.ts';
import { ApiError } from '../../e2e/cluster/client.ts';
import { eachOf } from './stats.ts';

export interface Service {
  metadata: { namespace: string; name: string; uid: string; resourceVersion: string };
  spec: { type?: string; ports: { nodePort?: number }[] };
  status?: { conditions?: { type: string; status: string; reason: string }[] };
}

export interface Segment {
  readonly from: number;
  readonly to: number;
}

const CREATES_AT_ONCE = 32;
const CONDITION = 'nodeport-manager.io/Allocated';
const PORTRANGES = '/apis/nodeport-manager.io/v1alpha1/portranges';

export function conditionOf(service: Service): { status: string; reason: string } | undefined {
  return service.status?.conditions?.find(({ type }) => type === CONDITION);
}

export function isIn({ from, to }: Segment, service: Service): boolean {
  return service.spec.ports.some(({ nodePort = 0 }) => nodePort >= from && nodePort <= to);
}

/** @param range asks for ports of this PortRange; undefined: asks for nothing */
export function serviceBody(name: string, range: string | undefined, type = 'NodePort'): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      labels: { app: name, team: 'bench' },
      ...(range === undefined ? {} : { annotations: { 'nodeport-manager.io/range': range } }),
    },
    spec: { type, selector: { app: name }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  };
}

/** Creates it, again and again until the random port that the apiserver picks lies outside the segment. */
export async function createOutside(
  client: Client,
  namespace: string,
  body: object & { metadata?: { name?: string } },
  segment: Segment,
): Promise<Service> {
  for (;;) {
    const path = `/api/v1/namespaces/${namespace}/services`;
    const service = await client.create<Service>(path, body);
    if (!isIn(segment, service)) return service;
    await client.delete(`${path}/${service.metadata.name}`);
  }
}

/** Creates Services named `PREFIX-0` …, none with a port of the segment by accident. */
export async function createMany(
  client: Client,
  namespace: string,
  options: { count: number; prefix: string; range?: string; segment: Segment; type?: string },
): Promise<string[]> {
  await ensureNamespace(client, namespace);
  const { count, prefix, range, segment, type } = options;
  const names = Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
  await eachOf(names, CREATES_AT_ONCE, async (name) => {
    await createOutside(client, namespace, serviceBody(name, range, type), segment);
  });
  return names;
}

async function ensureNamespace(client: Client, name: string): Promise<void> {
  try {
    await client.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 409) throw error;
  }
}

export async function createRange(client: Client, name: string, segment: Segment): Promise<void> {
  await client.create(PORTRANGES, {
    apiVersion: 'nodeport-manager.io/v1alpha1',
    kind: 'PortRange',
    metadata: { name },
    spec: { ranges: [segment], cooldown: '0s' },
  });
}

/** Removes the Services, PortRanges and the table: only while no controller runs. */
export async function cleanUp(client: Client, namespace: string, tableNamespace: string): Promise<void> {
  const services = `/api/v1/namespaces/${namespace}/services`;
  const configMaps = `/api/v1/namespaces/${tableNamespace}/configmaps`;
  const label = 'labelSelector=nodeport-manager.io/table%3Dtrue';
  const all = await Promise.all([
    namesIn(client, services, services),
    namesIn(client, PORTRANGES, PORTRANGES),
    namesIn(client, `${configMaps}?${label}`, configMaps),
  ]);
  await eachOf(all.flat(), CREATES_AT_ONCE, async (path) => void (await client.delete(path)));
}

async function namesIn(client: Client, list: string, path: string): Promise<string[]> {
  const { items } = await client.list<{ metadata: { name: string } }>(list, { pageSize: 500 });
  return items.map(({ metadata }) => `${path}/${metadata.name}`);
}

export interface ServiceWatch {
  /** Resolves with the time (performance.now) at which the last of the Services was first seen like this. */
  until(
    what: string,
    names: readonly string[],
    holds: (service: Service) => boolean,
    withinMs?: number,
  ): Promise<number>;
  /** Called with every Service added or modified from now on; undefined: nobody any more. */
  onService(listener: ((service: Service) => void) | undefined): void;
  stop(): Promise<void>;
}

/** Watches the Services of a namespace from now on. */
export async function watchServices(client: Client, namespace: string): Promise<ServiceWatch> {
  const path = `/api/v1/namespaces/${namespace}/services`;
  const seen = new Map<string, Service>();
  const abort = new AbortController();
  let listener: ((service: Service) => void) | undefined;
  const onEvent = ({ type, object }: WatchEvent): void => {
    if (type === 'BOOKMARK' || type === 'ERROR') return;
    const service: Service = object;
    if (type === 'DELETED') return void seen.delete(service.metadata.name);
    seen.set(service.metadata.name, service);
    listener?.(service);
  };
  const open = (): Promise<Watch> => client.watch(path, onEvent, abort.signal);
  const followed = follow(await open(), open, abort.signal);
  return {
    until: (what, names, holds, withinMs = 120_000) =>
      new Promise((resolve, reject) => {
        const missing = new Set(names.filter((name) => !holds(seen.get(name) ?? NOBODY)));
        const finish = (end: () => void): void => {
          clearTimeout(timeout);
          listener = undefined;
          end();
        };
        const timeout = setTimeout(
          () =>
            finish(() => reject(new Error(`${missing.size} of ${names.length} Services are not ${what}`))),
          withinMs,
        );
        if (missing.size === 0) return finish(() => resolve(performance.now()));
        listener = (service) => {
          if (!holds(service)) return;
          missing.delete(service.metadata.name);
          if (missing.size === 0) finish(() => resolve(performance.now()));
        };
      }),
    onService(next) {
      listener = next;
    },
    async stop() {
      abort.abort();
      await followed;
    },
  };
}

/**
 * Opens the watch again when it ends: the server closes one that is read too slowly, which happens on a busy machine.
 * A new one begins with everything that exists.
 */
async function follow(first: Watch, open: () => Promise<Watch>, signal: AbortSignal): Promise<void> {
  let watch = first;
  for (;;) {
    await watch.ended.catch(() => undefined);
    if (signal.aborted) return;
    process.stderr.write('the watch of the bench ended and is opened again\n');
    watch = await open();
  }
}

const NOBODY: Service = {
  metadata: { namespace: '', name: '', uid: '', resourceVersion: '' },
  spec: { ports: [] },
};
