/**
 * The apiserver as far as node ports go: it hands out random numbers, refuses taken ones, keeps numbers by port
 * name on a PUT, wipes them when the type has none, and leaves stale owners behind. Deterministic: what is random
 * there comes in as a number here.
 */
import { ANNOTATION, CONDITION_TYPE, FIELD_MANAGER } from '../../src/api/names.ts';
import { REASONS, type Verdict } from '../../src/api/reasons.ts';
import { type RawService, type ServiceView, toServiceView } from '../../src/api/service.ts';

/** The apiserver's whole range of node ports. Small, so that everything collides. */
export const SPACE = { from: 30_000, to: 30_023 } as const;

export type ServiceType = 'ClusterIP' | 'NodePort' | 'LoadBalancer';

export interface PortSpec {
  readonly name: string;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP';
}

interface Stored {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly createdAt: number;
  readonly allocates: boolean;
  revision: number;
  type: ServiceType;
  ports: (PortSpec & { nodePort: number })[];
  healthCheckNodePort: number;
  asks: Asks;
  tier: string | undefined;
  /** Since when, ms. */
  tierSince: number;
  /** `80/TCP` → who set that nodePort last; stays when the number goes. */
  owners: Map<string, string>;
  /** number → since when it is there, ms. */
  numbers: ReadonlyMap<number, number>;
  shown: (Verdict & { lastTransitionTime: string }) | undefined;
}

/** The annotations of a Service. */
export interface Asks {
  readonly range?: string | undefined;
  readonly ports?: string | undefined;
}

export interface NewService {
  readonly namespace: string;
  readonly name: string;
  readonly type: ServiceType;
  readonly ports: readonly PortSpec[];
  readonly asks?: Asks;
  /** The label `tier`. */
  readonly tier?: string | undefined;
  /** Chooses the random numbers, and the explicit ones when `pinned`. */
  readonly pick: number;
  /** The first port names its number. */
  readonly pinned?: boolean;
  /** externalTrafficPolicy: Local. */
  readonly local?: boolean;
  /** allocateLoadBalancerNodePorts. */
  readonly allocates?: boolean;
}

export type WriteAnswer = 'ok' | 'conflict' | { readonly taken: number };

export type Cluster = ReturnType<typeof createCluster>;

