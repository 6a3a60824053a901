/**
 * The controller's real code, from the transport up, in a world of which everything is decided by one seed: the
 * apiserver is a model, time is virtual, and one thing happens at a time.
 *
 *   step: the next timer that is due ──► all promises that it settles run to their end ──► the next step
 */
import {
  createController,
  type Controller,
  type ControllerObserver,
} from '../../src/controller/controller.ts';
import { selfAppointed } from '../../src/controller/mandate.ts';
import { portRangeDefaults, type PortRangeSpec } from '../../src/api/portRange.ts';
import type { Clock, Millis } from '../../src/kube/clock.ts';
import { createEventRecorder } from '../../src/kube/events.ts';
import { createTransport } from '../../src/kube/transport.ts';
import type { Metrics } from '../../src/observability/metrics.ts';
import { observing } from '../../src/observing.ts';
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
import { createNetwork, type Faults } from './network.ts';
import type { JsonObject } from './patches.ts';

const NODE_PORTS: NodePortRange = [30_000, 30_299];
const SYSTEM = 'nodeport-manager-system';
/** Nothing is written for so long: it rests. Longer than the longest backoff that it could be waiting for. */
const RESTS_AFTER: Millis = 35_000;
const LONGEST: Millis = 3_600_000;
/** Putting etcd back takes the apiserver down, for longer than the longest pause of a reflector. */
const DOWN_FOR: Millis = 60_000;
const RESTARTED_AFTER: Millis = 1_000;

type NodePortRange = readonly [first: number, last: number];

/** A line of the log, by its fields. */
export interface LogLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface SimulationOptions {
  readonly seed: number;
  /** The apiserver's own range. */
  readonly nodePorts?: NodePortRange;
  /** What the controller's flag says of it. */
  readonly told?: string;
  readonly concurrency?: number;
  readonly faults?: Faults;
  /** They are told what the controller does, and read what it knows. */
  readonly metrics?: Metrics;
  /** Told every line that any process logs. */
  readonly onLog?: (line: LogLine) => void;
}

export interface SimProcess {
  readonly controller: Controller;
  readonly log: readonly string[];
  /** Undefined while it runs; else why it ended. */
  readonly ended: string | undefined;
  /** SIGKILL. */
  kill(): void;
  /** SIGTERM; resolves when it has drained. */
  stop(): Promise<void>;
}

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
  /** Starts one, and another whenever the last has ended: what a Deployment does. Returns the present one. */
  supervise(): () => SimProcess;
  /** Breaks all connections. */
  resetConnections(): void;
  /** An older snapshot of etcd: all is as it was at that revision, and what was judged after it never happened. */
  restore(revision: number): void;
  /** Lets things happen until `condition` holds. Throws when nothing more happens, or after an hour. */
  until(what: string, condition: () => boolean): Promise<void>;
  elapse(ms: Millis): Promise<void>;
  /** Until nobody has written anything for a while. */
  rest(): Promise<void>;
  /** Breaches of the rules in the whole history. */
  violations(): readonly string[];
}

