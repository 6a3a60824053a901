import type { JsonObject } from './patches.ts';
import { Refusal } from './refusal.ts';

export interface Port extends JsonObject {
  name?: string;
  port: number;
  protocol: string;
  nodePort?: number;
}

export interface ServiceSpec extends JsonObject {
  type?: string;
  ports?: Port[];
  externalTrafficPolicy?: string;
  healthCheckNodePort?: number;
  allocateLoadBalancerNodePorts?: boolean;
}

/** The apiserver's allocator of node ports: numbers only, whatever the protocol. */
export interface NodePorts {
  /** The spec with its numbers, new ones allocated and those no longer used given back; all of it or nothing. */
  update(before: ServiceSpec | undefined, requested: ServiceSpec): ServiceSpec;
  release(spec: ServiceSpec): void;
  /** Anew from what there is, as after a restored etcd. */
  reset(specs: Iterable<ServiceSpec>): void;
}

const MOST_RESERVED = 128;

/** @param random 0 ≤ n < 1, once for each pick */
export function createNodePorts(first: number, last: number, random: () => number): NodePorts {
  const used = new Set<number>();

  /** The upper part first; the lower one only when that is full (KEP-3668). */
  function pick(taken: ReadonlySet<number>, what: string): number {
    const size = last - first + 1;
    const reserved = size < 16 ? 0 : Math.min(Math.max(16, Math.floor(size / 32)), MOST_RESERVED);
    const start = random();
    for (const [from, to] of [[first + reserved, last] as const, [first, first + reserved - 1] as const]) {
      const count = to - from + 1;
      for (let i = 0; i < count; i += 1) {
        const port = from + ((Math.floor(start * count) + i) % count);
        if (!used.has(port) && !taken.has(port)) return port;
      }
    }
    throw new Refusal(500, 'InternalError', `failed to allocate a ${what}: range is full`);
  }

  function take(port: number, taken: ReadonlySet<number>, field: string): number {
    if (port < first || port > last) {
      const range = `The range of valid ports is ${first}-${last}`;
      throw invalid(field, port, `provided port is not in the valid range. ${range}`);
    }
    if (used.has(port) || taken.has(port)) throw invalid(field, port, 'provided port is already allocated');
    return port;
  }

  /** A Service that is created: entries with the same `port` share one number. */
  function forNew(spec: ServiceSpec, taken: Set<number>): void {
    const together = new Map<number, number>();
    for (const [i, port] of (spec.ports ?? []).entries()) {
      const asked = port.nodePort ?? 0;
      const shared = together.get(port.port);
      const wanted = spec.ports?.find(
        (each) => each.port === port.port && (each.nodePort ?? 0) > 0,
      )?.nodePort;
      if (asked === 0 && !allocates(spec)) continue;
      if (shared !== undefined && (asked === 0 || asked === shared)) port.nodePort = shared;
      else if (asked !== 0) port.nodePort = take(asked, taken, `spec.ports[${i}].nodePort`);
      else if (wanted !== undefined) port.nodePort = take(wanted, taken, `spec.ports[${i}].nodePort`);
      else port.nodePort = pick(taken, 'nodePort');
      taken.add(port.nodePort);
      together.set(port.port, shared ?? port.nodePort);
    }
  }

  /** One that is changed: no sharing then, a blank entry gets a number of its own. */
  function forChanged(spec: ServiceSpec, taken: Set<number>, old: ReadonlySet<number>): void {
    for (const [i, port] of (spec.ports ?? []).entries()) {
      const asked = port.nodePort ?? 0;
      if (asked === 0 && !allocates(spec)) continue;
      if (asked === 0) port.nodePort = pick(taken, 'nodePort');
      else if (!old.has(asked) && !taken.has(asked)) take(asked, taken, `spec.ports[${i}].nodePort`);
      taken.add(port.nodePort ?? 0);
    }
  }

  function update(before: ServiceSpec | undefined, requested: ServiceSpec): ServiceSpec {
    const old = new Set(before === undefined ? [] : numbersOf(before));
    const taken = new Set<number>();
    const spec = copyOf(requested);
    if (hasNodePorts(spec)) keepByName(before, spec);
    else for (const port of spec.ports ?? []) if (wasOf(before, port)) delete port.nodePort;
    if (!hasNodePorts(spec)) forbidNodePorts(spec);
    if (before === undefined) forNew(spec, taken);
    else if (hasNodePorts(spec)) forChanged(spec, taken, old);
    healthCheck(before, spec, taken);
    for (const port of old) if (!taken.has(port)) used.delete(port);
    for (const port of taken) used.add(port);
    return spec;
  }

  function healthCheck(before: ServiceSpec | undefined, spec: ServiceSpec, taken: Set<number>): void {
    if (spec.type !== 'LoadBalancer' || spec.externalTrafficPolicy !== 'Local') {
      delete spec.healthCheckNodePort;
      return;
    }
    const asked = spec.healthCheckNodePort ?? before?.healthCheckNodePort;
    if (asked === undefined) {
      spec.healthCheckNodePort = pick(taken, 'HealthCheck NodePort 0');
    } else {
      const isNew = asked !== before?.healthCheckNodePort;
      spec.healthCheckNodePort = isNew ? take(asked, taken, 'spec.healthCheckNodePort') : asked;
    }
    taken.add(spec.healthCheckNodePort);
  }

  return {
    update,
    release: (spec) => numbersOf(spec).forEach((port) => used.delete(port)),
    reset(specs) {
      used.clear();
      for (const spec of specs) for (const port of numbersOf(spec)) used.add(port);
    },
  };
}

