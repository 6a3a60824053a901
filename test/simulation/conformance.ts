/**
 * What the controller relies on of an apiserver, as cases that run against the real one and against the simulated one
 * alike: so the simulation cannot lie about them. The node port range of both is 30000–30299.
 */
import { expect } from 'vitest';
import type { JsonObject } from './patches.ts';

export interface Answer {
  readonly status: number;
  readonly body: JsonObject;
}

/** One cluster-wide client; `path` with its query. Never throws for a status. */
export type Call = (
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
  contentType?: string,
) => Promise<Answer>;

/** One line of a watch. */
export interface Line {
  readonly type: string;
  readonly object: JsonObject;
}

export interface Watched {
  /** Awaits the next line; undefined: the watch has ended well. */
  next(): Promise<Line | undefined>;
  close(): void;
}

/** What cannot be said in one request and one answer. */
export interface Beside {
  /** Resolves when it is open. `path` with its query but without `watch`. */
  readonly watch: (path: string) => Promise<Watched>;
  /** What came before now is forgotten. */
  readonly compact: () => Promise<void>;
}

export type Case = (call: Call, beside: Beside) => Promise<void>;

interface Port {
  name?: string;
  port: number;
  protocol?: string;
  nodePort?: number;
}

interface Object {
  metadata: { name: string; uid: string; resourceVersion: string; managedFields?: ManagedFields[] };
  spec: { type: string; ports: Port[]; healthCheckNodePort?: number };
  status: { conditions?: { type: string; status: string }[] };
}

interface ManagedFields {
  manager: string;
  subresource?: string;
  time: string;
  fieldsV1: { 'f:spec'?: { 'f:ports'?: Record<string, Record<string, unknown>> } };
}

const SERVICES = '/api/v1/namespaces/default/services';
export const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';
const JSON_PATCH = 'application/json-patch+json';
const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const OURS = '?fieldManager=nodeport-manager';

const http: Port = { name: 'http', port: 80 };

