/**
 * What must hold in every trace. It judges decisions and writes by what people declared and by what the cluster
 * shows, never by asking the code under test.
 */
import { parseEntry } from '../../src/allocation/entry.ts';
import type { Decision, Entry, NamespaceView } from '../../src/allocation/types.ts';
import type { PortRange, PortSpan } from '../../src/api/portRange.ts';
import { readHoldings } from '../../src/api/holdings.ts';
import { ANNOTATION, FIELD_MANAGER } from '../../src/api/names.ts';
import { REASONS, type Verdict } from '../../src/api/reasons.ts';
import { byAge, numbersOf, type ServiceView } from '../../src/api/service.ts';
import type { Cluster } from './cluster.ts';
import { type ControllerModel, shows, type Watcher, writesOf } from './controllerModel.ts';

type Cache = ReadonlyMap<string, ServiceView>;

interface Stage {
  readonly cluster: Cluster;
  readonly table: ReadonlyMap<number, string>;
  readonly objects: ReadonlyMap<string, PortRange>;
  readonly namespace: (name: string) => NamespaceView;
  readonly now: () => number;
}

export type Invariants = Watcher & {
  /** A new process: it knows who waits only by asking again. */
  started(): void;
  tableDamaged(): void;
  settled(controller: ControllerModel): void;
};

/** What was granted in full: in the table and on the Service. */
interface Granted {
  readonly request: string;
  readonly numbers: Set<number>;
}

interface Waiter {
  readonly key: string;
  readonly createdAt: number;
  readonly range: string;
  readonly need: number;
  /** The how-manieth decision put it in line. */
  readonly since: number;
}

