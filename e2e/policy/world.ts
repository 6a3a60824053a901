import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import {
  type PortRangeSpec,
  type PortSpan,
  portRangeApiVersion,
  portRangePath,
} from '../../src/api/portRange.ts';
import { type Client, createClient } from '../cluster/client.ts';
import { type Cluster, type ClusterOptions, startCluster } from '../cluster/cluster.ts';
import type { KubectlOptions, KubectlResult } from '../cluster/kubectl.ts';
import type { User } from '../cluster/users.ts';
import { eventually } from '../support/eventually.ts';
import type { Service, ServicePort } from '../support/objects.ts';

const CONFIG = join(import.meta.dirname, '../../config');
/** The whole of these tests on another Kubernetes: POLICY_KUBERNETES=v1.30.14. */
const VERSION = process.env['POLICY_KUBERNETES'];
const POLICY = 'nodeport-manager-segments';
const MARKER = 'marker';

/** How the apiserver answered. */
export interface Answer {
  status: number;
  /** Why it refused; empty when it did not. */
  message: string;
  /** The Warning headers. */
  warnings: string;
  service: Service;
}

interface ServiceOptions {
  type?: string;
  labels?: Record<string, string>;
  /** Of metadata, as a request may claim them. */
  managedFields?: unknown[];
  /** More of the spec. */
  spec?: Record<string, unknown>;
}

/** What a user does with Services; a key is namespace/name. */
export interface Caller {
  create(
    key: string,
    ports: readonly ServicePort[],
    options?: ServiceOptions,
    query?: string,
  ): Promise<Answer>;
  put(key: string, change: (service: Service) => void): Promise<Answer>;
  patch(key: string, type: 'json' | 'merge' | 'strategic', body: unknown, query?: string): Promise<Answer>;
  /** Server-side apply. */
  apply(key: string, ports: readonly ServicePort[], query?: string): Promise<Answer>;
  /** Creates a Service that names the number and removes it again. */
  name(namespace: string, number: number, labels?: Record<string, string>): Promise<Answer>;
}

export interface World {
  readonly cluster: Cluster;
  readonly admin: Client;
  as(user: User): Caller;
  /** Standard output; throws with standard error. Arguments are separated by single spaces. */
  kubectl(args: string, options?: KubectlOptions): Promise<string>;
  tryKubectl(args: string, options?: KubectlOptions): Promise<KubectlResult>;
  namespace(name: string, labels?: Record<string, string>): Promise<void>;
  /** Creates a PortRange, with a status when `effective` is given, and waits until the policy knows it. */
  range(name: string, spec: PortRangeSpec, effective?: readonly PortSpan[]): Promise<void>;
  removeRange(name: string): Promise<void>;
  /** Applies a folder of config/ and waits until the policy refuses (or no longer does, for Warn and Audit). */
  install(folder: 'policy' | 'policy/warn' | 'policy/audit'): Promise<void>;
  /** Applies an overlay of config/policy. */
  overlay(kustomization: object): Promise<void>;
  /** Waits until the policy has seen every change of a PortRange so far. */
  settled(): Promise<void>;
  get(key: string): Promise<Service>;
  remove(...keys: string[]): Promise<void>;
  /** What the apiserver counts of decisions that ended in an error, as Prometheus text. */
  errors(): Promise<string[]>;
}

const TYPES = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
} as const;

function pathOf(key: string): string {
  const [namespace, name] = key.split('/');
  return `/api/v1/namespaces/${namespace}/services${name === undefined ? '' : `/${name}`}`;
}

function bodyOf(key: string, ports: readonly ServicePort[], options: ServiceOptions = {}): object {
  const [namespace, name] = key.split('/');
  const { type = 'NodePort', labels, managedFields, spec } = options;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name, labels, managedFields },
    spec: { type, ports, selector: { app: 'any' }, ...spec },
  };
}