export function createCluster(clock: () => number) {
  const services = new Map<string, Stored>();
  let revision = 0;
  let uids = 0;

  function inUse(): Map<number, Stored> {
    const used = new Map<number, Stored>();
    for (const service of services.values()) {
      for (const { nodePort } of service.ports) if (nodePort !== 0) used.set(nodePort, service);
      if (service.healthCheckNodePort !== 0) used.set(service.healthCheckNodePort, service);
    }
    return used;
  }

  function randomFree(pick: number, also: Iterable<number> = []): number | undefined {
    const used = new Set([...inUse().keys(), ...also]);
    const free = [];
    for (let port = SPACE.from; port <= SPACE.to; port++) if (!used.has(port)) free.push(port);
    return free.length === 0 ? undefined : free[(pick * 7) % free.length];
  }

  function hasNodePorts(type: ServiceType): boolean {
    return type !== 'ClusterIP';
  }

  /** Random numbers for blank ports; false when the space is full. Only a create lets ports share one number. */
  function fillIn(service: Stored, pick: number, sharing: boolean): boolean {
    if (!hasNodePorts(service.type) || !service.allocates) return true;
    const filled = service.ports.map((port) => ({ ...port }));
    for (const [i, port] of filled.entries()) {
      if (port.nodePort !== 0) continue;
      const sibling = sharing ? filled.find((p) => p.port === port.port && p.nodePort !== 0) : undefined;
      const number =
        sibling?.nodePort ??
        randomFree(
          pick + i,
          filled.map(({ nodePort }) => nodePort),
        );
      if (number === undefined) return false;
      port.nodePort = number;
    }
    service.ports = filled;
    return true;
  }

  /** Makes a change to a copy and keeps it, unless it fails. */
  function change(key: string, edit: (service: Stored) => boolean | void): boolean {
    const service = services.get(key);
    if (service === undefined) return false;
    const copy = { ...service, ports: service.ports.map((p) => ({ ...p })), owners: new Map(service.owners) };
    if (edit(copy) === false) return false;
    keep(key, copy);
    return true;
  }

  function keep(key: string, service: Stored): void {
    service.revision = ++revision;
    const now = seconds();
    const since = (number: number): [number, number] => [number, service.numbers.get(number) ?? now];
    service.numbers = new Map(
      service.ports.flatMap(({ nodePort }) => (nodePort === 0 ? [] : [since(nodePort)])),
    );
    services.set(key, service);
  }

  /** The apiserver writes whole seconds. */
  function seconds(): number {
    return Math.floor(clock() / 1_000) * 1_000;
  }

  function toRaw(service: Stored): RawService {
    const { namespace, name, uid, createdAt, asks, tier, tierSince, shown } = service;
    const fields = new Map<string, Record<string, object>>();
    for (const [id, manager] of service.owners) {
      const [port, protocol] = id.split('/');
      const owned = fields.get(manager) ?? {};
      owned[`k:{"port":${port},"protocol":"${protocol}"}`] = { 'f:nodePort': {} };
      fields.set(manager, owned);
    }
    return {
      metadata: {
        namespace,
        name,
        uid,
        resourceVersion: String(service.revision),
        creationTimestamp: new Date(createdAt).toISOString(),
        annotations: {
          ...(asks.range === undefined ? {} : { [ANNOTATION.range]: asks.range }),
          ...(asks.ports === undefined ? {} : { [ANNOTATION.ports]: asks.ports }),
        },
        ...(tier === undefined ? {} : { labels: { tier } }),
        managedFields: [
          {
            manager: 'labeller',
            time: new Date(tierSince).toISOString(),
            fieldsV1: { 'f:metadata': { 'f:labels': { 'f:tier': {} } } },
          },
          ...[...fields].map(([manager, owned]) => ({
            manager,
            fieldsV1: { 'f:spec': { 'f:ports': owned } },
          })),
        ],
      },
      spec: {
        type: service.type,
        ports: service.ports,
        healthCheckNodePort: service.healthCheckNodePort,
        allocateLoadBalancerNodePorts: service.allocates,
      },
      ...(shown === undefined
        ? {}
        : {
            status: {
              conditions: [
                {
                  type: CONDITION_TYPE,
                  status: REASONS[shown.reason].status,
                  ...shown,
                },
              ],
            },
          }),
    };
  }

  return {
    keys: () => [...services.keys()].toSorted(),
    inUse: () =>
      new Map([...inUse()].map(([number, { namespace, name }]) => [number, `${namespace}/${name}`])),
    view(key: string): ServiceView | undefined {
      const service = services.get(key);
      return service === undefined ? undefined : toServiceView(toRaw(service));
    },

    create(wanted: NewService): boolean {
      const { namespace, name, type, pick, asks = {}, tier } = wanted;
      const key = `${namespace}/${name}`;
      if (services.has(key)) return false;
      const service: Stored = {
        namespace,
        name,
        uid: `uid-${uids + 1}`,
        createdAt: seconds(),
        revision: 0,
        type,
        asks,
        tier,
        tierSince: seconds(),
        owners: new Map(),
        numbers: new Map(),
        shown: undefined,
        healthCheckNodePort: 0,
        allocates: type !== 'LoadBalancer' || wanted.allocates !== false,
        ports: wanted.ports.map((port) => ({ ...port, nodePort: 0 })),
      };
      const [first] = service.ports;
      if (wanted.pinned && hasNodePorts(type) && first !== undefined) {
        first.nodePort = randomFree(pick) ?? 0;
        service.owners.set(`${first.port}/${first.protocol}`, 'kubectl');
      }
      if (!fillIn(service, pick, true)) return false;
      if (wanted.local && type === 'LoadBalancer') {
        const number = randomFree(
          pick + 3,
          service.ports.map(({ nodePort }) => nodePort),
        );
        if (number === undefined) return false;
        service.healthCheckNodePort = number;
      }
      uids += 1;
      keep(key, service);
      return true;
    },
    remove: (key: string): boolean => services.delete(key),
    annotate: (key: string, asks: Asks): boolean => change(key, (service) => void (service.asks = asks)),
    label: (key: string, tier: string | undefined): boolean =>
      change(key, (service) => {
        service.tier = tier;
        service.tierSince = seconds();
      }),
    /** Since when the Service has this number, ms. */
    since: (key: string, number: number): number => services.get(key)?.numbers.get(number) ?? clock(),
    setType: (key: string, type: ServiceType, pick: number): boolean =>
      change(key, (service) => {
        service.type = type;
        if (hasNodePorts(type)) return fillIn(service, pick, false);
        service.healthCheckNodePort = 0;
        for (const port of service.ports) port.nodePort = 0;
        return true;
      }),
    /** A PUT without nodePorts: kept by name. Nobody owns them then. */
    replacePorts: (key: string, ports: readonly PortSpec[], pick: number): boolean =>
      change(key, (service) => {
        const before = new Map(service.ports.map(({ name, nodePort }) => [name, nodePort]));
        service.ports = ports.map((port) => ({ ...port, nodePort: before.get(port.name) ?? 0 }));
        service.owners.clear();
        return fillIn(service, pick, false);
      }),
    /** Another manager names a number for one port: a free one, or the one it has. */
    pin: (key: string, index: number, pick: number, keep: boolean): boolean =>
      change(key, (service) => {
        const port = service.ports[index % service.ports.length];
        if (port === undefined || !hasNodePorts(service.type)) return false;
        const number = keep ? port.nodePort : randomFree(pick);
        if (number === undefined || number === 0) return false;
        port.nodePort = number;
        service.owners.set(`${port.port}/${port.protocol}`, 'kubectl');
        return true;
      }),
    /** A team's apply: the numbers stay, our mark on them does not. */
    takeMarks: (key: string): boolean => change(key, ({ owners }) => owners.clear()),

    /** Our JSON Patch: node ports by the port's position. */
    patchNodePorts(key: string, resourceVersion: string, numbers: ReadonlyMap<number, number>): WriteAnswer {
      const service = services.get(key);
      if (service === undefined || String(service.revision) !== resourceVersion) return 'conflict';
      const used = inUse();
      for (const number of numbers.values()) {
        const holder = used.get(number);
        if (holder !== undefined && holder !== service) return { taken: number };
        if (number < SPACE.from || number > SPACE.to) throw new Error(`${number} is no node port`);
      }
      change(key, (copy) => {
        for (const [index, number] of numbers) {
          const port = copy.ports[index];
          if (port === undefined || port.nodePort === number) continue;
          port.nodePort = number;
          copy.owners.set(`${port.port}/${port.protocol}`, FIELD_MANAGER);
        }
      });
      return 'ok';
    },
    patchCondition(key: string, resourceVersion: string, verdict: Verdict | undefined): WriteAnswer {
      if (String(services.get(key)?.revision) !== resourceVersion) return 'conflict';
      change(key, (service) => {
        const status = verdict && REASONS[verdict.reason].status;
        const before = service.shown;
        const isSame = before !== undefined && REASONS[before.reason].status === status;
        const lastTransitionTime = isSame ? before.lastTransitionTime : new Date(seconds()).toISOString();
        service.shown = verdict && { ...verdict, lastTransitionTime };
      });
      return 'ok';
    },
  };
}
