/**
 * The controller as a loop without I/O: observe → decide → fold → table → Service → condition, in steps that a
 * trace may interleave or cut short. Everything it knows is lost with it, but for the table and the Services.
 */
import { decide } from '../../src/allocation/decide.ts';
import { formatEntry, parseEntry } from '../../src/allocation/entry.ts';
import { createLedger } from '../../src/allocation/ledger.ts';
import type { Range } from '../../src/allocation/range.ts';
import type { Decision, Entry, NamespaceView, Snapshot } from '../../src/allocation/types.ts';
import type { Verdict } from '../../src/api/reasons.ts';
import type { ServiceView } from '../../src/api/service.ts';
import { concernsUs, inOrder } from '../../src/controller/inputs.ts';
import { shows, wishOf } from '../../src/controller/settle.ts';
import type { Cluster } from './cluster.ts';

/** What is outside of the process. */
export interface Outside {
  readonly cluster: Cluster;
  /** The text of entries, by number: what survives in ConfigMaps. */
  readonly table: Map<number, string>;
  /** Whether all numbers are in one block, so that they are written together, or each in its own. */
  readonly blocks: 'one' | 'many';
  readonly ranges: () => ReadonlyMap<string, Range>;
  readonly namespace: (name: string) => NamespaceView;
  readonly now: () => number;
  /** Called around every write; throws to cut the process short. */
  readonly persist: (write: () => void) => void;
  /** Told of every decision. */
  readonly onDecision?: ((snapshot: Snapshot, decision: Decision) => void) | undefined;
}

/** Numbers of a PortRange that is gone rest that long. */
const FIVE_MINUTES = 300_000;

/** Where the invariants look in. Each hook is called before the thing is done. */
export interface Watcher {
  decided(service: ServiceView, decision: Decision, sees: Sees): void;
  entry(number: number, after: Entry | undefined, sees: Sees): void;
  service(service: ServiceView, numbers: ReadonlyMap<number, number>): void;
  condition(service: ServiceView, verdict: Verdict | undefined): void;
}

/** What the controller knows of the cluster at that time. */
export interface Sees {
  readonly cache: ReadonlyMap<string, ServiceView>;
  /** What the table says, or will say once this round is reserved. */
  entry(number: number): Entry | undefined;
  /** The apiserver has refused it a while ago. */
  isRefused(number: number): boolean;
}

interface Job {
  readonly service: ServiceView;
  readonly decision: Decision;
  readonly step: 'pending' | 'service' | 'condition';
}

export type ControllerModel = ReturnType<typeof startController>;