/**
 * Until the apiserver's own cache has the write. It tries the next one on what the cache has; where that is old, it tries
 * again, but the numbers of the first try stay taken for minutes: a 422 that is not about us.
 */
async function cached(client: Client, { metadata }: Service): Promise<void> {
  const { namespace, name, resourceVersion } = metadata;
  await client.get(`${pathOf(`${namespace}/${name}`)}?resourceVersion=${resourceVersion}`);
}

function callerOf(client: Client): Caller {
  const send = async (
    method: 'POST' | 'PUT' | 'PATCH',
    path: string,
    body: unknown,
    type?: string,
  ): Promise<Answer> => {
    const headers = type === undefined ? {} : { 'content-type': type };
    const { status, headers: answered, body: text } = await client.raw(method, path, { body, headers });
    const parsed = JSON.parse(text) as Service & { message?: string };
    if (status < 400 && !path.includes('dryRun')) await cached(client, parsed);
    return {
      status,
      message: status < 400 ? '' : (parsed.message ?? text),
      warnings: [answered['warning'] ?? []].flat().join('\n'),
      service: parsed,
    };
  };
  const create: Caller['create'] = (key, ports, options, query = '') =>
    send('POST', `${pathOf(key.split('/')[0] ?? '')}?${query}`, bodyOf(key, ports, options));
  return {
    create,
    async put(key, change) {
      const service = await client.get<Service>(pathOf(key));
      change(service);
      return send('PUT', pathOf(key), service);
    },
    patch: (key, type, body, query = '') => send('PATCH', `${pathOf(key)}?${query}`, body, TYPES[type]),
    apply: (key, ports, query = '') =>
      send(
        'PATCH',
        `${pathOf(key)}?fieldManager=team&${query}`,
        bodyOf(key, ports),
        'application/apply-patch+yaml',
      ),
    async name(namespace, number, labels = {}) {
      const key = `${namespace}/named-${number}`;
      const answer = await create(key, [{ port: 80, nodePort: number }], { labels });
      if (answer.status < 400) await client.delete(pathOf(key));
      return answer;
    },
  };
}

const RIGHTS = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name: 'teams' },
  rules: [{ apiGroups: [''], resources: ['services'], verbs: ['*'] }],
};

const BINDING = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: 'teams' },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'teams' },
  subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'teams' }],
};

/**
 * The apiserver picks at random above the first 128 numbers of its range (KEP-3668): those that these tests name,
 * 30090 to 30217, are never hit by chance.
 */
const NODE_PORT_RANGE = '30090-63999';

/** The controller's whole installation, teams that may do anything with Services, and no policy yet. */
async function startWorld(options: ClusterOptions): Promise<World & { close(): Promise<void> }> {
  const cluster = await startCluster({
    nodePortRange: NODE_PORT_RANGE,
    ...(VERSION === undefined ? {} : { version: VERSION }),
    ...options,
  });
  const clients = new Map<User, Client>();
  const clientOf = (user: User): Client => {
    const client = clients.get(user) ?? createClient(cluster, user);
    clients.set(user, client);
    return client;
  };
  const admin = clientOf('admin');
  const tryKubectl: World['tryKubectl'] = (args, options) => cluster.kubectl(args.split(' '), options);
  const kubectl: World['kubectl'] = async (args, options) => {
    const { code, stdout, stderr } = await tryKubectl(args, options);
    if (code !== 0) throw new Error(`kubectl ${args}: ${stderr}`);
    return stdout;
  };
  await kubectl(`apply --validate=strict -k ${join(CONFIG, 'default')}`);
  await kubectl('wait --for=condition=Established --timeout=60s crd/portranges.nodeport-manager.io');
  await admin.create('/apis/rbac.authorization.k8s.io/v1/clusterroles', RIGHTS);
  await admin.create('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', BINDING);
  return {
    cluster,
    admin,
    kubectl,
    tryKubectl,
    as: (user) => callerOf(clientOf(user)),
    ...objects(cluster, admin, kubectl),
    async close() {
      await Promise.all([...clients.values()].map((client) => client.close()));
      await cluster.stop();
    },
  };
}

