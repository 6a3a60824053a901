/**
 * The controller's real code, from the transport up, in a world of which everything is decided by one seed: the
 * apiserver is a model, time is virtual, and one thing happens at a time.
 *
 *   step: the next timer that is due ──► all promises that it settles run to their end ──► the next step
 */
import { TABLE } from '../../src/api/names.ts';
import { portRangeDefaults, type PortRangeSpec } from '../../src/api/portRange.ts';
import type { Millis } from '../../src/kube/clock.ts';
import type { Metrics } from '../../src/observability/metrics.ts';
import { judge, type Recorded } from '../../e2e/support/judge.ts';
import {
  portRange,
  type RangeSpec,
  service,
  type ServiceOptions,
  servicesPath,
  RANGES,
} from '../../e2e/support/objects.ts';
import { type ManualClock, manualClock } from '../support/manualClock.ts';
import { type Apiserver, type Change, createApiserver, type SimAnswer, type SimObject } from './apiserver.ts';
import type { Faults, Victim } from './faults.ts';
import { createMachine } from './machine.ts';
import { createNetwork } from './network.ts';
import type { JsonObject } from './patches.ts';
import { DEFAULTS, type LogLine, type SimProcess, startProcess } from './process.ts';

const NODE_PORTS: NodePortRange = [30_000, 30_299];
const LEASES = `/apis/coordination.k8s.io/v1/namespaces/${DEFAULTS.namespace}/leases`;
/** Nothing is written for so long: it rests. Longer than the longest backoff that it could be waiting for. */
const RESTS_AFTER: Millis = 35_000;
const LONGEST: Millis = 3_600_000;
/** Putting etcd back takes the apiserver down, for longer than the longest pause of a reflector. */
const DOWN_FOR: Millis = 60_000;
const RESTARTED_AFTER: Millis = 1_000;

/** How late a decision may see what an admin did, when faults delay it: the longest lag and silence, and what follows. */
const VIEWS_LAG: Millis = 180_000;

type NodePortRange = readonly [first: number, last: number];

export interface SimulationOptions {
  readonly seed: number;
  /** The apiserver's own range. */
  readonly nodePorts?: NodePortRange;
  /** What the controller's flag says of it. */
  readonly told?: string;
  /** They are told what the controllers do, and read what they know. */
  readonly metrics?: Metrics;
  /** Told every line that any process logs. */
  readonly onLog?: (line: LogLine) => void;
  readonly concurrency?: number;
  readonly faults?: Faults;
  /** More than one: with leader election. @default 1 */
  readonly replicas?: number;
}

export type { LogLine, SimProcess } from './process.ts';

export interface Simulation {
  readonly server: Apiserver;
  readonly clock: ManualClock;
  /** As an admin or a team, at once; throws when it is refused. */
  request(method: string, path: string, body?: object, contentType?: string): SimObject;
  namespace(name: string, annotations?: JsonObject): void;
  range(name: string, from: number, to: number, spec?: Partial<PortRangeSpec>): void;
  service(key: string, options?: ServiceOptions): void;
  edit(key: string, patch: JsonObject): void;
  editStatus(key: string, status: JsonObject): void;
  remove(key: string): void;
  list(path: string): SimObject[];
  services(): SimObject[];
  start(): SimProcess;
  /**
   * Starts all replicas, and another whenever one has ended: what a Deployment does. Returns the one that leads, or
   * any while none does.
   */
  supervise(): () => SimProcess;
  /** Who is alive. */
  processes(): readonly SimProcess[];
  /** SIGTERM; resolves when it has drained. */
  stop(process: SimProcess): Promise<void>;
  /** Whom the Lease names; '': nobody. */
  leaseHolder(): string;
  /** Moves the wall clock of the controller's machines, and nobody else's. */
  stepClock(ms: Millis): void;
  /** Breaks all connections. */
  resetConnections(): void;
  /** The apiserver is killed, and back after so long. */
  outage(ms: Millis): void;
  /**
   * An older snapshot of etcd: all is as it was at that revision, and what was judged after it never happened. The
   * apiserver is down for so long; 0: connections break, and none is refused.
   */
  restore(revision: number, downFor?: Millis): void;
  /** Lets things happen until `condition` holds. Throws when nothing more happens, or after an hour. */
  until(what: string, condition: () => boolean): Promise<void>;
  elapse(ms: Millis): Promise<void>;
  /** Until nobody has written anything for a while. */
  rest(): Promise<void>;
  /** Breaches of the rules in the whole history. */
  violations(): readonly string[];
}

