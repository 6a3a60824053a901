/**
 * A model of the apiserver, as far as the controller and its tests can tell: objects with one counter of revisions,
 * lists in pages, watches from a revision, patches, status, field owners, and node ports. No time and no network in
 * it: a request is answered at once. What it says is held against the real one by the conformance tests.
 *
 * History is kept whole, so that a watch or a page can begin at any revision that is not compacted.
 */
import { managedFieldsOf, type Owners, ownersAfter } from './managers.ts';
import { createNodePorts, type NodePorts, type ServiceSpec } from './nodePorts.ts';
import { equal, isObject, jsonPatched, type JsonObject, merged, strategicallyMerged } from './patches.ts';
import { Refusal } from './refusal.ts';
import { breachesOf, specSchema } from './schema.ts';

export interface SimObject extends JsonObject {
  metadata: JsonObject & {
    name: string;
    namespace?: string;
    uid: string;
    resourceVersion: string;
    creationTimestamp: string;
    labels?: JsonObject;
    annotations?: JsonObject;
  };
}

/** One write that took effect. */
export interface Change {
  readonly revision: number;
  readonly resource: string;
  readonly key: string;
  /** Undefined: deleted. */
  readonly object: SimObject | undefined;
  readonly before: SimObject | undefined;
  /** As a watch shows it to whom it is deleted: as it was, at this revision. */
  readonly last: SimObject | undefined;
  readonly owners: Owners;
  readonly manager: string;
}

export interface SimRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
  /** A list as of so many revisions ago; not what the real one does, but what one that lags behind would. */
  readonly staleBy?: number;
}

export interface SimAnswer {
  readonly status: number;
  readonly body: JsonObject;
}

export interface Apiserver {
  handle(request: SimRequest): SimAnswer;
  /** Every change so far, oldest first; a restored etcd cuts the end off. */
  readonly history: readonly Change[];
  readonly revision: number;
  /** Positions before it are gone: 410. */
  compact(): void;
  readonly compacted: number;
  /** Puts everything back to what it was at this revision. */
  restore(revision: number): void;
  subscribe(listener: (change: Change) => void): () => void;
}

interface Stored {
  readonly object: SimObject;
  readonly owners: Owners;
}

interface Target {
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string;
  readonly query: URLSearchParams;
}

export interface ApiserverOptions {
  readonly nodePorts: readonly [first: number, last: number];
  /** Wall clock, ms. */
  readonly now: () => number;
  readonly random: () => number;
}

const RANGE_SPEC = specSchema();

const PATH =
  /^\/(?:api|apis\/[^/]+)\/v[^/]+(?:\/namespaces\/(?<namespace>[^/?]+)(?=\/))?\/(?<resource>[^/?]+)(?:\/(?<name>[^/?]+))?(?:\/(?<subresource>[^/?]+))?$/;

/** With a status that a plain write leaves alone. */
const WITH_STATUS = new Set(['services', 'portranges']);

