/**
 * A small world for traces: a cluster with people in it, our controller, and time. Actions happen to it one by one;
 * the invariants look at every decision and every write, and at the whole once it has settled.
 */
import type { Decision, NamespaceView, Snapshot } from '../../src/allocation/types.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import { portSet } from '../../src/ports/portSet.ts';
import { compileRanges, type Range } from '../../src/allocation/range.ts';
import { type PortRange, type PortRangeSpec, portRangeApiVersion } from '../../src/api/portRange.ts';
import {
  type Asks,
  createCluster,
  type NewService,
  type PortSpec,
  type ServiceType,
  SPACE,
} from './cluster.ts';
import { type ControllerModel, startController } from './controllerModel.ts';
import { createInvariants } from './invariants.ts';

/** One step of a trace. `i` chooses among what there is; an action without an object does nothing. */
export type Action =
  | { do: 'create'; service: NewService }
  | { do: 'delete'; i: number }
  /** Gone and made again under the same name before anybody looks. */
  | { do: 'recreate'; i: number; pick: number }
  | { do: 'annotate'; i: number; asks: Asks }
  | { do: 'labelService'; i: number; tier: string | undefined }
  | { do: 'type'; i: number; type: ServiceType; pick: number }
  | { do: 'ports'; i: number; ports: readonly PortSpec[]; pick: number }
  | { do: 'pin'; i: number; port: number; pick: number; keep: boolean }
  | { do: 'takeMarks'; i: number }
  | { do: 'range'; name: string; spec: PortRangeSpec }
  | { do: 'deleteRange'; name: string }
  | { do: 'label'; namespace: string; team: string | undefined }
  /** The `range` annotation of a Namespace. */
  | { do: 'default'; namespace: string; value: string | undefined }
  | { do: 'tick'; ms: number }
  /** The process ends and starts again; what happened to the table meanwhile. */
  | {
      do: 'restart';
      table: 'kept' | 'lost' | 'half of it lost' | 'one entry lost' | 'one entry spoilt';
      i: number;
    }
  /** The process ends; nobody looks until it is started again. */
  | { do: 'stop' }
  /** One step of the controller alone, so that people act between its steps. */
  | { do: 'observe' | 'decide' | 'write'; i: number }
  | { do: 'settle' };

/** Where the process is killed: around its n-th write, counted from 1. */
export interface CrashPoint {
  readonly at: number;
  readonly when: 'before' | 'after';
  /** `many`: also between two entries of the table, as where they lie in two blocks. */
  readonly blocks?: 'one' | 'many';
}

class Killed extends Error {}

/** More rounds than any of these small clusters needs. */
const ROUNDS = 200;

export type World = ReturnType<typeof createWorld>;

/** listing: in which order Services and PortRanges are listed. */
export interface Circumstances {
  readonly crash?: CrashPoint | undefined;
  readonly listing?: 'by name' | 'backwards';
  readonly onDecision?: (snapshot: Snapshot, decision: Decision) => void;
}