/** Name → case. Each makes Services of its own names and leaves them. */
export const CASES: Readonly<Record<string, Case>> = {
  'entries of a new Service with the same port share one random number': async (call) => {
    const { spec } = await create(call, 'shared', [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53 },
      http,
    ]);
    const [udp, tcp, other] = numbersOf(spec);
    expect(udp).toBe(tcp);
    expect(other).not.toBe(udp);
  },

  'a number is allocated once, whatever the protocol': async (call) => {
    await create(call, 'once', [{ ...http, nodePort: 30_001 }]);
    const again = [{ name: 'dns', port: 53, protocol: 'UDP', nodePort: 30_001 }];
    expectInvalid(await tryCreate(call, 'twice', again), 'spec.ports[0].nodePort', 'already allocated');
  },

  'two different ports of a new Service cannot have one number': async (call) => {
    const both = [
      { ...http, nodePort: 30_002 },
      { name: 'https', port: 443, nodePort: 30_002 },
    ];
    expect((await tryCreate(call, 'both', both)).status).toBe(422);
  },

  'a refused create allocates nothing': async (call) => {
    const beyond = [
      { ...http, nodePort: 30_003 },
      { name: 'https', port: 443, nodePort: 29_999 },
    ];
    expectInvalid(await tryCreate(call, 'beyond', beyond), 'spec.ports[1].nodePort', '30000-30299');
    await create(call, 'after-beyond', [{ ...http, nodePort: 30_003 }]);
  },

  'a JSON Patch with a stale resourceVersion is a conflict': async (call) => {
    const { metadata } = await create(call, 'stale', [http]);
    await patchPort(call, 'stale', metadata.resourceVersion, 30_004);
    const late = await call(
      'PATCH',
      `${SERVICES}/stale${OURS}`,
      jsonPatch(metadata.resourceVersion, 30_005),
      JSON_PATCH,
    );
    expect([late.status, late.body['reason']]).toEqual([409, 'Conflict']);
  },

  'a JSON Patch of a nodePort frees the old number and owns the new one': async (call) => {
    const before = await create(call, 'moves', [{ ...http, nodePort: 30_006 }]);
    const after = await patchPort(call, 'moves', before.metadata.resourceVersion, 30_007);
    expect(numbersOf(after.spec)).toEqual([30_007]);
    expect(ownersOf(after, 'k:{"port":80,"protocol":"TCP"}')).toEqual(['nodeport-manager']);
    await create(call, 'takes-over', [{ ...http, nodePort: 30_006 }]);
  },

  'a number that the apiserver picked is owned by nobody, one that somebody wrote by its writer': async (
    call,
  ) => {
    const random = await create(call, 'random', [http]);
    expect(ownersOf(random, 'k:{"port":80,"protocol":"TCP"}')).toEqual([]);
    const written = await create(call, 'written', [{ ...http, nodePort: 30_008 }]);
    expect(ownersOf(written, 'k:{"port":80,"protocol":"TCP"}')).toEqual(['team']);
  },

  'a taken number is refused to a patch, too, and nothing has changed': async (call) => {
    await create(call, 'holder', [{ ...http, nodePort: 30_009 }]);
    const { metadata, spec } = await create(call, 'wants', [http]);
    const refused = await call(
      'PATCH',
      `${SERVICES}/wants${OURS}`,
      jsonPatch(metadata.resourceVersion, 30_009),
      JSON_PATCH,
    );
    expectInvalid(refused, 'spec.ports[0].nodePort', 'already allocated');
    expect((await get(call, 'wants')).spec).toEqual(spec);
  },

  'the status is a write of its own: conditions are merged by type, and removed by a directive': async (
    call,
  ) => {
    const { metadata } = await create(call, 'status', [http]);
    const put = async (conditions: object[], resourceVersion?: string): Promise<Answer> =>
      call(
        'PATCH',
        `${SERVICES}/status/status${OURS}`,
        { metadata: { resourceVersion }, status: { conditions } },
        STRATEGIC,
      );
    const ready = {
      type: 'Ready',
      status: 'True',
      reason: 'R',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    expect((await put([ready])).status).toBe(200);
    expect((await put([{ ...ready, type: 'Other' }], metadata.resourceVersion)).status).toBe(409);
    await put([{ ...ready, type: 'Other' }]);
    await put([{ ...ready, status: 'False' }]);
    const shown = (of: Object): string[] =>
      (of.status.conditions ?? []).map(({ type, status }) => `${type}=${status}`).toSorted();
    expect(shown(await get(call, 'status'))).toEqual(['Other=True', 'Ready=False']);
    await put([{ type: 'Ready', $patch: 'delete' }]);
    expect(shown(await get(call, 'status'))).toEqual(['Other=True']);
  },

  'a write that changes nothing makes no new revision': async (call) => {
    const { metadata } = await create(call, 'same', [{ ...http, nodePort: 30_010 }]);
    const again = await patchPort(call, 'same', metadata.resourceVersion, 30_010);
    expect(again.metadata.resourceVersion).toBe(metadata.resourceVersion);
    expect(ownersOf(again, 'k:{"port":80,"protocol":"TCP"}')).toEqual(['team']);
  },

  'an update without nodePorts keeps them by name, and nobody owns them then': async (call) => {
    const before = await create(call, 'kept', [{ ...http, nodePort: 30_011 }]);
    const { metadata, spec } = before;
    const ports = [{ ...http, port: 81, protocol: 'TCP' }];
    const { status, body } = await call('PUT', `${SERVICES}/kept?fieldManager=team`, {
      ...before,
      metadata: { ...metadata, managedFields: undefined },
      spec: { ...spec, ports },
    });
    expect(status).toBe(200);
    const after = body as unknown as Object;
    expect(numbersOf(after.spec)).toEqual([30_011]);
    expect(ownersOf(after, 'k:{"port":81,"protocol":"TCP"}')).toEqual([]);
  },

  'a ClusterIP Service has no node ports: they are free at once, and random when it is a NodePort again':
    async (call) => {
      await create(call, 'flips', [{ ...http, nodePort: 30_012 }]);
      const flip = async (type: string): Promise<Object> =>
        (await call('PATCH', `${SERVICES}/flips?fieldManager=team`, { spec: { type } }, MERGE))
          .body as unknown as Object;
      expect(numbersOf((await flip('ClusterIP')).spec)).toEqual([]);
      await create(call, 'flips-successor', [{ ...http, nodePort: 30_012 }]);
      const [number] = numbersOf((await flip('NodePort')).spec);
      expect(number).not.toBe(30_012);
      expect(number).toBeGreaterThan(0);
    },

  'a nodePort of 0 is none: nobody owns the number, and an update that says it keeps it': async (call) => {
    const blank = [{ ...http, nodePort: 0 }];
    const key = 'k:{"port":80,"protocol":"TCP"}';
    const made = await create(call, 'blank', blank);
    expect(ownersOf(made, key)).toEqual([]);
    const { body } = await call(
      'PATCH',
      `${SERVICES}/blank?fieldManager=team`,
      { metadata: { labels: { a: 'b' } }, spec: { ports: blank } },
      MERGE,
    );
    expect(numbersOf((body as unknown as Object).spec)).toEqual(numbersOf(made.spec));
  },

  'two different ports may be put on one number by an update (kubernetes #135439)': async (call) => {
    const [a, b] = [
      { name: 'a', port: 53, nodePort: 30_000 },
      { name: 'b', port: 54, protocol: 'UDP', nodePort: 30_000 },
    ];
    expect((await tryCreate(call, 'joined', [a, b])).status).toBe(422);
    await create(call, 'joined', [a]);
    const patched = await call(
      'PATCH',
      `${SERVICES}/joined?fieldManager=team`,
      { spec: { ports: [a, b] } },
      MERGE,
    );
    expect(patched.status, JSON.stringify(patched.body)).toBe(200);
    expect(numbersOf((patched.body as unknown as Object).spec)).toEqual([30_000, 30_000]);
  },

  'a LoadBalancer with externalTrafficPolicy Local takes one more number': async (call) => {
    const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 30_013 };
    const made = await create(call, 'local', [{ ...http, nodePort: 30_014 }], spec);
    expect(made.spec.healthCheckNodePort).toBe(30_013);
    expectInvalid(
      await tryCreate(call, 'on-health', [{ ...http, nodePort: 30_013 }]),
      'spec.ports[0].nodePort',
      'allocated',
    );
  },

  'without allocateLoadBalancerNodePorts there is no node port unless one is written': async (call) => {
    const spec = { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false };
    expect(numbersOf((await create(call, 'none', [http], spec)).spec)).toEqual([]);
    const written = await create(call, 'one', [{ ...http, nodePort: 30_015 }], spec);
    expect(numbersOf(written.spec)).toEqual([30_015]);
  },

  'a deleted Service frees its numbers, and is gone': async (call) => {
    await create(call, 'deleted', [{ ...http, nodePort: 30_016 }]);
    expect((await call('DELETE', `${SERVICES}/deleted`)).status).toBe(200);
    expect((await call('GET', `${SERVICES}/deleted`)).body['reason']).toBe('NotFound');
    await create(call, 'heir', [{ ...http, nodePort: 30_016 }]);
  },

  'what exists cannot be created, what does not cannot be written': async (call) => {
    await create(call, 'exists', [http]);
    expect((await tryCreate(call, 'exists', [http])).body['reason']).toBe('AlreadyExists');
    const patch = await call('PATCH', `${SERVICES}/nobody${OURS}`, jsonPatch('1', 30_017), JSON_PATCH);
    expect([patch.status, patch.body['reason']]).toEqual([404, 'NotFound']);
  },

  'a ConfigMap is replaced at its resourceVersion only': async (call) => {
    const map = (data: object, resourceVersion?: string): object => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'block', ...(resourceVersion === undefined ? {} : { resourceVersion }) },
      data,
    });
    const made = await call('POST', `${CONFIG_MAPS}${OURS}`, map({ a: '1' }));
    expect(made.status).toBe(201);
    expect((await call('POST', `${CONFIG_MAPS}${OURS}`, map({}))).status).toBe(409);
    const { resourceVersion } = (made.body as unknown as Object).metadata;
    expect((await call('PUT', `${CONFIG_MAPS}/block${OURS}`, map({ a: '2' }, resourceVersion))).status).toBe(
      200,
    );
    expect((await call('PUT', `${CONFIG_MAPS}/block${OURS}`, map({ a: '3' }, resourceVersion))).status).toBe(
      409,
    );
  },

  'a list comes in pages of one revision, whatever is written meanwhile': async (call) => {
    for (const name of ['p1', 'p2', 'p3']) await create(call, name, [http]);
    const { body: first } = await call('GET', `${SERVICES}?limit=2`);
    const metadata = first['metadata'] as { resourceVersion: string; continue: string };
    await create(call, 'p0-later', [http]);
    const names: string[] = namesIn(first);
    let next = metadata.continue;
    while (next !== '') {
      const { body } = await call('GET', `${SERVICES}?limit=50&continue=${encodeURIComponent(next)}`);
      const page = body['metadata'] as { resourceVersion: string; continue?: string };
      expect(page.resourceVersion).toBe(metadata.resourceVersion);
      names.push(...namesIn(body));
      next = page.continue ?? '';
    }
    expect(names).not.toContain('p0-later');
    expect(names).toEqual([...new Set(names)].toSorted());
    expect(names).toEqual(expect.arrayContaining(['p1', 'p2', 'p3']));
  },
};

