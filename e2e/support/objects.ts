/** The parts of Kubernetes objects that these tests read and write. */

export interface Metadata {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  managedFields?: ManagedFields[];
}

export interface ManagedFields {
  manager: string;
  subresource?: string;
  fieldsV1?: { 'f:spec'?: { 'f:ports'?: Record<string, Record<string, unknown>> } };
}

export interface ServicePort {
  name?: string;
  port: number;
  protocol?: string;
  nodePort?: number;
}

export interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
  lastTransitionTime: string;
}

export interface Service {
  metadata: Metadata;
  spec: {
    type: string;
    ports: ServicePort[];
    healthCheckNodePort?: number;
    allocateLoadBalancerNodePorts?: boolean;
  };
  status: { conditions?: Condition[] };
}

export interface ConfigMap {
  metadata: Metadata;
  data?: Record<string, string>;
}

export interface Namespace {
  metadata: Metadata;
}

export interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

export interface RangeSpec {
  ranges: { from: number; to?: number }[];
  excluded?: { from: number; to?: number }[];
  namespaces?: string[];
  namespaceSelector?: Selector;
  explicitOnly?: { from: number; to?: number }[];
  serviceSelector?: Selector;
  assignment?: string;
  priority?: number;
  strategy?: string;
  paused?: boolean;
  cooldown?: string;
}

export interface PortRange {
  metadata: Metadata & { generation: number };
  spec: RangeSpec;
  status?: Record<string, unknown> & { conditions?: Condition[] };
}

/** An entry of the allocation table. */
export interface Entry {
  state: string;
  service: string;
  uid: string;
  ports: string[];
  range: string;
  request: string;
  since: string;
  until?: string;
  previous?: { service: string; from: string; to: string }[];
}

const SYSTEM = 'nodeport-manager-system';
export const CONDITION = 'nodeport-manager.io/Allocated';
export const RANGE_ANNOTATION = 'nodeport-manager.io/range';
export const PORTS_ANNOTATION = 'nodeport-manager.io/ports';
export const RANGES = '/apis/nodeport-manager.io/v1alpha1/portranges';
export const TABLE = `/api/v1/namespaces/${SYSTEM}/configmaps`;

/** Our condition on the Service. */
export function conditionOf({ status }: Service): Condition | undefined {
  return status.conditions?.find(({ type }) => type === CONDITION);
}

/** Every number that the Service occupies: its node ports and its healthCheckNodePort, each once. */
export function numbersOf({ spec }: Service): number[] {
  const all = [...(spec.ports ?? []).map(({ nodePort = 0 }) => nodePort), spec.healthCheckNodePort ?? 0];
  return [...new Set(all)].filter((number) => number > 0);
}

/** namespace/name */
export function keyOf({ metadata }: { metadata: Metadata }): string {
  return `${metadata.namespace}/${metadata.name}`;
}

export interface ServiceOptions {
  /** Value of the annotation `nodeport-manager.io/range`; absent: the Service does not ask. */
  range?: string | undefined;
  type?: string;
  ports?: ServicePort[];
  annotations?: Record<string, string>;
  labels?: Record<string, string>;
  /** More of the spec. */
  spec?: Record<string, unknown>;
}

/** A Service as a team writes it; by default of type NodePort with the one port 80. `key`: namespace/name. */
export function service(key: string, options: ServiceOptions = {}): object {
  const [namespace, name] = key.split('/');
  const {
    range,
    type = 'NodePort',
    ports = [{ name: 'http', port: 80 }],
    annotations = {},
    labels = {},
    spec,
  } = options;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      namespace,
      name,
      labels,
      annotations: { ...annotations, ...(range === undefined ? {} : { [RANGE_ANNOTATION]: range }) },
    },
    spec: { type, ports, selector: { app: name }, ...spec },
  };
}

/** A PortRange of the numbers `from` to `to`. */
export function portRange(name: string, from: number, to: number, spec: Partial<RangeSpec> = {}): object {
  return {
    apiVersion: 'nodeport-manager.io/v1alpha1',
    kind: 'PortRange',
    metadata: { name },
    spec: { ranges: [{ from, to }], ...spec },
  };
}

export function servicesPath(key: string): string {
  const [namespace, name] = key.split('/');
  return `/api/v1/namespaces/${namespace}/services/${name}`;
}
