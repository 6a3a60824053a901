/**
 * The parts of the controller put together, and the barrier that stands before the first decision:
 *
 *   it is our turn ──► table listed, and before that Services, Namespaces, PortRanges ──► every number in use is in the
 *     ledger ──► table entries on top ──► every block of the table carries our epoch ──► the Services are not older than
 *     what the table had (else all is read again) ──► owners that are gone, then holders, then who names a number, then
 *     the rest by age
 *
 * Until it is our turn only Services, Namespaces and PortRanges are watched: a standby has warm caches and writes nothing.
 * An apiserver that went back in time (a restored etcd) has everything listed anew and the barrier run again.
 */
import PQueue from 'p-queue';
import { createLedger, type Ledger } from '../allocation/ledger.ts';
import { parseDuration, type Range } from '../allocation/range.ts';
import type { Owner } from '../allocation/types.ts';
import { createSurvey, type Usage, usageOf } from '../allocation/usage.ts';
import { portRangeDefaults } from '../api/portRange.ts';
import type { ServiceView } from '../api/service.ts';
import type { Clock, Millis } from '../kube/clock.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { ReflectorObserver } from '../kube/reflector.ts';
import { createThrottle } from '../kube/throttle.ts';
import type { Transport } from '../kube/transport.ts';
import { writesOnlyWhile } from '../kube/writesOnlyWhile.ts';
import { createWorkqueue, type WorkqueueObserver } from '../kube/workqueue.ts';
import { has, sizeOf } from '../ports/portSet.ts';
import { type AuditObserver, createAudit, explainTo, type Log } from './audit.ts';
import { createCaches } from './caches.ts';
import { compiledOnDemand } from './compiled.ts';
import { changesAdmission, changesDecisions, inOrder } from './inputs.ts';
import { createJournal } from './journal.ts';
import type { JournalObserver } from './journalTypes.ts';
import { createLanes } from './lanes.ts';
import { createLoop } from './loop.ts';
import { type ConflictKind, createConflictWatch, type Drifting } from './conflicts.ts';
import { type Mandate, selfAppointed } from './mandate.ts';
import { createNodePortRange } from './nodePortRange.ts';
import { createRangeStatusWriter } from './rangeStatus.ts';
import { keysAtStart, resyncEvery } from './repair.ts';
import { createSettler } from './settle.ts';
import type { Waiting } from './waiting.ts';

/**
 * How often an edit of PortRanges or Namespaces makes all whom it concerns be looked at again: who edits one all the time
 * is not followed with a write to each of a thousand holders every time. What is decided is decided from the latest.
 */
const LOOK_AGAIN_EVERY: Millis = 1_000;
const EVERYWHERE = '*';

/**
 * How often in a row everything is read again because the Services are older than the table. Bounded: where each has an
 * etcd of its own, their revisions tell nothing about each other.
 */
const MOST_OLD_LISTS = 8;

export interface ControllerObserver {
  readonly audit: AuditObserver;
  conflictSeen(kind: ConflictKind): void;
  readonly journal: JournalObserver;
  readonly workqueue: WorkqueueObserver;
  readonly reflector: ReflectorObserver;
}

export interface ControllerOptions {
  /** Where the allocation table is. */
  readonly namespace: string;
  /** Of this process; stands in the table's epoch. */
  readonly identity: string;
  /** Writes to Services at once. */
  readonly concurrency: number;
  readonly resyncPeriod: Millis;
  /** For the strategy Random. */
  readonly seed: string;
  /** The apiserver's own range, `30000-32767`; undefined: find out. */
  readonly nodePortRange: string | undefined;
  readonly transport: Transport;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Whether each decision is explained, check by check, in lines of level debug. */
  readonly explains: boolean;
  readonly observer: ControllerObserver;
  /** Resolves when it is our turn to decide and write; undefined: the signal came first. */
  readonly mandate: (signal: AbortSignal) => Promise<Mandate | undefined>;
  /** The process must end: another leader is at work, or something that cannot be mended. */
  readonly onFatal: (message: string) => void;
}

/** What health and metrics ask. All of it is computed when it is asked. */
export interface ControllerView {
  /** Why the controller is not ready; undefined: it is. */
  notReady(): string | undefined;
  ranges(): ReadonlyMap<string, Range>;
  usage(): ReadonlyMap<string, Usage>;
  waiting(): Iterable<Waiting>;
  conflicts(): ReadonlyMap<ConflictKind, number | undefined>;
  queue(): { depth: number; ages: { longest: number; sum: number } };
  tableSizes(): ReadonlyMap<string, number>;
  /** Size of the apiserver's own range; undefined while that is unknown. */
  nodePortRangeSize(): number | undefined;
  /** How many node ports the Services of the cluster have; undefined before the barrier. */
  nodePortsInUse(): number | undefined;
  /** By cache: ms since the apiserver last said anything about it. */
  cacheSilences(): Iterable<readonly [string, Millis]>;
  /** When everything was last looked at, ms since 1970; undefined before the barrier. */
  lastSync(): Millis | undefined;
}