async function create(call: Call, name: string, ports: Port[], spec: object = {}): Promise<Object> {
  const { status, body } = await tryCreate(call, name, ports, spec);
  expect(status, JSON.stringify(body)).toBe(201);
  return body as unknown as Object;
}

function tryCreate(call: Call, name: string, ports: Port[], spec: object = {}): Promise<Answer> {
  return call('POST', `${SERVICES}?fieldManager=team`, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { type: 'NodePort', ports, ...spec },
  });
}

async function get(call: Call, name: string): Promise<Object> {
  return (await call('GET', `${SERVICES}/${name}`)).body as unknown as Object;
}

function jsonPatch(resourceVersion: string, nodePort: number): object[] {
  return [
    { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
    { op: 'add', path: '/spec/ports/0/nodePort', value: nodePort },
  ];
}

async function patchPort(
  call: Call,
  name: string,
  resourceVersion: string,
  nodePort: number,
): Promise<Object> {
  const patch = jsonPatch(resourceVersion, nodePort);
  const { status, body } = await call('PATCH', `${SERVICES}/${name}${OURS}`, patch, JSON_PATCH);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as unknown as Object;
}

function numbersOf({ ports }: Object['spec']): number[] {
  return ports.flatMap(({ nodePort = 0 }) => (nodePort > 0 ? [nodePort] : []));
}

/** The managers that own this port's nodePort. */
function ownersOf({ metadata }: Object, key: string): string[] {
  return (metadata.managedFields ?? [])
    .filter(({ fieldsV1 }) => fieldsV1['f:spec']?.['f:ports']?.[key]?.['f:nodePort'] !== undefined)
    .map(({ manager }) => manager);
}

export function namesIn(list: JsonObject): string[] {
  return (list['items'] as unknown as Object[]).map(({ metadata }) => metadata.name);
}

function expectInvalid({ status, body }: Answer, field: string, text: string): void {
  expect(status).toBe(422);
  const { causes = [] } = body['details'] as { causes?: { field: string; message: string }[] };
  expect(causes).toContainEqual(
    expect.objectContaining({ field, message: expect.stringContaining(text) as string }),
  );
}