export function createWorld({ crash, listing = 'by name', onDecision }: Circumstances = {}) {
  let now = Date.UTC(2026, 0, 1);
  let writes = 0;
  let births = 0;
  const cluster = createCluster(() => now);
  const listed = <T>(all: readonly T[]): T[] => (listing === 'backwards' ? all.toReversed() : [...all]);
  const table = new Map<number, string>();
  const objects = new Map<string, PortRange>();
  const assignedSince = new Map<string, number>();
  const labels = new Map<string, string>();
  const labelsSince = new Map<string, number>();
  const defaults = new Map<string, { value: string; since: number }>();
  let compiled: ReadonlyMap<string, Range> = new Map();

  const outside = {
    cluster: { ...cluster, keys: () => listed(cluster.keys()) },
    table,
    blocks: crash?.blocks ?? 'one',
    onDecision,
    ranges: () => compiled,
    now: () => now,
    namespace(name: string): NamespaceView {
      const [team, rangeDefault] = [labels.get(name), defaults.get(name)];
      const view = {
        key: name,
        uid: name,
        resourceVersion: '1',
        labels: team === undefined ? {} : { team },
        labelsSince: labelsSince.get(name) ?? 0,
      };
      return rangeDefault === undefined ? view : { ...view, rangeDefault };
    },
    persist(write: () => void): void {
      writes += 1;
      if (writes === crash?.at && crash.when === 'before') throw new Killed();
      write();
      if (writes === crash?.at) throw new Killed();
    },
  };
  const invariants = createInvariants({ ...outside, cluster, objects, assignedSince });
  let controller: ControllerModel | undefined = start();

  function start(): ControllerModel {
    invariants.started();
    return alive(() => startController(outside, invariants)) ?? start();
  }

  /** undefined: the process was killed on the way. */
  function alive<T>(task: () => T): T | undefined {
    try {
      return task();
    } catch (error) {
      if (error instanceof Killed) return undefined;
      throw error;
    }
  }

  /** Lets the controller do something; killed, it comes back. */
  function run(task: (model: ControllerModel) => void): void {
    const model = controller;
    if (model === undefined) return;
    const done = alive(() => {
      task(model);
      return true;
    });
    if (done === undefined) controller = start();
  }

  function round(model: ControllerModel): void {
    for (const key of model.stale()) model.observe(key);
    model.decideAll();
    for (const key of model.working()) {
      while (model.working().includes(key)) model.work(key);
    }
  }

  function settle(): void {
    controller ??= start();
    for (let i = 0; i < ROUNDS; i++) {
      run(round);
      if (controller?.isQuiet()) return invariants.settled(controller);
    }
    throw new Error('it does not come to rest');
  }

  /** The apiserver writes whole seconds. */
  function seconds(): number {
    return Math.floor(now / 1_000) * 1_000;
  }

  function rangesChanged(): void {
    const sources = listed([...objects.values()]).map((object) => ({
      object,
      assignmentSince: assignedSince.get(object.metadata.name) ?? 0,
    }));
    compiled = compileRanges(sources, portSet([SPACE]));
    invariants.compiled(compiled);
    run((model) => model.touchAll());
  }

  function nth<T>(all: readonly T[], i: number): T | undefined {
    return all[i % all.length];
  }

  function setRange(name: string, spec: PortRangeSpec): void {
    const before = objects.get(name)?.metadata;
    births += 1;
    assignedSince.set(name, seconds());
    objects.set(name, {
      apiVersion: portRangeApiVersion,
      kind: 'PortRange',
      metadata: {
        name,
        uid: before?.uid ?? `range-${births}`,
        resourceVersion: String(births),
        generation: (before?.generation ?? 0) + 1,
        creationTimestamp: before?.creationTimestamp ?? new Date(now + births * 1_000).toISOString(),
      },
      spec,
    });
    rangesChanged();
  }

  /** Recreates a Service as it was asked for, under a new UID. */
  function recreate(key: string, pick: number): void {
    const view = cluster.view(key);
    if (view === undefined) return;
    cluster.remove(key);
    const { namespace, name, type, ports } = view;
    cluster.create({
      namespace,
      name,
      pick,
      type: type as ServiceType,
      ports: ports.map(({ name, port, protocol }) => ({ name, port, protocol: protocol as 'TCP' })),
      asks: { range: view.annotations[ANNOTATION.range], ports: view.annotations[ANNOTATION.ports] },
      tier: view.labels['tier'],
    });
  }

  function damageTable(how: Extract<Action, { do: 'restart' }>['table'], i: number): void {
    const number = nth([...table.keys()], i);
    if (how === 'lost') table.clear();
    if (how === 'half of it lost') for (const n of table.keys()) if ((n + i) % 2 === 0) table.delete(n);
    if (number === undefined) return;
    if (how === 'one entry lost') table.delete(number);
    if (how === 'one entry spoilt') table.set(number, '{"state":"Held"');
  }

  function controllerSteps(action: 'observe' | 'decide' | 'write', i: number): void {
    run((model) => {
      const candidates = { observe: model.stale, decide: model.ready, write: model.working }[action]();
      const key = nth(candidates, i);
      if (key === undefined) return;
      ({ observe: model.observe, decide: model.decide, write: model.work })[action](key);
    });
  }

  function act(action: Action): void {
    const key = 'i' in action ? (nth(cluster.keys(), action.i) ?? '') : '';
    switch (action.do) {
      case 'create':
        return void cluster.create(action.service);
      case 'delete':
        return void cluster.remove(key);
      case 'recreate':
        return recreate(key, action.pick);
      case 'annotate':
        return void cluster.annotate(key, action.asks);
      case 'labelService':
        return void cluster.label(key, action.tier);
      case 'type':
        return void cluster.setType(key, action.type, action.pick);
      case 'ports':
        return void cluster.replacePorts(key, action.ports, action.pick);
      case 'pin':
        return void cluster.pin(key, action.port, action.pick, action.keep);
      case 'takeMarks':
        return void cluster.takeMarks(key);
      case 'range':
        return setRange(action.name, action.spec);
      case 'deleteRange':
        objects.delete(action.name);
        assignedSince.delete(action.name);
        return rangesChanged();
      case 'label':
        labelsSince.set(action.namespace, seconds());
        if (action.team === undefined) labels.delete(action.namespace);
        else labels.set(action.namespace, action.team);
        return run((model) => model.touchAll());
      case 'default':
        if (action.value === undefined) defaults.delete(action.namespace);
        else defaults.set(action.namespace, { value: action.value, since: seconds() });
        return run((model) => model.touchAll());
      case 'stop':
        controller = undefined;
        return undefined;
      case 'tick':
        now += action.ms;
        return run((model) => model.tick());
      case 'restart':
        damageTable(action.table, action.i);
        invariants.tableDamaged();
        controller = start();
        return undefined;
      case 'observe':
      case 'decide':
      case 'write':
        return controllerSteps(action.do, action.i);
      case 'settle':
        return settle();
    }
  }

  return {
    cluster,
    table: table as ReadonlyMap<number, string>,
    act,
    settle,
    /** Waits until what the apiserver refused is tried again, and settles. */
    finish(): void {
      settle();
      act({ do: 'tick', ms: 31_000 });
      settle();
    },
    /** Waits until nothing cools down any more, and settles. */
    rest(): void {
      settle();
      act({ do: 'tick', ms: 24 * 3_600_000 });
      settle();
    },
    now: () => now,
    writes: () => writes,
    controller: () => controller ?? start(),
    /** All that people can see, without times. */
    picture(): unknown {
      const services = cluster.keys().map((key) => {
        const { type, ports, condition, uid, healthCheckNodePort } = cluster.view(key) ?? {};
        return {
          key,
          uid,
          type,
          ports,
          healthCheckNodePort,
          reason: condition?.reason,
          message: condition?.message,
        };
      });
      const entries = [...table]
        .toSorted(([a], [b]) => a - b)
        .map(([number, text]) => {
          const {
            since: _,
            until: __,
            released: ___,
            previous,
            ...entry
          } = JSON.parse(text) as Record<string, unknown>;
          const owners = ((previous ?? []) as { service: string }[]).map(({ service }) => service);
          return [number, entry, owners];
        });
      return { services, entries };
    },
  };
}