export function createSimulation(options: SimulationOptions): Simulation {
  const { seed, concurrency = 4, faults = {}, replicas = 1, nodePorts = NODE_PORTS } = options;
  const clock = manualClock();
  const random = randomFrom(seed);
  const server = createApiserver({ nodePorts, now: clock.now, random: randomFrom(seed + 1) });
  // Beside the server's own, which a restored etcd cuts off.
  let changes: Timed[] = [];
  const past: string[] = [];
  const alive = new Map<SimProcess, () => void>();
  let lastWrite = 0;
  let downUntil = 0;
  let skew = 0;
  let started = 0;
  server.subscribe((change) => {
    changes.push({ ...change, at: clock.monotonic() });
    if (change.resource !== 'events' && change.resource !== 'leases') lastWrite = clock.monotonic();
  });

  function request(
    method: string,
    path: string,
    body?: object,
    contentType = 'application/merge-patch+json',
  ): SimObject {
    const answer: SimAnswer = server.handle({
      method,
      path: `${path}?fieldManager=team`,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      contentType,
    });
    if (answer.status > 299)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body['message'])}`);
    return answer.body as SimObject;
  }

  const list = (path: string): SimObject[] => request('GET', path)['items'] as unknown as SimObject[];

  async function until(what: string, condition: () => boolean): Promise<void> {
    const deadline = clock.monotonic() + LONGEST;
    while (!condition()) {
      if (clock.monotonic() > deadline || !(await clock.step())) {
        throw new Error(`seed ${seed}: not ${what} at ${clock.monotonic()} ms`);
      }
    }
  }

  const isDown = (): boolean => clock.monotonic() < downUntil;

  function leaseHolder(): string {
    const [lease] = list(LEASES);
    return (lease?.['spec'] as { holderIdentity?: string } | undefined)?.holderIdentity ?? '';
  }

  /** Nobody writes while a Lease names somebody else. */
  function fence(identity: string, { method, path }: { method: string; path: string }): void {
    if (replicas === 1 || isDown() || path.startsWith(LEASES)) return;
    const holder = leaseHolder();
    if (holder !== '' && holder !== identity)
      past.push(`Fenced: ${identity} sent ${method} ${path} while ${holder} had the Lease`);
  }

  function start(): SimProcess {
    const identity = `sim_${(started += 1)}`;
    const machine = createMachine(clock, random, () => skew);
    const victim: Victim = {
      kill: () => process.kill(),
      freeze: machine.freeze,
      thaw: machine.thaw,
      cutOff: (isCutOff) => network.cutOff(isCutOff),
    };
    const onSend = (request: { method: string; path: string }): void => fence(identity, request);
    const network = createNetwork({ server, clock, machine, random, faults, victim, isDown, onSend });
    const process = startProcess({
      identity,
      machine,
      network,
      random,
      concurrency,
      elects: replicas > 1,
      metrics: options.metrics,
      onLog: options.onLog,
      told: options.told,
      onEnd: () => void alive.delete(process),
    });
    alive.set(process, network.reset);
    return process;
  }

  function verdicts(): readonly string[] {
    const ours = new Set(changes.filter(isOurs).map(({ revision }) => `${revision}`));
    const verdict = judge(
      changes.flatMap(recorded),
      ({ object }) => ours.has(object.metadata.resourceVersion),
      VIEWS_LAG,
    );
    return replicas === 1 ? verdict : [...verdict, ...sharedEpochs(changes)];
  }

  function supervise(): () => SimProcess {
    const slots = Array.from({ length: replicas }, start);
    const look = (): void => {
      for (const [i, { ended }] of slots.entries()) if (ended !== undefined) slots[i] = start();
      clock.after(RESTARTED_AFTER, look);
    };
    clock.after(RESTARTED_AFTER, look);
    return () => {
      const holder = replicas === 1 ? '' : leaseHolder();
      return slots.find(({ identity }) => identity === holder) ?? (slots[0] as SimProcess);
    };
  }

  function resetConnections(): void {
    for (const reset of alive.values()) reset();
  }

  function outage(ms: Millis): void {
    downUntil = clock.monotonic() + ms;
    resetConnections();
  }

  return {
    server,
    clock,
    request,
    namespace: (name, annotations = {}) =>
      void request('POST', '/api/v1/namespaces', { metadata: { name, annotations, labels: { team: name } } }),
    range: (name, from, to, spec = {}) =>
      void request(
        'POST',
        RANGES,
        portRange(name, from, to, { ...portRangeDefaults, ...spec } as Partial<RangeSpec>),
      ),
    service: (key, options) =>
      void request('POST', `/api/v1/namespaces/${key.split('/')[0]}/services`, service(key, options)),
    edit: (key, patch) => void request('PATCH', servicesPath(key), patch),
    editStatus: (key, status) => void request('PATCH', `${servicesPath(key)}/status`, { status }),
    remove: (key) => void request('DELETE', servicesPath(key)),
    list,
    services: () => list('/api/v1/services'),
    start,
    supervise,
    processes: () => [...alive.keys()],
    async stop(process) {
      process.terminate();
      await until('stopped', () => process.ended !== undefined);
    },
    leaseHolder,
    stepClock(ms) {
      skew += ms;
    },
    restore(revision, downFor = DOWN_FOR) {
      past.push(...verdicts());
      const to = Math.max(1, revision);
      server.restore(to);
      changes = changes.filter((change) => change.revision <= to);
      outage(downFor);
    },
    resetConnections,
    outage,
    until,
    async elapse(ms) {
      const end = clock.monotonic() + ms;
      clock.after(ms, () => undefined);
      await until('later', () => clock.monotonic() >= end);
    },
    async rest() {
      const since = clock.monotonic();
      await until('at rest', () => clock.monotonic() - Math.max(lastWrite, since) > RESTS_AFTER);
    },
    violations: () => [...past, ...verdicts()],
  };
}

/** A change, and when it was made, ms. */
type Timed = Change & { readonly at: Millis };

function isOurs({ manager }: Change): boolean {
  return manager === 'nodeport-manager';
}

/** Epochs under which more than one process has written to the table. */
function sharedEpochs(changes: readonly Change[]): string[] {
  const writers = new Map<string, Set<string>>();
  for (const change of changes) {
    const { name = '', annotations } = change.object?.metadata ?? {};
    if (!isOurs(change) || !/^nodeport-table-\d+$/.test(name)) continue;
    const stamp = annotations?.[TABLE.epochAnnotation];
    const [epoch = '', identity = ''] = typeof stamp === 'string' ? stamp.split('/') : [];
    writers.set(epoch, (writers.get(epoch) ?? new Set()).add(identity));
  }
  return [...writers]
    .filter(([, all]) => all.size > 1)
    .map(([epoch, all]) => `One writer: ${[...all].join(' and ')} wrote in epoch ${epoch}`);
}

function recorded({ resource, object, before, revision, at }: Timed): Recorded[] {
  const kind = (
    {
      services: 'Service',
      configmaps: 'ConfigMap',
      portranges: 'PortRange',
      namespaces: 'Namespace',
    } as const
  )[resource];
  if (kind === undefined) return [];
  const last = object ?? before;
  const metadata = { ...last?.metadata, resourceVersion: `${revision}` };
  return [
    {
      kind,
      object: { ...last, metadata },
      deleted: object === undefined,
      at,
    } as unknown as Recorded,
  ];
}

/** mulberry32: small, and the same everywhere. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