export interface Controller extends ControllerView {
  /**
   * Watches, and when it has the mandate decides and writes, until the signal. Then drains: takes no work, finishes
   * what is in flight.
   */
  run(signal: AbortSignal): Promise<void>;
}

export function createController(options: ControllerOptions): Controller {
  const { clock, random, log, observer, events } = options;
  const caches = createCaches({
    namespace: options.namespace,
    transport: options.transport,
    clock,
    random,
    observer: observer.reflector,
    onListenerError: (error) => log.error({ error: String(error) }, 'unexpected error in a listener'),
    onRollback,
  });
  const { services, namespaces, portRanges, blocks } = caches;
  const transport = writesOnlyWhile(options.transport, caches.areInTouch);
  /** Undefined: we only watch. */
  let mandate: Mandate | undefined;
  let ledger: Ledger | undefined;
  /** The ledger, once all who concern us are in the queue: before, a holder whose entry is lost looks like a stranger. */
  let counted: Ledger | undefined;
  let lastSync: Millis | undefined;
  let barriers: Promise<void> = Promise.resolve();
  let isBarrierNext = false;
  /** Barriers in a row that found a list of Services older than the table. */
  let tooOld = 0;
  let isStopping = false;

  const nodePorts = createNodePortRange({
    transport,
    log,
    told: options.nodePortRange,
    onChange: () => ranges.outdate(),
  });
  const ranges = compiledOnDemand(
    portRanges,
    () => nodePorts.get(),
    () => {
      lookAgainIn(EVERYWHERE);
      status.touch(ranges.get().keys());
    },
  );
  /** Names of Namespaces whose Services may be decided otherwise now. */
  const outdated = new Set<string>();
  const lookAgain = createThrottle(clock, LOOK_AGAIN_EVERY, () => {
    const isConcerned = ({ namespace }: ServiceView): boolean =>
      outdated.has(EVERYWHERE) || outdated.has(namespace);
    touchAll([...services.values()].filter(isConcerned));
    outdated.clear();
  });

  const queue = createWorkqueue({ clock, random, observer: observer.workqueue });
  const around = { services, namespaces, ranges: ranges.get };
  const lanes = createLanes(around);
  const writes = new PQueue({ concurrency: options.concurrency });
  const audit = createAudit({ clock, log, events, services, observer: observer.audit });
  const journal = createJournal({
    namespace: options.namespace,
    identity: options.identity,
    transport,
    blocks,
    clock,
    random,
    log,
    mandate: () => mandate ?? selfAppointed,
    observer: observer.journal,
    onFound: (port, entry) => ledger?.restore(port, entry, clock.now()),
    onHealed: (heal) => audit.healed(heal),
    onDrift: () => conflicts.look(['table_drift']),
    onFenced: (stamp, block) =>
      options.onFatal(`table block ${block} carries the stamp ${stamp}: another leader is at work`),
  });
  const loop = createLoop({
    ...around,
    clock,
    queue,
    lanes,
    journal,
    writes,
    seed: options.seed,
    settler: createSettler({ transport, events, clock }),
    audit,
    explain: options.explains ? explainTo(log) : undefined,
    onTouched: ({ touched, recounted }) => {
      const concerned = new Set(recounted);
      for (const range of ranges.get().values()) {
        for (const port of touched) if (has(range.declared, port)) concerned.add(range.name);
      }
      status.touch(concerned);
    },
    onRefusal: nodePorts.learn,
    onWaiting: (names) => status.touch(names),
  });
  const status = createRangeStatusWriter({
    transport,
    clock,
    events,
    log,
    views: portRanges,
    ranges: ranges.get,
    usage: (names) => usageOfNamed(names),
    onCounted: lookForConflicts,
    pending: (name) => [...loop.waiting.values()].filter(({ range }) => range === name).length,
  });

  const survey = createSurvey();
  const conflicts = createConflictWatch(
    {
      survey,
      ranges: ranges.get,
      ledger: () => counted,
      service: services.get,
      taken: () => takenPorts(),
      drifting: () => journal.drifting().map((name) => driftingBlock(name)),
    },
    { events, firstSeen: observer.conflictSeen },
  );

  function driftingBlock(name: string): Drifting {
    const { namespace } = options;
    return { name, namespace, uid: blocks.get(`${namespace}/${name}`)?.uid ?? '' };
  }

  /** Who is not decided yet would look like a stranger on its number: then it is looked at again soon. */
  function lookForConflicts(): void {
    if (queue.depth === 0) conflicts.look();
    else status.touch();
  }

  function* takenPorts(): Generator<Owner & { message: string }> {
    for (const [key, { reason, message }] of loop.waiting) {
      const uid = services.get(key)?.uid;
      if (reason === 'PortTaken' && uid !== undefined) yield { key, uid, message };
    }
  }

  function usageOfNamed(names: Iterable<string>): ReadonlyMap<string, Usage> {
    if (counted === undefined) return new Map();
    return usageOf(ranges.get(), counted, survey(ranges.get(), counted), names);
  }

  function touchAll(all: Iterable<ServiceView>): void {
    if (ledger !== undefined) for (const service of inOrder(all, ledger, around)) loop.touch(service);
  }

  portRanges.subscribe(({ before, after }) => {
    if (!changesDecisions(before, after)) return status.touch([after?.key ?? '']);
    ranges.outdate();
  });
  namespaces.subscribe(({ before, after }) => {
    const name = (after ?? before)?.key;
    if (ledger !== undefined && name !== undefined && changesAdmission(before, after)) lookAgainIn(name);
  });

  function lookAgainIn(namespace: string): void {
    outdated.add(namespace);
    lookAgain.ask();
  }

  function onRollback(): void {
    log.warn({}, 'the apiserver went back in time (a restored etcd?): everything is read again');
    // One cache told; what the others show may still be from the time that never was.
    if (mandate === undefined) void caches.listAgain();
    else runBarrier(() => caches.listAgain());
  }

  /** One after the other, and none twice: who tells the same while one is about to begin has it in that one. */
  function runBarrier(first: () => Promise<unknown>): void {
    shut();
    if (isBarrierNext) return;
    isBarrierNext = true;
    barriers = barriers
      .then(() => {
        isBarrierNext = false;
        shut();
        return Promise.all([first(), nodePorts.discover()]);
      })
      .then(barrier)
      .catch((error: unknown) =>
        isStopping ? undefined : options.onFatal(`the barrier failed: ${String(error)}`),
      );
  }

  /** Nothing is decided until the next barrier is passed. */
  function shut(): void {
    ledger = undefined;
    counted = undefined;
    loop.abandon();
    journal.abandon();
  }

  async function barrier(): Promise<void> {
    await Promise.all([caches.synced, loop.drained()]);
    await journal.idle();
    const next = createLedger({ cooldownOf });
    for (const service of services.values()) next.observe(undefined, service, clock.now());
    const { entries, unreadable } = journal.load();
    for (const [port, entry] of entries) next.restore(port, entry, clock.now());
    next.setUnreadable(unreadable, true);
    ledger = next;
    loop.follow(next);
    await journal.open();
    if (isStopping) return;
    if (!caches.haveSeen(journal.newestFound()) && (tooOld += 1) <= MOST_OLD_LISTS) {
      log.warn({}, 'the list of Services is older than the table: everything is read again');
      return runBarrier(() => caches.listAgain());
    }
    tooOld = 0;
    loop.open();
    // Whatever became ready before is among these, and stands where it belongs.
    queue.reset();
    for (const { key, ...how } of keysAtStart({ ...around, lanes }, next)) queue.add(key, how);
    counted = next;
    status.touch(ranges.get().keys());
    lastSync = clock.now();
    log.info({ services: services.size, ranges: portRanges.size, entries: entries.length }, 'barrier passed');
  }

  function cooldownOf(name: string): Millis {
    return ranges.get().get(name)?.cooldown ?? parseDuration(portRangeDefaults.cooldown);
  }

  /** Decides and writes until the signal, then drains. */
  async function lead(signal: AbortSignal): Promise<void> {
    const following = caches.followTable(signal);
    runBarrier(caches.refreshed);
    const parts = { ...around, clock, random, queue, lanes, journal, onResync };
    const { listAgain } = caches;
    void resyncEvery(options.resyncPeriod, { ...parts, ledger: () => ledger, listAgain }, signal);
    await following;
    isStopping = true;
    loop.pause();
    queue.close();
    await loop.drained();
    await journal.idle();
  }

  async function run(signal: AbortSignal): Promise<void> {
    const watching = caches.keepWarm(signal);
    mandate = await options.mandate(signal);
    if (mandate !== undefined) await lead(signal);
    await watching;
    lookAgain.cancel();
    status.close();
    journal.close();
    await events.flush();
    events.close();
  }

  return {
    run,
    notReady,
    ranges: ranges.get,
    usage: () => usageOfNamed(ranges.get().keys()),
    waiting: () => loop.waiting.values(),
    conflicts: conflicts.active,
    queue: () => ({ depth: queue.depth, ages: queue.ages() }),
    tableSizes: () => journal.sizes(),
    nodePortRangeSize() {
      const set = nodePorts.get();
      return set === undefined ? undefined : sizeOf(set);
    },
    nodePortsInUse: () => ledger?.inUse(),
    cacheSilences: caches.silences,
    lastSync: () => lastSync,
  };

  function onResync(): void {
    lastSync = clock.now();
    // Where nobody needs a look, there still may be history that is dropped.
    loop.carryOn();
    // Restarted meanwhile, the apiserver may have another range; and who may read it may have changed.
    void nodePorts.discover();
  }

  function notReady(): string | undefined {
    const isPassed =
      mandate === undefined ? caches.areWarm() : lastSync !== undefined && ledger !== undefined;
    if (!isPassed) return 'the startup barrier is not passed';
    const [newer] = journal.newerBlocks();
    if (newer !== undefined) return `table block ${newer} was written by a newer version`;
    const stale = caches.stale();
    return stale === undefined ? undefined : `the cache of ${stale} is stale`;
  }
}
