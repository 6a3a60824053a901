/**
 * The main loop. Keys of Services come ready, rounds decide them in order, and everything else follows:
 *
 *   queue ──take──► decide, fold ─► … (up to 256) ──► journal.write ──► settle each Service alone
 *                                                       "reserve"          (32 at once)
 *
 * - A decision sees every earlier one, because each is folded into the ledger before the next is made.
 * - A key is processing from `take` until its Service is settled, so nothing is decided twice at once.
 * - The next round is decided while the last one is being reserved (two at most), and rounds pause while many
 *   Services wait to be settled: so a newcomer of another range joins within one round.
 * - In a stream of newcomers a round waits a moment for company, because each costs a write to the table whatever its
 *   size. On a quiet cluster nothing waits.
 * - What a decision is made from must be as new as our own last write to that Service; else the watch will bring
 *   it and the key comes again.
 */
import { decide } from '../allocation/decide.ts';
import type { Ledger, LedgerChanges } from '../allocation/ledger.ts';
import type { Decision, Snapshot, Transition } from '../allocation/types.ts';
import type { ServiceView } from '../api/service.ts';
import { told } from '../api/text.ts';
import type { Cancel, Clock, Millis } from '../kube/clock.ts';
import type { KubeError } from '../kube/errors.ts';
import type { Store } from '../kube/store.ts';
import type { Workqueue } from '../kube/workqueue.ts';
import type { Port } from '../ports/portSet.ts';
import type { Audit } from './audit.ts';
import { createFreshness, type Learn } from './freshness.ts';
import { concernsUs, type Surroundings } from './inputs.ts';
import type { Journal, Writing } from './journalTypes.ts';
import type { Lanes } from './lanes.ts';
import { type Outcome, type Settler, shows, wishOf } from './settle.ts';
import { createWaitingList, type WaitingList } from './waiting.ts';

const KEYS_A_ROUND = 256;
const ROUNDS_BEING_RESERVED = 2;
/**
 * How long rounds wait for a table write before the next ones go on without it: several times what one takes on a busy
 * cluster, and little to who waits for another block. What waits for a slow block is at most what that has numbers for.
 */
const RESERVE_WAIT: Millis = 250;
/** Services that may wait to be settled before rounds pause. */
const SETTLE_BACKLOG = 128;
/** While so many Services are being settled, fewer ready keys than COMPANY wait for others, but not longer than this. */
const BUSY = 4;
const COMPANY = 64;
const COMPANY_WITHIN: Millis = 50;

export interface LoopParts extends Surroundings {
  readonly clock: Clock;
  readonly services: Store<ServiceView>;
  /** For the strategy Random. */
  readonly seed: string;
  readonly queue: Workqueue;
  readonly lanes: Lanes;
  readonly journal: Journal;
  readonly settler: Settler;
  /** Limits how many writes to Services are under way. */
  readonly writes: {
    add<T>(task: () => Promise<T>): Promise<T>;
    readonly size: number;
    readonly pending: number;
  };
  readonly audit: Audit;
  /** Told of what each decision is made from. */
  readonly explain: ((snapshot: Snapshot) => void) | undefined;
  /** Numbers whose holding changed: their ranges are counted again. */
  readonly onTouched: (changes: Pick<LedgerChanges, 'touched' | 'recounted'>) => void;
  /** The apiserver refused numbers: whether its words tell the range of those that it gives, and we go by that. */
  readonly onRefusal: (error: KubeError) => boolean;
  /** Who waits changed, for these ranges. */
  readonly onWaiting: (ranges: readonly string[]) => void;
}

export interface Loop {
  /** Keeps this ledger equal to what the watch shows, in place of the one before. */
  follow(ledger: Ledger): void;
  /** Starts deciding from the ledger. */
  open(): void;
  /** Decides nothing more until `open`. */
  pause(): void;
  /** The same, and what was decided and is not being written yet is dropped: it was decided from what never was. */
  abandon(): void;
  /** Carries on what changed in the ledger without a key that became ready. */
  carryOn(): void;
  /** Makes the Service's key ready. */
  touch(service: ServiceView): void;
  /** Refused Services, by namespace/name. */
  readonly waiting: WaitingList['all'];
  /** Resolves when nothing is being reserved or settled. */
  drained(): Promise<void>;
}

interface Task {
  readonly service: ServiceView;
  readonly decision: Decision;
}