export function createApiserver({ nodePorts, now, random }: ApiserverOptions): Apiserver {
  const allocator: NodePorts = createNodePorts(nodePorts[0], nodePorts[1], random);
  const listeners = new Set<(change: Change) => void>();
  const objects = new Map<string, Map<string, Stored>>();
  let history: Change[] = [];
  let revision = 1;
  let uids = 0;
  let compacted = 0;

  const of = (resource: string): Map<string, Stored> => {
    let all = objects.get(resource);
    if (all === undefined) objects.set(resource, (all = new Map()));
    return all;
  };
  const time = (): string => new Date(now()).toISOString().replace(/\.\d+Z$/, 'Z');

  function commit(
    resource: string,
    key: string,
    stored: Stored | undefined,
    manager: string,
  ): SimObject | undefined {
    const before = of(resource).get(key)?.object;
    revision += 1;
    let object: SimObject | undefined;
    if (stored === undefined) of(resource).delete(key);
    else {
      const metadata = {
        ...stored.object.metadata,
        resourceVersion: `${revision}`,
        managedFields: managedFieldsOf(stored.owners),
      };
      object = { ...stored.object, metadata };
      of(resource).set(key, { object, owners: stored.owners });
    }
    const last = before && { ...before, metadata: { ...before.metadata, resourceVersion: `${revision}` } };
    const change = { revision, resource, key, object, before, last, owners: stored?.owners ?? [], manager };
    history.push(change);
    for (const listener of listeners) listener(change);
    return object;
  }

  function create(target: Target, body: JsonObject): SimObject {
    const { resource, namespace, query } = target;
    const { name, labels } = body['metadata'] as { name: string; labels?: JsonObject };
    const key = keyFor(namespace, name);
    if (of(resource).has(key))
      throw new Refusal(409, 'AlreadyExists', `${resource} "${name}" already exists`);
    if (resource === 'portranges') validate(name, body['spec']);
    const requested = resource === 'services' ? typed(body['spec']) : body['spec'];
    const spec = resource === 'services' ? allocator.update(undefined, withDefaults(requested)) : requested;
    const manager = query.get('fieldManager') ?? 'tests';
    uids += 1;
    const metadata = {
      ...(body['metadata'] as JsonObject),
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid: `uid-${uids}`,
      resourceVersion: '',
      creationTimestamp: time(),
      ...(WITH_STATUS.has(resource) ? { generation: 1 } : {}),
      ...(resource === 'namespaces' ? { labels: { ...labels, 'kubernetes.io/metadata.name': name } } : {}),
    };
    const object = { ...body, metadata, ...(spec === undefined ? {} : { spec }) } as SimObject;
    if (WITH_STATUS.has(resource)) object['status'] = {};
    const owners = ownersAfter(
      [],
      undefined,
      { ...body, metadata, spec: requested, status: undefined },
      { manager, subresource: '', time: time() },
    );
    return commit(resource, key, { object, owners }, manager) as SimObject;
  }

  /** `requested`: the whole object as the write wants it. A write that changes nothing makes no revision. */
  function change(target: Target, stored: Stored, requested: JsonObject): SimObject {
    const { resource, subresource, query } = target;
    const { object: before } = stored;
    const metadata = requested['metadata'] as SimObject['metadata'];
    const wanted = metadata.resourceVersion;
    if (wanted !== undefined && wanted !== '' && wanted !== before.metadata.resourceVersion) {
      const advice = 'please apply your changes to the latest version and try again';
      throw new Refusal(409, 'Conflict', `the object has been modified; ${advice}`);
    }
    const edited = subresource === '' && !equal(requested['spec'], before['spec']);
    const generation = Number(before.metadata['generation'] ?? 0) + (edited ? 1 : 0);
    const fixed = { ...identityOf(before), ...(WITH_STATUS.has(resource) ? { generation } : {}) };
    const next: JsonObject = { ...requested, metadata: { ...metadata, ...fixed } };
    if (resource === 'services') next['spec'] = typed(requested['spec']);
    if (resource === 'portranges' && subresource === '') validate(before.metadata.name, requested['spec']);
    if (WITH_STATUS.has(resource)) {
      if (subresource === 'status') Object.assign(next, { spec: before['spec'], metadata: before.metadata });
      else next['status'] = before['status'];
    }
    const manager = query.get('fieldManager') ?? 'tests';
    const owners = ownersAfter(stored.owners, before, next, { manager, subresource, time: time() });
    if (resource === 'services' && subresource === '')
      next['spec'] = allocator.update(before['spec'] as ServiceSpec, withDefaults(next['spec']));
    if (same(next, before)) return before;
    return commit(resource, keyOf(before), { object: next as SimObject, owners }, manager) as SimObject;
  }

  function write(target: Target, { method, body = '{}', contentType }: SimRequest): SimObject {
    const { resource, namespace, name } = target;
    if (name === undefined) return create(target, JSON.parse(body) as JsonObject);
    const stored = of(resource).get(keyFor(namespace, name));
    if (stored === undefined) throw nothingToWrite(target, method);
    const { object } = stored;
    if (method === 'DELETE') {
      if (resource === 'services') allocator.release(object['spec'] as ServiceSpec);
      commit(resource, keyOf(object), undefined, 'tests');
      return object;
    }
    if (method === 'PUT') return change(target, stored, JSON.parse(body) as JsonObject);
    const bare = {
      ...object,
      metadata: { ...object.metadata, resourceVersion: '', managedFields: undefined },
    };
    switch (contentType) {
      case 'application/json-patch+json':
        return change(target, stored, jsonPatched(bare, JSON.parse(body)));
      case 'application/merge-patch+json':
        return change(target, stored, merged(bare, JSON.parse(body)) as JsonObject);
      case 'application/strategic-merge-patch+json':
        return change(target, stored, strategicallyMerged(bare, JSON.parse(body)) as JsonObject);
      case undefined:
      default:
        throw new Refusal(415, 'UnsupportedMediaType', `${contentType} is not simulated`);
    }
  }

  function read({ resource, namespace, name, query }: Target, staleBy = 0): JsonObject {
    if (name !== undefined) {
      const stored = of(resource).get(keyFor(namespace, name));
      if (stored === undefined) throw new Refusal(404, 'NotFound', `${resource} "${name}" not found`);
      return stored.object;
    }
    const { at, after } = continued(query.get('continue'), Math.max(1, compacted, revision - staleBy));
    if (at < compacted) throw new Refusal(410, 'Expired', 'The provided continue parameter is too old');
    const matching = objectsAt(resource, at)
      .filter((object) => selects(query, namespace, object) && keyOf(object) > after)
      .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    const limit = Number(query.get('limit') ?? 0) || matching.length;
    const items = matching.slice(0, limit);
    const last = items.at(-1);
    const token = last !== undefined && matching.length > limit ? `${at}:${keyOf(last)}` : '';
    return { kind: 'List', metadata: { resourceVersion: `${at}`, continue: token }, items };
  }

  function objectsAt(resource: string, at: number): SimObject[] {
    const all = at === revision ? of(resource) : storedAt(resource, at);
    return [...all.values()].map(({ object }) => object);
  }

  function storedAt(resource: string, at: number): Map<string, Stored> {
    const all = new Map<string, Stored>();
    for (const { object, owners, ...one } of history) {
      if (one.resource !== resource || one.revision > at) continue;
      if (object === undefined) all.delete(one.key);
      else all.set(one.key, { object, owners });
    }
    return all;
  }

  return {
    handle(request) {
      try {
        const target = targetOf(request.path);
        return {
          status: request.method === 'POST' ? 201 : 200,
          body: request.method === 'GET' ? read(target, request.staleBy) : write(target, request),
        };
      } catch (error) {
        const refusal = error instanceof Refusal ? error : new Refusal(422, 'Invalid', String(error));
        return { status: refusal.code, body: refusal.toJSON() };
      }
    },
    get history() {
      return history;
    },
    get revision() {
      return revision;
    },
    get compacted() {
      return compacted;
    },
    compact() {
      compacted = revision;
    },
    restore(to) {
      for (const resource of objects.keys()) objects.set(resource, storedAt(resource, to));
      history = history.filter((one) => one.revision <= to);
      revision = to;
      allocator.reset([...of('services').values()].map(({ object }) => object['spec'] as ServiceSpec));
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** A PUT may make a Lease, but not one that has a UID already. */
function nothingToWrite({ resource, name }: Target, method: string): Refusal {
  if (resource === 'leases' && method === 'PUT')
    return new Refusal(409, 'Conflict', `Precondition failed: UID of ${resource} "${name}"`);
  return new Refusal(404, 'NotFound', `${resource} "${name}" not found`);
}

/** What a path and its query ask for. */
export function targetOf(path: string): Target {
  const url = new URL(path, 'http://sim');
  const groups = PATH.exec(url.pathname)?.groups;
  const { resource, namespace, name, subresource = '' } = groups ?? {};
  if (resource === undefined)
    throw new Refusal(404, 'NotFound', 'the server could not find the requested resource');
  return { resource, namespace, name, subresource, query: url.searchParams };
}

/** Whether a list or watch of this namespace and with these selectors has the object. */
export function selects(
  query: URLSearchParams,
  namespace: string | undefined,
  { metadata }: SimObject,
): boolean {
  if (namespace !== undefined && metadata.namespace !== namespace) return false;
  const labels = (query.get('labelSelector') ?? '').split(',').filter((part) => part !== '');
  if (!labels.every((part) => metadata.labels?.[part.split('=')[0] ?? ''] === part.split('=')[1]))
    return false;
  const fields = (query.get('fieldSelector') ?? '').split(',').filter((part) => part !== '');
  return fields.every((part) => part === `metadata.name=${metadata.name}`);
}

function continued(token: string | null, now: number): { at: number; after: string } {
  if (token === null) return { at: now, after: '' };
  const [at = '', ...after] = token.split(':');
  return { at: Number(at), after: after.join(':') };
}

function identityOf({ metadata }: SimObject): JsonObject {
  const { name, namespace, uid, creationTimestamp } = metadata;
  return { name, ...(namespace === undefined ? {} : { namespace }), uid, creationTimestamp };
}

/** By the schema alone: what its CEL rules refuse, passes. */
function validate(name: string, spec: JsonObject[string]): void {
  const causes = breachesOf(RANGE_SPEC, spec, 'spec').map((field) => ({ field, message: 'Invalid value' }));
  if (causes.length > 0)
    throw new Refusal(422, 'Invalid', `PortRange "${name}" is invalid: ${JSON.stringify(causes)}`, causes);
}

/** As the server's own type holds it: a nodePort of 0, or null, is left out. */
function typed(spec: JsonObject[string]): JsonObject[string] {
  if (!isObject(spec) || !Array.isArray(spec['ports'])) return spec;
  const ports = spec['ports'].map((port) => {
    if (!isObject(port)) return port;
    const { nodePort, ...rest } = port;
    return nodePort === undefined || nodePort === 0 || nodePort === null ? rest : port;
  });
  return { ...spec, ports };
}

function withDefaults(spec: JsonObject[string]): ServiceSpec {
  const requested: ServiceSpec = isObject(spec) ? spec : {};
  const ports = requested.ports?.map((port) => ({ ...port, protocol: port.protocol ?? 'TCP' }));
  return { ...requested, type: requested.type ?? 'ClusterIP', ...(ports === undefined ? {} : { ports }) };
}

function same(a: JsonObject, b: JsonObject): boolean {
  const { metadata: ofA, ...restOfA } = a;
  const { metadata: ofB, ...restOfB } = b;
  return equal(restOfA, restOfB) && equal(named(ofA), named(ofB));
}

/** What people write of it. */
function named(metadata: JsonObject[string]): JsonObject {
  const { managedFields: _, resourceVersion: __, ...rest } = metadata as JsonObject;
  return rest;
}

function keyFor(namespace: string | undefined, name: string): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function keyOf({ metadata }: SimObject): string {
  return keyFor(metadata.namespace, metadata.name);
}
