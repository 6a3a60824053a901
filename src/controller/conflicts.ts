/**
 * Conflicts that the decisions know of, computed from what is held now. What is found for the first time is counted
 * and told once, in an event on each party; what is gone is forgotten, so that it is told again should it return.
 */
import type { Range } from '../allocation/range.ts';
import type { LedgerView, Owner } from '../allocation/types.ts';
import { portRangeApiVersion } from '../api/portRange.ts';
import type { EventRecorder, EventRegarding } from '../kube/events.ts';
import { format, has, intersection, type Port, portsOf } from '../ports/portSet.ts';

const CONFLICT_KINDS = [
  'foreign_in_range',
  'out_of_range',
  'port_taken',
  'range_overlap',
  'table_drift',
  'duplicate',
] as const;
export type ConflictKind = (typeof CONFLICT_KINDS)[number];

export interface Conflict {
  readonly kind: ConflictKind;
  /** The same conflict has the same id, however often it is found. */
  readonly id: string;
  /** What it means, and what to do. */
  readonly message: string;
  readonly services: readonly Owner[];
  readonly range?: Pick<Range, 'name' | 'uid'>;
}

export interface ConflictSources {
  readonly ranges: () => ReadonlyMap<string, Range>;
  readonly ledger: () =>
    | (LedgerView & { duplicates(): Iterable<readonly [Port, readonly Owner[]]> })
    | undefined;
  /** Services that wait for a number somebody holds. */
  readonly taken: () => Iterable<Owner & { readonly message: string }>;
  /** Blocks of the table that are being mended. */
  readonly drifting: () => readonly string[];
}

/** Everything that is in conflict now. */
function findConflicts({ ranges, ledger, taken, drifting }: ConflictSources): Conflict[] {
  const view = ledger();
  if (view === undefined) return [];
  return [
    ...[...ranges().values()].flatMap((range) => [...foreign(range, view), ...overlaps(range)]),
    ...outOfRange(ranges(), view),
    ...[...taken()].map((owner) => ({
      kind: 'port_taken' as const,
      id: owner.uid,
      message: owner.message,
      services: [owner],
    })),
    ...drifting().map((block) => ({
      kind: 'table_drift' as const,
      id: block,
      message: `${block} is being mended`,
      services: [],
    })),
    ...[...view.duplicates()].map(([port, owners]) => ({
      kind: 'duplicate' as const,
      id: `${port}/${owners.map(({ uid }) => uid).join('/')}`,
      message: `${port} is used by ${owners.map(({ key }) => key).join(' and ')}: change or delete one of them`,
      services: owners,
    })),
  ];
}

function* foreign(range: Range, ledger: LedgerView): Generator<Conflict> {
  for (const port of portsOf(intersection(range.effective, ledger.taken))) {
    const holding = ledger.holding(port);
    if (holding?.by !== 'service') continue;
    const entry = ledger.entry(port);
    if (holding.managed && entry?.range === range.name) continue;
    yield {
      kind: 'foreign_in_range',
      id: `${range.uid}/${port}/${holding.owner.uid}`,
      message: `${holding.owner.key} holds ${port} of PortRange ${range.name} without having it from there: let it ask for the range, or move it`,
      services: [holding.owner],
      range,
    };
  }
}

function* overlaps(range: Range): Generator<Conflict> {
  for (const { name, spans } of range.losesTo) {
    yield {
      kind: 'range_overlap',
      id: `${range.uid}/${name}`,
      message: `${range.name} does without ${format(spans)}, which the older PortRange ${name} has: declare the ports in one of them`,
      services: [],
      range,
    };
  }
}

function* outOfRange(ranges: ReadonlyMap<string, Range>, ledger: LedgerView): Generator<Conflict> {
  for (const [port, { state, uid, service, range: name }] of ledger.entries()) {
    const range = ranges.get(name);
    if (state !== 'Held' || (range !== undefined && has(range.effective, port))) continue;
    yield {
      kind: 'out_of_range',
      id: `${uid}/${port}`,
      message: `${service} holds ${port}, which PortRange ${name} would not give now`,
      services: [{ key: service, uid }],
    };
  }
}

/** Remembers what was told. */
export interface ConflictWatch {
  /** Looks again: counts and tells what is new. */
  look(): void;
  /** Active conflicts by kind, every kind included. */
  active(): ReadonlyMap<ConflictKind, number>;
}

export function createConflictWatch(
  sources: ConflictSources,
  parts: { events: EventRecorder; firstSeen: (kind: ConflictKind) => void },
): ConflictWatch {
  let known = new Set<string>();
  return {
    look() {
      const now = new Set<string>();
      for (const conflict of findConflicts(sources)) {
        const id = `${conflict.kind} ${conflict.id}`;
        now.add(id);
        if (known.has(id)) continue;
        parts.firstSeen(conflict.kind);
        tell(parts.events, conflict);
      }
      known = now;
    },
    active() {
      const counts = new Map<ConflictKind, number>(CONFLICT_KINDS.map((kind) => [kind, 0]));
      for (const { kind } of findConflicts(sources)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
      return counts;
    },
  };
}

/** Overlaps, and a number that somebody waits for, are told where they are found: with the status and the refusal. */
function tell(events: EventRecorder, { kind, message, services, range }: Conflict): void {
  if (kind === 'range_overlap' || kind === 'port_taken') return;
  const reason = kind.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const parties: EventRegarding[] = services.map(({ key, uid }) => {
    const [namespace = '', name = ''] = key.split('/');
    return { apiVersion: 'v1', kind: 'Service', namespace, name, uid };
  });
  if (range !== undefined)
    parties.push({ apiVersion: portRangeApiVersion, kind: 'PortRange', name: range.name, uid: range.uid });
  for (const regarding of parties)
    events.record({ regarding, type: 'Warning', reason, action: 'Detect', note: message });
}