export function startController(outside: Outside, watcher: Watcher) {
  const { cluster, table, now } = outside;
  const ledger = createLedger({ cooldownOf: (name) => outside.ranges().get(name)?.cooldown ?? FIVE_MINUTES });
  const cache = new Map<string, ServiceView>();
  const queue = new Set<string>();
  const jobs = new Map<string, Job>();
  /** What is decided first, in this order, after a start. */
  let atStart: string[] = [];
  const surroundings = { namespaces: { get: outside.namespace }, ranges: outside.ranges };
  const sees: Sees = {
    cache,
    entry: ledger.entry,
    isRefused: (number) => ledger.holding(number)?.by === 'refusal',
  };

  boot();

  function boot(): void {
    for (const key of cluster.keys()) {
      const service = cluster.view(key);
      if (service === undefined) continue;
      cache.set(key, service);
      ledger.observe(undefined, service, now());
    }
    const live = new Set([...cache.values()].map(({ uid }) => uid));
    for (const [number, text] of table) {
      const entry = parseEntry(text);
      if (entry !== undefined) ledger.restore(number, entry, now());
    }
    for (const [, { state, uid }] of ledger.entries())
      if (state === 'Held' && !live.has(uid)) ledger.gone(uid, now());
    atStart = ordered(cache.values());
    flush();
  }

  function ordered(services: Iterable<ServiceView>): string[] {
    return inOrder(services, ledger, surroundings).map(({ key }) => key);
  }

  function concerns(service: ServiceView): boolean {
    return concernsUs(service, ledger, surroundings);
  }

  function flush(): void {
    const { entries, wake } = ledger.drain(outside.ranges());
    for (const key of wake) queue.add(key);
    const writes = [...entries].map(([number, entry]) => () => {
      if (entry === undefined) table.delete(number);
      else table.set(number, formatEntry(entry));
    });
    for (const [number, entry] of entries) watcher.entry(number, entry, sees);
    if (outside.blocks === 'many') for (const write of writes) outside.persist(write);
    else if (writes.length > 0) outside.persist(() => writes.forEach((write) => write()));
  }

  function stale(): string[] {
    return [...new Set([...cluster.keys(), ...cache.keys()])].filter(
      (key) => cache.get(key)?.resourceVersion !== cluster.view(key)?.resourceVersion,
    );
  }

  /** The watch shows the Service as it is now; what happened between is not seen. */
  function observe(key: string): void {
    const before = cache.get(key);
    const after = cluster.view(key);
    if (before?.resourceVersion === after?.resourceVersion) return;
    if (after === undefined) cache.delete(key);
    else cache.set(key, after);
    ledger.observe(before, after, now());
    if (after === undefined || concerns(after) || ledger.ownersAt(key).length > 0) queue.add(key);
    if (after?.uid !== before?.uid) jobs.delete(key);
    flush();
  }

  function decideKey(key: string): void {
    if (jobs.has(key)) return;
    queue.delete(key);
    const service = cache.get(key);
    for (const uid of ledger.ownersAt(key)) if (uid !== service?.uid) ledger.gone(uid, now());
    if (service !== undefined) decideService(service);
  }

  function decideService(service: ServiceView): void {
    const decision = decisionFor(service);
    watcher.decided(service, decision, sees);
    ledger.fold(service, decision, now());
    if (decision.do === 'defer') return;
    if (decision.do === 'assign' && writesOf(service, decision).size > 0)
      jobs.set(service.key, { service, decision, step: decision.leaves.length > 0 ? 'pending' : 'service' });
    else if (!shows(service, wishOf(decision).verdict))
      jobs.set(service.key, { service, decision, step: 'condition' });
  }

  function decisionFor(service: ServiceView): Decision {
    const namespace = outside.namespace(service.namespace);
    const snapshot = { now: now(), seed: '', service, namespace, ranges: outside.ranges(), ledger };
    const decision = decide(snapshot);
    outside.onDecision?.(snapshot, decision);
    return decision;
  }

  /** The next write for the Service. Whatever comes of it, the Service is looked at again. */
  function work(key: string): void {
    const job = jobs.get(key);
    if (job === undefined) return;
    jobs.delete(key);
    const { service, decision, step } = job;
    const next = (step: Job['step']): void => {
      observe(key);
      const after = cache.get(key);
      if (after?.uid === service.uid) jobs.set(key, { service: after, decision, step });
    };
    if (decision.do === 'assign' && step === 'pending') {
      const message = `moves from ${decision.leaves.join(', ')}`;
      if (writeCondition(service, { reason: 'Pending', message })) return next('service');
    } else if (decision.do === 'assign' && step === 'service') {
      if (writeService(service, writesOf(service, decision))) return next('condition');
    } else writeCondition(service, wishOf(decision).verdict);
    observe(key);
    if (cache.has(key)) queue.add(key);
  }

  /** False when the Service has changed since it was decided. */
  function writeCondition(service: ServiceView, verdict: Verdict | undefined): boolean {
    const { key, resourceVersion } = service;
    if (cluster.view(key)?.resourceVersion !== resourceVersion) return false;
    watcher.condition(service, verdict);
    outside.persist(() => void cluster.patchCondition(key, resourceVersion, verdict));
    return true;
  }

  /** The change of a crash or a refusal is that of one patch: all ports or none. */
  function writeService(service: ServiceView, numbers: ReadonlyMap<number, number>): boolean {
    const { key, uid, resourceVersion } = service;
    if (cluster.view(key)?.resourceVersion !== resourceVersion) return false;
    const taken = [...numbers.values()].find((number) => (cluster.inUse().get(number) ?? key) !== key);
    if (taken !== undefined) {
      ledger.refused(uid, taken, now());
      flush();
      return false;
    }
    watcher.service(service, numbers);
    outside.persist(() => void cluster.patchNodePorts(key, resourceVersion, numbers));
    return true;
  }

  return {
    ledger,
    sees,
    stale,
    observe,
    decisionFor,
    work,
    /** Services to decide about: after a start in their order, else those that are ready. */
    ready: (): string[] => (atStart.length > 0 ? atStart.slice(0, 1) : [...queue]),
    working: (): string[] => [...jobs.keys()],
    decide(key: string): void {
      atStart = atStart.filter((other) => other !== key);
      decideKey(key);
      flush();
    },
    /** A round, in order: holders first, then by age. It is reserved as a whole. */
    decideAll(): void {
      const keys = atStart.length > 0 ? atStart : [...queue].filter((key) => !cache.has(key));
      if (atStart.length === 0) {
        const services = [...queue].flatMap((key) => cache.get(key) ?? []);
        // Those that nothing reaches any more come last: they may have to be cleaned up after.
        keys.push(...new Set([...ordered(services), ...services.map(({ key }) => key)]));
      }
      atStart = [];
      for (const key of keys) decideKey(key);
      flush();
    },
    /** A PortRange or the labels of a namespace changed. */
    touchAll(): void {
      for (const service of cache.values()) if (concerns(service)) queue.add(service.key);
    },
    tick(): void {
      ledger.advance(now());
      ledger.forgetHistory(now());
      flush();
    },
    /** Nothing is seen late, nothing is to be decided or written. */
    isQuiet: (): boolean =>
      stale().length === 0 && queue.size === 0 && jobs.size === 0 && atStart.length === 0,
  };
}

/** What the decision changes, by the port's position in the Service. */
export function writesOf(
  service: ServiceView,
  decision: Extract<Decision, { do: 'assign' }>,
): Map<number, number> {
  const writes = new Map<number, number>();
  for (const { number, ports } of decision.grants)
    for (const port of ports)
      if (port.nodePort !== number)
        writes.set(
          service.ports.findIndex((p) => p.port === port.port && p.protocol === port.protocol),
          number,
        );
  return writes;
}