export function createSimulation(options: SimulationOptions): Simulation {
  const { seed, concurrency = 4, faults = {}, nodePorts = NODE_PORTS, onLog } = options;
  const clock = manualClock();
  const random = randomFrom(seed);
  const server = createApiserver({ nodePorts, now: clock.now, random: randomFrom(seed + 1) });
  // Beside the server's own, which a restored etcd cuts off.
  const changes: Change[] = [];
  const past: string[] = [];
  const networks = new Set<() => void>();
  let lastWrite = 0;
  let downUntil = 0;
  let processes = 0;
  server.subscribe((change) => {
    changes.push(change);
    if (change.resource !== 'events') lastWrite = clock.monotonic();
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

  function start(): SimProcess {
    processes += 1;
    const own = ownClock(clock);
    const network = createNetwork({
      server,
      clock: own,
      random,
      faults,
      isDown: () => clock.monotonic() < downUntil,
    });
    const stop = new AbortController();
    const log: string[] = [];
    let ended: string | undefined;
    const die = (why: string): void => {
      ended ??= why;
      network.cut();
      own.stop();
      networks.delete(network.reset);
    };
    networks.add(network.reset);
    const controller = assemble({
      network,
      clock: own,
      random,
      concurrency,
      log,
      metrics: options.metrics,
      onLog,
      told: options.told,
      identity: `sim_${processes}`,
      onFatal: die,
    });
    const running = controller.run(stop.signal).then(() => (ended ??= 'stopped'));
    return {
      controller,
      log,
      get ended() {
        return ended;
      },
      kill: () => die('killed'),
      async stop() {
        stop.abort();
        await until('stopped', () => ended !== undefined);
        await running;
        die('stopped');
      },
    };
  }

  function verdicts(): readonly string[] {
    const ours = new Set(
      changes.filter(({ manager }) => manager === 'nodeport-manager').map(({ revision }) => `${revision}`),
    );
    return judge(changes.flatMap(recorded), ({ object }) => ours.has(object.metadata.resourceVersion));
  }

  function supervise(): () => SimProcess {
    let present = start();
    const look = (): void => {
      if (present.ended !== undefined) present = start();
      clock.after(RESTARTED_AFTER, look);
    };
    clock.after(RESTARTED_AFTER, look);
    return () => present;
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
    restore(revision) {
      past.push(...verdicts());
      server.restore(Math.max(1, revision));
      downUntil = clock.monotonic() + DOWN_FOR;
      changes.splice(0, changes.length, ...server.history);
      networks.forEach((reset) => reset());
    },
    resetConnections: () => networks.forEach((reset) => reset()),
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

/** As main.ts puts it together, but for flags, pages and signals. */
function assemble(parts: {
  network: ReturnType<typeof createNetwork>;
  clock: Clock;
  random: () => number;
  concurrency: number;
  identity: string;
  log: string[];
  metrics: Metrics | undefined;
  onLog: SimulationOptions['onLog'];
  told: string | undefined;
  onFatal: (message: string) => void;
}): Controller {
  const { network: wire, clock, random, identity, concurrency, metrics, onFatal } = parts;
  const transport = createTransport({
    wire,
    authorize: () => Promise.resolve({}),
    host: 'sim',
    userAgent: 'sim',
    clock,
    random,
    ...(metrics === undefined ? {} : { observer: { answered: metrics.request } }),
  });
  const line = (details: object, message: string): void => {
    parts.log.push(`${message} ${JSON.stringify(details)}`);
    parts.onLog?.({ ...details, msg: message });
  };
  const log = { debug: nothing, info: line, warn: line, error: line };
  const controller = createController({
    namespace: SYSTEM,
    identity,
    concurrency,
    resyncPeriod: 600_000,
    seed: '',
    nodePortRange: parts.told,
    transport,
    events: createEventRecorder({
      transport,
      reportingController: 'sim/controller',
      reportingInstance: identity,
      clock,
    }),
    clock,
    random,
    explains: false,
    log,
    mandate: async () => selfAppointed,
    onFatal,
    observer: metrics === undefined ? unobserved : observing(metrics, log),
  });
  metrics?.watch(controller);
  return controller;
}

const nothing = (): void => undefined;
const unobserved: ControllerObserver = {
  audit: { allocated: nothing, took: nothing, released: nothing },
  conflictSeen: nothing,
  journal: { wrote: nothing, healed: nothing },
  workqueue: { added: nothing, started: nothing, finished: nothing, retried: nothing },
  reflector: { listed: nothing, watched: nothing, failed: nothing },
};

/** The same time; a timer takes 1 ms at least, as Node's do; what was planned by a process that is dead does not happen. */
function ownClock(clock: Clock): Clock & { stop(): void } {
  let isStopped = false;
  return {
    now: clock.now,
    monotonic: clock.monotonic,
    after: (ms, run) => clock.after(Math.max(ms, 1), () => (isStopped ? undefined : run())),
    stop() {
      isStopped = true;
    },
  };
}

function recorded({ resource, object, before, revision }: Change): Recorded[] {
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
      at: revision,
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