export function createLoop(parts: LoopParts): Loop {
  const { clock, services, queue, lanes, journal, settler, writes, audit } = parts;
  const waiting = createWaitingList(parts.onWaiting);
  const freshness = createFreshness(clock);
  let ledger: Ledger | undefined;
  let reserving = 0;
  let busy = 0;
  let whenDrained = Promise.withResolvers<void>();
  let timer: Cancel = () => undefined;
  /** Since when a round waits for company. */
  let company: Millis | undefined;
  let isScheduled = false;
  let isOpen = false;

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      pump();
    });
  }

  function pump(): void {
    if (ledger === undefined || !isOpen) return;
    ledger.advance(clock.now());
    absorb(ledger);
    while (reserving < ROUNDS_BEING_RESERVED && writes.size < SETTLE_BACKLOG && queue.depth > 0) {
      if (waitsForCompany()) break;
      round(ledger);
    }
    timer();
    const deadline = ledger.nextDeadline();
    if (Number.isFinite(deadline)) timer = clock.after(Math.max(0, deadline - clock.now()), schedule);
  }

  /** Not for long, and only while the writes under way would make a round wait for its turn all the same. */
  function waitsForCompany(): boolean {
    if (queue.depth >= COMPANY || writes.pending < BUSY) {
      company = undefined;
      return false;
    }
    const now = clock.monotonic();
    if (company === undefined) clock.after(COMPANY_WITHIN, schedule);
    company ??= now;
    if (now - company < COMPANY_WITHIN) return true;
    company = undefined;
    return false;
  }

  /** Carries on what changed in the ledger. */
  function absorb(of: Ledger): Writing {
    const changes = of.drain(parts.ranges());
    const { entries, transitions, wake } = changes;
    for (const key of wake) queue.add(key, { lane: () => lanes.of(key), first: 'in lane' });
    if (changes.touched.size > 0) parts.onTouched(changes);
    const writing = journal.write(entries);
    // Only a closed journal rejects: then we are stopping.
    writing.all.catch(() => undefined);
    for (const each of transitions)
      writing.of([each.port]).then(
        () => tell(of, each),
        () => undefined,
      );
    return writing;
  }

  /** The table says so now; unless it was found to have another owner there, and our reservation is lost. */
  function tell(of: Ledger, transition: Transition): void {
    const { port, entry, kind } = transition;
    const now = of.entry(port);
    if (kind === 'released' || now?.state !== 'Held' || now.uid === entry.uid) audit.recorded(transition);
  }

  function round(of: Ledger): void {
    const tasks: Task[] = [];
    for (const key of queue.take(KEYS_A_ROUND)) {
      const task = decideKey(of, key);
      if (task === 'done') queue.done(key);
      else if (task !== 'busy') tasks.push(task);
    }
    const writing = absorb(of);
    if (tasks.length === 0) return;
    reserving += 1;
    begin();
    for (const task of tasks) {
      const reserved = writing.of(numbersIn(task.decision));
      void reserved.then(
        () => settle(of, task),
        () => queue.done(task.service.key),
      );
    }
    // A block that cannot be written keeps its own Services waiting, and not the rounds after them.
    const goOn = once(() => {
      reserving -= 1;
      schedule();
    });
    const cancel = clock.after(RESERVE_WAIT, goOn);
    const finish = (): void => {
      cancel();
      goOn();
      end();
    };
    writing.all.then(finish, finish);
  }

  /** 'done': nothing to write. 'busy': something must be looked up first, which ends the key itself. */
  function decideKey(of: Ledger, key: string): Task | 'done' | 'busy' {
    const service = services.get(key);
    const learn = freshness.doubt(of, key, service);
    if (learn !== undefined) return lookThen(key, learn);
    lanes.passed(key);
    if (service === undefined) {
      freshness.forget(key);
      waiting.forget(key);
      queue.forget(key);
      return 'done';
    }
    if (freshness.isBehind(service)) return 'done';
    const snapshot = {
      now: clock.now(),
      seed: parts.seed,
      service,
      namespace: parts.namespaces.get(service.namespace),
      ranges: parts.ranges(),
      ledger: of,
    };
    const decision = decide(snapshot);
    parts.explain?.(snapshot);
    if (decision.do === 'defer') return 'done';
    audit.decided(service, decision, of);
    of.fold(service, decision, clock.now());
    waiting.note(key, decision);
    if (decision.do === 'assign' || !shows(service, wishOf(decision).verdict)) return { service, decision };
    audit.shown(service, decision);
    queue.forget(key);
    return 'done';
  }

  /** Asks the apiserver itself about the Service, then goes on; the key comes again. */
  function lookThen(key: string, learn: Learn): 'busy' {
    const [namespace = '', name = ''] = key.split('/');
    begin();
    settler.look({ namespace, name }).then(
      (live) => {
        learn(live);
        queue.done(key);
        // The watch may have shown all there is already; where it has not, it will.
        if (services.get(key)?.uid === live?.uid) queue.add(key, { lane: () => lanes.of(key) });
        end();
      },
      (error: unknown) => {
        audit.unseen(key, error);
        queue.retry(key);
        end();
      },
    );
    return 'busy';
  }

  function settle(of: Ledger, { service, decision }: Task): void {
    if (decision.do === 'assign' && !isReserved(of, service, decision)) return queue.retry(service.key);
    begin();
    writes
      .add(async () => (of === ledger ? settler.settle(service, wishOf(decision)) : undefined))
      .then(
        (outcome) => {
          if (outcome === undefined) queue.done(service.key);
          else settled(of, service, decision, outcome);
          end();
        },
        (error: unknown) => {
          audit.failed(service, error);
          queue.retry(service.key);
          end();
        },
      );
  }

  /** False when the table, read again, had another owner for one of the numbers. */
  function isReserved(
    of: Ledger,
    service: ServiceView,
    { grants }: Extract<Decision, { do: 'assign' }>,
  ): boolean {
    const own = of.entriesOf(service.uid);
    return grants.every(
      ({ number, ports }) => own.has(number) || ports.every(({ nodePort }) => nodePort === number),
    );
  }

  function settled(of: Ledger, service: ServiceView, decision: Decision, outcome: Outcome): void {
    const { key } = service;
    if (outcome.result === 'unknown') freshness.unanswered(key);
    else if (outcome.result !== 'refused' && outcome.resourceVersion !== undefined)
      freshness.wrote(key, outcome.resourceVersion);
    audit.settled(service, decision, outcome);
    if (outcome.result === 'done') {
      queue.forget(key);
      return queue.done(key);
    }
    if (outcome.result === 'refused') {
      const isLearned = parts.onRefusal(outcome.error);
      // An objection that is not about who has the number, and that nothing is learned from, is the Service's alone: it keeps
      // the reservation and tries that again, instead of one number after the other.
      if (outcome.taken || isLearned)
        for (const port of outcome.ports) of.refused(service.uid, port, clock.now());
      if (!outcome.taken) return refuseFor(service, outcome.error.message);
      // Another number is another matter: no backoff but the pause of each number that was refused.
      queue.forget(key);
    }
    queue.retry(key);
  }

  /** The apiserver objects to more than one number: the Service shows its answer, and is tried again later. */
  function refuseFor(service: ServiceView, message: string): void {
    const verdict = { reason: 'RefusedByApiserver', message: told(message) } as const;
    begin();
    const finish = (): void => {
      queue.retry(service.key);
      end();
    };
    writes
      .add(() => settler.settle(service, { verdict, grants: [], leaves: [] }))
      .then((outcome) => {
        if (outcome.result === 'done' && outcome.resourceVersion !== undefined)
          freshness.wrote(service.key, outcome.resourceVersion);
        finish();
      }, finish);
  }

  function begin(): void {
    busy += 1;
  }

  function end(): void {
    busy -= 1;
    schedule();
    if (busy > 0) return;
    whenDrained.resolve();
    whenDrained = Promise.withResolvers();
  }

  services.subscribe(({ before, after }) => {
    if (before !== undefined && before.uid !== after?.uid) audit.gone(before.uid);
    if (ledger === undefined) return;
    ledger.observe(before, after, clock.now());
    const service = after ?? before;
    if (service === undefined) return;
    if (after !== undefined && !concernsUs(after, ledger, parts) && !waiting.all.has(service.key))
      return schedule();
    if (after !== undefined) audit.seen(after);
    touch(service);
  });
  queue.onReady(schedule);

  function pause(): void {
    isOpen = false;
    timer();
  }

  function touch(service: ServiceView): void {
    queue.add(service.key, { lane: () => lanes.of(service.key) });
  }

  return {
    follow(next) {
      ledger = next;
      waiting.clear();
      freshness.clear();
    },
    open() {
      isOpen = true;
      schedule();
    },
    pause,
    abandon() {
      pause();
      ledger = undefined;
    },
    carryOn: schedule,
    touch,
    waiting: waiting.all,
    drained: () => (busy === 0 ? Promise.resolve() : whenDrained.promise),
  };
}

/** The numbers that a decision gives, or leaves, to its Service. */
function numbersIn(decision: Decision): Port[] {
  if (decision.do === 'ignore' || decision.do === 'defer') return [];
  const grants = decision.do === 'refuse' ? (decision.holds?.grants ?? []) : decision.grants;
  return grants.map(({ number }) => number);
}

function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) run();
    isDone = true;
  };
}