export function createInvariants(stage: Stage): Invariants {
  const { cluster, table, objects, now } = stage;
  const granted = new Map<string, Granted>();
  const waiters = new Map<string, Waiter>();
  let decisions = 0;
  /** Services, by UID, on which another manager has named a number: these it may hold for good. */
  const pinned = new Set<string>();

  function check(holds: boolean, law: string, detail: unknown): void {
    if (!holds)
      throw new Error(
        `${law}: ${JSON.stringify(detail, (_, v: unknown) => (v instanceof Map || v instanceof Set ? [...v] : v))}`,
      );
  }

  const entryAt = (number: number): Entry | undefined => parseEntry(table.get(number) ?? '');

  /** Why nobody but this Service may have the number, as far as the cache and the table know. */
  function othersClaim(number: number, service: ServiceView, cache: Cache): string | undefined {
    for (const other of cache.values())
      if (other.uid !== service.uid && numbersOf(other).includes(number)) return `in use by ${other.key}`;
    const entry = entryAt(number);
    // Another UID under the same name is its former self, gone and not yet written down as such.
    if (entry?.state === 'Held' && entry.service !== service.key) return `Held for ${entry.service}`;
    if (entry?.state === 'Released' && (entry.until ?? 0) > now() && entry.service !== service.key)
      return 'cooling down';
    return undefined;
  }

  function isFree(number: number, cache: Cache, controller?: ControllerModel): boolean {
    const nobody = { uid: '', key: '' } as ServiceView;
    return (
      othersClaim(number, nobody, cache) === undefined && controller?.ledger.holding(number)?.by !== 'refusal'
    );
  }

  /** What the range can give, worked out from the PortRanges as they are written. */
  function givable(name: string): number[] {
    const range = objects.get(name);
    if (range === undefined) return [];
    const age = ({ metadata }: PortRange): { createdAt: number; key: string } => ({
      createdAt: Date.parse(metadata.creationTimestamp),
      key: metadata.name,
    });
    const older = [...objects.values()].filter((other) => byAge(age(other), age(range)) < 0);
    const numbers = new Set<number>();
    for (const { from, to = from } of range.spec.ranges) for (let n = from; n <= to; n++) numbers.add(n);
    return [...numbers].filter(
      (n) => !isIn(n, range.spec.excluded ?? []) && !older.some(({ spec }) => isIn(n, spec.ranges)),
    );
  }

  function isAdmitted(name: string, namespace: string): boolean {
    const spec = objects.get(name)?.spec;
    if (spec === undefined) return false;
    const { namespaces, namespaceSelector } = spec;
    if (namespaces === undefined && namespaceSelector === undefined) return true;
    const wanted = namespaceSelector?.matchLabels?.['team'];
    return (
      (namespaces ?? []).includes(namespace) ||
      (wanted !== undefined && stage.namespace(namespace).labels['team'] === wanted)
    );
  }

  function inOrder(service: ServiceView, decision: Extract<Decision, { do: 'assign' }>, cache: Cache): void {
    const free = givable(decision.range).filter((n) => isFree(n, cache));
    const has = new Set(numbersOf(service));
    const fresh = decision.grants.filter(({ number }) => !has.has(number) && free.includes(number));
    if (fresh.length === 0) return;
    const line = [...waiters.values()].filter(({ range, key }) => range === decision.range && cache.has(key));
    const own = waiters.get(service.key);
    // A newcomer comes after all who wait; a waiter after those who are older and waited before.
    const isAhead = (other: Waiter): boolean =>
      own?.range !== decision.range || (byAge(other, own) < 0 && other.since < own.since);
    let left = free.length;
    for (const { need } of line.filter(isAhead).toSorted(byAge)) if (need <= left) left -= need;
    check(fresh.length <= left, 'waiters are served in order, before newcomers', {
      service,
      decision,
      line,
      free,
    });
  }

  function entry(number: number, after: Entry | undefined, cache: Cache): void {
    const before = entryAt(number);
    const live = (uid: string): ServiceView | undefined => [...cache.values()].find((s) => s.uid === uid);
    const detail = { number, before, after };
    if (after?.state === 'Released') {
      const owner = live(after.uid);
      check(owner === undefined || !numbersOf(owner).includes(number), 'no early release', {
        ...detail,
        owner,
      });
      granted.get(after.uid)?.numbers.delete(number);
    }
    if (after?.state === 'Held' && before?.state === 'Held' && before.uid !== after.uid) {
      const owner = live(before.uid);
      check(owner === undefined || !numbersOf(owner).includes(number), 'unique in the table', detail);
    }
    if (after === undefined && before?.state === 'Released')
      check(
        (before.until ?? 0) + 30 * 24 * 3_600_000 <= now(),
        'a released number rests, and is history for 30 days',
        detail,
      );
    if (after !== undefined && before !== undefined && after.service !== before.service)
      check(after.previous?.[0]?.service === before.service, 'each owner is recorded', detail);
    check((after?.previous?.length ?? 0) <= 3, 'three previous owners at most', detail);
  }

  function service(view: ServiceView, numbers: ReadonlyMap<number, number>): void {
    const request = requestOf(view);
    check(request !== undefined, 'no theft: an unmanaged Service is never written', view);
    const before = granted.get(view.uid);
    for (const [index, number] of numbers) {
      const port = view.ports[index];
      const old = port?.nodePort ?? 0;
      const detail = { view, numbers, before };
      check(
        old === 0 || port?.owner === undefined || port.owner === FIELD_MANAGER,
        'no theft: a claim is never rewritten',
        detail,
      );
      check(
        !before?.numbers.has(old) || before.request !== request,
        'sticky: a holder moves by its own wish only',
        detail,
      );
      const told = readHoldings(view.condition?.message ?? '')?.numbers.includes(old) ?? false;
      check(
        !told || before === undefined || before.request !== request,
        'sticky: who was told keeps its number',
        detail,
      );
      const text = entryAt(number);
      check(text?.state === 'Held' && text.uid === view.uid, 'reserved in the table before it is written', {
        ...detail,
        text,
      });
    }
  }

  function decided(view: ServiceView, decision: Decision, cache: Cache): void {
    const written = decision.do === 'assign' ? [...writesOf(view, decision).values()] : [];
    if (decision.do === 'assign') {
      for (const number of written) {
        const inRange = givable(decision.range).includes(number) || numbersOf(view).includes(number);
        check(inRange && isAdmitted(decision.range, view.namespace), 'in segment', { view, decision });
        const claim = numbersOf(view).includes(number) ? undefined : othersClaim(number, view, cache);
        check(claim === undefined, `no theft: ${claim}`, { view, decision });
        check(number !== view.healthCheckNodePort, 'capsule: healthCheckNodePort counts', { view, decision });
      }
      check(
        written.length === 0 || objects.get(decision.range)?.spec.paused !== true,
        'a paused range takes no new ones',
        { view, decision },
      );
      inOrder(view, decision, cache);
    }
    if (decision.do !== 'ignore' && decision.do !== 'defer') {
      const { message } = decision.verdict;
      const expected = decision.do === 'refuse' ? undefined : decision.grants.map(({ number }) => number);
      if (expected !== undefined)
        check(same(readHoldings(message)?.numbers ?? [], expected), 'read back', { message, expected });
    }
    if (isPinned(view)) pinned.add(view.uid);
    decisions += 1;
    const before = waiters.get(view.key);
    waiters.delete(view.key);
    if (decision.do === 'refuse' && decision.waitsFor.length > 0)
      waiters.set(view.key, {
        key: view.key,
        createdAt: view.createdAt,
        range: decision.range,
        need: decision.need,
        since: before?.range === decision.range ? before.since : decisions,
      });
    for (const key of waiters.keys()) if (!cache.has(key)) waiters.delete(key);
  }

  function condition(view: ServiceView, verdict: Verdict | undefined): void {
    if (verdict === undefined || REASONS[verdict.reason].status !== 'True') return;
    granted.set(view.uid, {
      request: requestOf(view) ?? '',
      numbers: new Set(readHoldings(verdict.message)?.numbers),
    });
  }

  function settledService(view: ServiceView, controller: ControllerModel): void {
    const request = requestOf(view);
    const held = new Set(
      [...table.keys()].filter((n) => entryAt(n)?.state === 'Held' && entryAt(n)?.uid === view.uid),
    );
    const shown = view.condition;
    const detail = {
      view,
      held,
      ranges: [...objects.values()].map(({ metadata, spec }) => ({ name: metadata.name, ...spec })),
    };
    check(
      (request === undefined) === (shown === undefined),
      'managed Services show a condition, others do not',
      detail,
    );
    const told = shown === undefined ? [] : (readHoldings(shown.message)?.numbers ?? []);
    check(same(told, [...held]), 'the condition names exactly what the table gives', detail);
    const numbers = view.ports.map(({ nodePort }) => nodePort);
    check(
      told.every((n) => numbers.includes(n)),
      'table = reality',
      detail,
    );
    if (shown === undefined) return;
    const range = / (?:from|outside) ([a-z0-9-]+)(?=[;:]|$)/.exec(shown.message)?.[1] ?? '';
    const isGiven = isAdmitted(range, view.namespace) && told.every((n) => givable(range).includes(n));
    if (shown.status === 'True') {
      check(
        same(told, [...new Set(numbers.filter((n) => n !== 0))]),
        'served: it holds all that it has',
        detail,
      );
      check(isGiven === (shown.reason !== 'HeldOutOfRange'), 'in segment, or HeldOutOfRange', detail);
      for (const p of view.ports)
        for (const q of view.ports)
          check(
            p.port !== q.port ||
              [0, p.nodePort].includes(q.nodePort) ||
              p.nodePort === 0 ||
              pinned.has(view.uid),
            'kubernetes #39188: one port, one number',
            detail,
          );
    }
    if (shown.reason === 'RangeExhausted') {
      const free = givable(request ?? '').filter((n) => isFree(n, controller.cache, controller));
      check(free.length < needOf(view, held, request ?? ''), 'who can be served is served', {
        ...detail,
        free,
      });
    }
    const decision = controller.decisionFor(view);
    check(decision.do === 'keep' || decision.do === 'refuse', 'at rest nothing is written', {
      ...detail,
      decision,
    });
    check(
      decision.do === 'ignore' || decision.do === 'defer' || shows(view, decision.verdict),
      'deciding again says the same',
      {
        ...detail,
        decision,
      },
    );
  }

  function isResting(number: number): boolean {
    const entry = entryAt(number);
    return entry?.state === 'Released' && (entry.until ?? 0) > now();
  }

  /** Ports that do not have a number which they would keep. */
  function needOf(view: ServiceView, held: ReadonlySet<number>, request: string): number {
    const before = granted.get(view.uid);
    const keeps = ({ nodePort, owner }: ServiceView['ports'][number]): boolean =>
      (owner !== undefined && owner !== FIELD_MANAGER) ||
      (held.has(nodePort) && before?.request === request) ||
      (givable(request).includes(nodePort) && !isResting(nodePort));
    const kept = new Set(view.ports.filter(keeps).map(({ port }) => port));
    return new Set(view.ports.map(({ port }) => port).filter((port) => !kept.has(port))).size;
  }

  function settled(controller: ControllerModel): void {
    const views = cluster.keys().flatMap((key) => cluster.view(key) ?? []);
    for (const view of views) settledService(view, controller);
    const owners = new Map(views.map((view) => [view.uid, view]));
    for (const [number] of table) {
      const held = entryAt(number);
      if (held?.state !== 'Held') continue;
      const owner = owners.get(held.uid);
      check(
        owner !== undefined && numbersOf(owner).includes(number),
        'table = reality: whom it names has the number',
        { number, held, owner },
      );
    }
    for (const name of objects.keys())
      for (const number of givable(name)) {
        const ledgerSays = controller.ledger.holding(number) === undefined;
        check(
          ledgerSays === isFree(number, controller.cache, controller),
          'no leak: free is what nobody has',
          { number, entry: entryAt(number), holding: controller.ledger.holding(number) },
        );
      }
    for (const view of views) {
      const decision = controller.decisionFor(view);
      controller.ledger.fold(view, decision, now());
    }
    check(controller.ledger.drain(new Map()).entries.size === 0, 'at rest the table is not written', [
      ...table,
    ]);
  }

  return {
    decided,
    entry,
    service,
    condition,
    settled,
    started: () => waiters.clear(),
    tableDamaged() {
      // Where the record is lost, today's request is taken as honoured, and what the condition names as held.
      for (const key of cluster.keys()) {
        const view = cluster.view(key);
        const before = view === undefined ? undefined : granted.get(view.uid);
        if (view === undefined || before === undefined) continue;
        const told = readHoldings(view.condition?.message ?? '')?.numbers ?? [];
        const numbers = new Set([...before.numbers].filter((n) => told.includes(n)));
        const isRecorded = [...before.numbers].some((n) => entryAt(n)?.uid === view.uid);
        granted.set(view.uid, isRecorded ? before : { numbers, request: requestOf(view) ?? '' });
      }
    },
  };
}

function isIn(number: number, spans: readonly PortSpan[]): boolean {
  return spans.some(({ from, to = from }) => from <= number && number <= to);
}

function same(a: readonly number[], b: readonly number[]): boolean {
  const sorted = (numbers: readonly number[]): string =>
    JSON.stringify([...new Set(numbers)].toSorted((x, y) => x - y));
  return sorted(a) === sorted(b);
}

function isPinned({ ports }: ServiceView): boolean {
  return ports.some(({ owner }) => owner !== undefined && owner !== FIELD_MANAGER);
}

/** The annotation, as it counts: spaces around it do not, and `none` asks for nothing. */
function requestOf({ annotations }: ServiceView): string | undefined {
  const text = annotations[ANNOTATION.range]?.trim();
  return text === 'none' ? undefined : text;
}
