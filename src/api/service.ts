import type { Port } from '../ports/portSet.ts';
import { LABELS, type ManagedFields, ownedBelow, ownedSince } from './managedFields.ts';
import { ANNOTATION, CONDITION_TYPE, FIELD_MANAGER } from './names.ts';
import type { ConditionStatus } from './reasons.ts';

/** One entry of `spec.ports`, in its order there. */
export interface ServicePort {
  /** Empty for the only port of a Service that does not name it. */
  readonly name: string;
  readonly port: Port;
  readonly protocol: string;
  /** 0: none. */
  readonly nodePort: Port | 0;
  /**
   * The field manager that owns this nodePort. Absent when the apiserver picked it at random. Ours only if no
   * other manager owns it too: who pins a number that we wrote has made a claim.
   */
  readonly owner?: string;
}

/** What the Service shows under our condition type. */
export interface ShownCondition {
  readonly status: ConditionStatus;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

/**
 * A Service as the cache keeps it: the dozen fields that decide about ports. The rest, managedFields above all,
 * is dropped at decode: it is nine tenths of the memory.
 */
export interface ServiceView {
  /** namespace/name */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** ms since 1970; the apiserver writes whole seconds. */
  readonly createdAt: number;
  readonly type: string;
  readonly ports: readonly ServicePort[];
  /** 0: none. It comes out of the same number space. */
  readonly healthCheckNodePort: Port | 0;
  /** False for a LoadBalancer with `allocateLoadBalancerNodePorts: false`. */
  readonly allocatesNodePorts: boolean;
  /** Ours only, by their full names. */
  readonly annotations: Readonly<Record<string, string>>;
  /** For selectors. */
  readonly labels: Readonly<Record<string, string>>;
  /** Since when at the latest they are what they are, where that is later than `createdAt`. */
  readonly labelsSince?: number;
  readonly condition?: ShownCondition;
}

/** The parts of a Service's JSON that the projection reads. */
export interface RawService {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly creationTimestamp: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly labels?: Readonly<Record<string, string>>;
    readonly managedFields?: readonly unknown[];
  };
  readonly spec?: {
    readonly type?: string;
    readonly ports?: readonly { name?: string; port: number; protocol?: string; nodePort?: number }[];
    readonly healthCheckNodePort?: number;
    readonly allocateLoadBalancerNodePorts?: boolean;
  };
  readonly status?: { readonly conditions?: readonly (ShownCondition & { type: string })[] };
}

/** Projects the apiserver's object to what the cache keeps. */
export function toServiceView(raw: RawService): ServiceView {
  const { metadata, spec = {} } = raw;
  const namespace = metadata.namespace ?? '';
  const owners = nodePortOwners(metadata.managedFields ?? []);
  const condition = raw.status?.conditions?.find(({ type }) => type === CONDITION_TYPE);
  const createdAt = Date.parse(metadata.creationTimestamp);
  const labelsSince = ownedSince(metadata.managedFields, LABELS);
  return {
    key: `${namespace}/${metadata.name}`,
    namespace,
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    createdAt,
    type: spec.type ?? 'ClusterIP',
    ports: (spec.ports ?? []).map(({ name = '', port, protocol = 'TCP', nodePort = 0 }) => {
      const owner = nodePort === 0 ? undefined : owners.get(`${port}/${protocol}`);
      return owner === undefined
        ? { name, port, protocol, nodePort }
        : { name, port, protocol, nodePort, owner };
    }),
    healthCheckNodePort: spec.healthCheckNodePort ?? 0,
    allocatesNodePorts: spec.allocateLoadBalancerNodePorts !== false,
    annotations: ourAnnotations(metadata.annotations),
    labels: metadata.labels ?? NO_LABELS,
    ...(labelsSince > createdAt ? { labelsSince } : {}),
    ...(condition === undefined ? {} : { condition: shown(condition) }),
  };
}

/** Every number that the Service occupies in the cluster's one space of node ports, each once. */
export function numbersOf(service: ServiceView): Port[] {
  const numbers = new Set<Port>();
  for (const { nodePort } of service.ports) if (nodePort !== 0) numbers.add(nodePort);
  if (service.healthCheckNodePort !== 0) numbers.add(service.healthCheckNodePort);
  return [...numbers];
}

/** The identity of a port as the table records it: `http:80/TCP`; an unnamed one is `:80/TCP`. */
export function portIdentity({ name, port, protocol }: ServicePort): string {
  return `${name}:${port}/${protocol}`;
}

/** How a port is called in messages: its name, else its number. */
export function portLabel({ name, port }: ServicePort): string {
  return name === '' ? `${port}` : name;
}

/** By creation, then namespace/name: the order in which Services that want the same are asked. */
export function byAge(a: { createdAt: number; key: string }, b: { createdAt: number; key: string }): number {
  return a.createdAt - b.createdAt || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

/**
 * Since when it shows that it waits for a number, ms since 1970; undefined: it does not. At the earliest since it was made:
 * who may write its status could otherwise put it first in every line, for the time after a restart.
 */
export function waitsSince({
  condition,
  createdAt,
}: Pick<ServiceView, 'condition' | 'createdAt'>): number | undefined {
  if (condition?.reason !== 'PortTaken') return undefined;
  const told = Date.parse(condition.lastTransitionTime);
  return told > createdAt ? told : createdAt;
}

const NO_LABELS: Readonly<Record<string, string>> = {};

function ourAnnotations(all: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const ours: Record<string, string> = {};
  for (const name of Object.values(ANNOTATION)) {
    const value = all[name];
    if (value !== undefined) ours[name] = value;
  }
  return ours;
}

function shown({ status, reason, message, lastTransitionTime }: ShownCondition): ShownCondition {
  return { status, reason, message, lastTransitionTime };
}

/** `port/protocol` → manager, from the entries that own `f:spec.f:ports.k:{…}.f:nodePort`. */
function nodePortOwners(managedFields: readonly unknown[]): Map<string, string> {
  const owners = new Map<string, string>();
  for (const field of managedFields) {
    const { manager, ...entry } = field as ManagedFields;
    const ports = ownedBelow(entry, PORTS);
    if (manager === undefined || ports === undefined) continue;
    for (const [key, fields] of Object.entries(ports)) {
      if (fields?.['f:nodePort'] === undefined) continue;
      const port = portOfKey(key);
      if (port === undefined) continue;
      const known = owners.get(port);
      if (known === undefined || known === FIELD_MANAGER) owners.set(port, manager);
    }
  }
  return owners;
}

/**
 * `80/TCP` for `k:{"port":80,"protocol":"TCP"}`; undefined for anything else. Whoever may edit a Service may write its
 * managedFields, and the apiserver takes any value there: a Service that could hide so would be missing in the ledger.
 */
function portOfKey(key: string): string | undefined {
  if (!key.startsWith('k:')) return undefined;
  try {
    const { port, protocol = 'TCP' } = JSON.parse(key.slice(2)) as { port?: unknown; protocol?: unknown };
    return typeof port === 'number' && typeof protocol === 'string' ? `${port}/${protocol}` : undefined;
  } catch {
    return undefined;
  }
}

const PORTS = ['f:spec', 'f:ports'];