function copyOf(spec: ServiceSpec): ServiceSpec {
  return spec.ports === undefined ? { ...spec } : { ...spec, ports: spec.ports.map((port) => ({ ...port })) };
}

/** A change that leaves a nodePort blank keeps the number of the port of that name, for one entry. */
function keepByName(before: ServiceSpec | undefined, spec: ServiceSpec): void {
  if (before === undefined || !hasNodePorts(before)) return;
  const named = new Set(numbersOf(spec));
  const used = new Set(numbersOf(before).filter((port) => named.has(port)));
  for (const port of spec.ports ?? []) {
    const old = before.ports?.find(({ name = '' }) => name === (port.name ?? ''))?.nodePort ?? 0;
    if ((port.nodePort ?? 0) > 0 || old === 0 || used.has(old)) continue;
    port.nodePort = old;
    used.add(old);
  }
}

function forbidNodePorts({ ports = [], type = '' }: ServiceSpec): void {
  const i = ports.findIndex(({ nodePort = 0 }) => nodePort > 0);
  if (i === -1) return;
  const field = `spec.ports[${i}].nodePort`;
  const message = `Forbidden: may not be used when \`type\` is '${type}'`;
  const causes = [{ field, message, reason: 'FieldValueForbidden' }];
  throw new Refusal(422, 'Invalid', `Service is invalid: ${field}: ${message}`, causes);
}

function wasOf(before: ServiceSpec | undefined, { nodePort }: Port): boolean {
  return before?.ports?.some((port) => port.nodePort === nodePort) === true;
}

function hasNodePorts({ type }: ServiceSpec): boolean {
  return type === 'NodePort' || type === 'LoadBalancer';
}

function allocates(spec: ServiceSpec): boolean {
  return (
    spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false)
  );
}

function numbersOf({ ports = [], healthCheckNodePort = 0 }: ServiceSpec): number[] {
  return [...ports.map(({ nodePort = 0 }) => nodePort), healthCheckNodePort].filter((port) => port > 0);
}

function invalid(field: string, value: number, why: string): Refusal {
  const message = `Invalid value: ${value}: ${why}`;
  return new Refusal(422, 'Invalid', `Service is invalid: ${field}: ${message}`, [
    { field, message, reason: 'FieldValueInvalid' },
  ]);
}