type Objects = Omit<World, 'cluster' | 'admin' | 'kubectl' | 'tryKubectl' | 'as'>;

function objects(cluster: Cluster, admin: Client, kubectl: World['kubectl']): Objects {
  const lowest = Number(cluster.nodePortRange.split('-')[0]);
  const caller = callerOf(admin);
  const refused = (number: number, expected: boolean): Promise<void> =>
    eventually(async () => {
      const { status, message } = await caller.name('default', number);
      expect([201, 403], message).toContain(status);
      expect(status === 403, message).toBe(expected);
    });
  const putRange = (name: string, spec: PortRangeSpec): Promise<unknown> =>
    admin.create(portRangePath, {
      apiVersion: portRangeApiVersion,
      kind: 'PortRange',
      metadata: { name },
      spec,
    });
  // One watch brings all PortRanges in order: where the last change of the marker is known, all before it are.
  let marked = 0;
  const mark = async (): Promise<number> => {
    marked += 1;
    const number = lowest + (marked % 2);
    const spec: PortRangeSpec = { ranges: [{ from: number }], namespaces: ['nobody'] };
    if (marked === 1) await putRange(MARKER, spec);
    else await admin.patch(`${portRangePath}/${MARKER}`, 'merge', { spec });
    return number;
  };
  const settled = async (): Promise<void> => refused(await mark(), true);
  return {
    settled,
    async namespace(name, labels = {}) {
      const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
      await admin.create('/api/v1/namespaces', body);
    },
    async range(name, spec, effective) {
      await putRange(name, spec);
      if (effective !== undefined)
        await admin.patch(`${portRangePath}/${name}/status`, 'merge', { status: { effective } });
      await settled();
    },
    async removeRange(name) {
      await admin.delete(`${portRangePath}/${name}`);
      await settled();
    },
    async install(folder) {
      await kubectl(`apply --validate=strict -k ${join(CONFIG, folder)}`);
      await refused(await mark(), folder === 'policy');
    },
    async overlay(kustomization) {
      const dir = join(cluster.dir, 'overlay');
      await mkdir(dir, { recursive: true });
      const resources = [relative(dir, join(CONFIG, 'policy'))];
      await writeFile(join(dir, 'kustomization.yaml'), JSON.stringify({ resources, ...kustomization }));
      await kubectl(`apply --validate=strict -k ${dir}`);
    },
    get: (key) => admin.get(pathOf(key)),
    remove: async (...keys) => {
      for (const key of keys) await admin.delete(pathOf(key));
    },
    async errors() {
      const { body } = await admin.raw('GET', '/metrics');
      return body
        .split('\n')
        .filter((line) => line.startsWith('apiserver_validating_admission_policy_check_total{'))
        .filter((line) => line.includes(`policy="${POLICY}"`) && line.includes('enforcement_action="allow"'));
    },
  };
}

/** One world for all tests of a file. */
export function useWorld(setUp: (world: World) => Promise<void>, options: ClusterOptions = {}): () => World {
  let world: Awaited<ReturnType<typeof startWorld>> | undefined;
  beforeAll(async () => {
    world = await startWorld(options);
    await setUp(world);
  });
  afterAll(() => world?.close());
  return () => {
    if (world === undefined) throw new Error('the world has not begun');
    return world;
  };
}

/** Refused by the policy, for this number of this PortRange. */
export function expectRefused({ status, message }: Answer, number: number | string, range: string): void {
  expect(status, message).toBe(403);
  expect(message).toMatch(
    new RegExp(`denied request: node port ${number} belongs to the PortRange ${range},`),
  );
}

export function expectAccepted({ status, message }: Answer): void {
  expect(status, message).toBeLessThan(300);
}
