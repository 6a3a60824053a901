/**
 * Conflicts that the decisions know of, computed from what is held now. What is found for the first time is counted
 * and told once, in an event on each party; what is gone is forgotten, so that it is told again should it return.
 */
import type { Range } from '../allocation/range.ts';
import type { LedgerView, Owner } from '../allocation/types.ts';
import type { createSurvey, Survey } from '../allocation/usage.ts';
import { portRangeApiVersion } from '../api/portRange.ts';
import type { ServiceView } from '../api/service.ts';
import type { EventRecorder, EventRegarding } from '../kube/events.ts';
import { countBoth, format, type Port, portsInBoth, portsOf, sizeOf } from '../ports/portSet.ts';

const CONFLICT_KINDS = [
  'foreign_in_range',
  'out_of_range',
  'port_taken',
  'range_overlap',
  'table_drift',
  'duplicate',
] as const;
export type ConflictKind = (typeof CONFLICT_KINDS)[number];

/** The reason of the event that tells it. A number that somebody waits for is told with the refusal. */
const REASON: Readonly<Record<Exclude<ConflictKind, 'port_taken'>, string>> = {
  foreign_in_range: 'ForeignInRange',
  out_of_range: 'OutOfRange',
  range_overlap: 'RangeOverlap',
  table_drift: 'TableDrift',
  duplicate: 'Duplicate',
};

interface Conflict {
  readonly kind: ConflictKind;
  /** The same conflict has the same id, however often it is found. */
  readonly id: string;
  /** What it means, what to do, and whom it concerns. Asked only once: a scrape counts thousands of conflicts. */
  readonly about: () => { readonly message: string; readonly parties: readonly EventRegarding[] };
}

/** A block of the table that is being mended. */
export interface Drifting {
  readonly name: string;
  readonly namespace: string;
  /** Empty when the block is gone. */
  readonly uid: string;
}

export interface ConflictSources {
  readonly ranges: () => ReadonlyMap<string, Range>;
  /** Undefined: nothing is known yet. */
  readonly ledger: () =>
    | (LedgerView & { duplicates(): Iterable<readonly [Port, readonly Owner[]]> })
    | undefined;
  readonly survey: ReturnType<typeof createSurvey>;
  /** By namespace/name. */
  readonly service: (key: string) => ServiceView | undefined;
  /** Services that wait for a number somebody holds. */
  readonly taken: () => Iterable<Owner & { readonly message: string }>;
  readonly drifting: () => readonly Drifting[];
}

type Ledger = NonNullable<ReturnType<ConflictSources['ledger']>>;

/** What one look sees. */
interface View {
  readonly ranges: ReadonlyMap<string, Range>;
  readonly ledger: Ledger;
  readonly numbers: Survey;
}

type Find = (view: View, sources: ConflictSources) => Iterable<Conflict>;

/** Everything that is in conflict now, by kind; the table's is known without the ledger. */
const FIND: Readonly<Record<Exclude<ConflictKind, 'table_drift'>, Find>> = {
  foreign_in_range: foreign,
  out_of_range: outOfRange,
  *port_taken(_, { taken }) {
    for (const { uid, message } of taken())
      yield { kind: 'port_taken', id: uid, about: () => ({ message, parties: [] }) };
  },
  range_overlap: overlaps,
  *duplicate({ ledger }) {
    for (const shared of ledger.duplicates()) yield duplicate(shared);
  },
};

/** Of those that may be thousands, how many are found: from the same sets, and nothing is made for each. */
const COUNT: Partial<Record<ConflictKind, (view: View) => number>> = {
  foreign_in_range({ ranges, numbers }) {
    let count = 0;
    for (const { effective } of ranges.values()) count += countBoth(effective, numbers.strangers);
    return count;
  },
  out_of_range: ({ numbers }) => sizeOf(numbers.outOfRange),
};

function* foreign({ ranges, ledger, numbers }: View, { service }: ConflictSources): Generator<Conflict> {
  for (const range of ranges.values()) {
    for (const port of portsInBoth(range.effective, numbers.strangers)) {
      const holding = ledger.holding(port);
      if (holding?.by === 'service') yield stranger(range, port, holding.owner, service);
    }
  }
}

function stranger(range: Range, port: Port, owner: Owner, find: ConflictSources['service']): Conflict {
  const message = (): string =>
    find(owner.key)?.healthCheckNodePort === port
      ? `${owner.key} has ${port} of PortRange ${range.name} as its healthCheckNodePort, which cannot be changed: exclude the number, or make the Service again with another`
      : `${owner.key} holds ${port} of PortRange ${range.name} without having it from there: let it ask for the range, or move it`;
  return {
    kind: 'foreign_in_range',
    id: `${range.uid}/${port}/${owner.uid}`,
    about: () => ({ message: message(), parties: [serviceParty(owner), rangeParty(range)] }),
  };
}

function* overlaps({ ranges }: View): Generator<Conflict> {
  for (const range of ranges.values()) {
    for (const { name, spans } of range.losesTo) {
      const older = ranges.get(name);
      yield {
        kind: 'range_overlap',
        id: `${range.uid}/${older?.uid}`,
        about: () => ({
          message: `${range.name} does without ${format(spans)}, which the older PortRange ${name} has: declare the ports in one of them`,
          parties: [rangeParty(range), ...(older === undefined ? [] : [rangeParty(older)])],
        }),
      };
    }
  }
}

function* outOfRange({ ledger, numbers }: View): Generator<Conflict> {
  for (const port of portsOf(numbers.outOfRange)) {
    const { uid = '', service: key = '', range: name = '' } = ledger.entry(port) ?? {};
    yield {
      kind: 'out_of_range',
      id: `${uid}/${port}`,
      about: () => ({
        message: `${key} holds ${port}, which PortRange ${name} would not give now: it stays; to move it, ask for a range that can give it another`,
        parties: [serviceParty({ key, uid })],
      }),
    };
  }
}

function drift({ name, namespace, uid }: Drifting): Conflict {
  return {
    kind: 'table_drift',
    id: name,
    about: () => ({
      message: `${name} was deleted, edited or damaged: it is written again from what Services hold`,
      parties: [{ apiVersion: 'v1', kind: 'ConfigMap', namespace, name, uid }],
    }),
  };
}

function duplicate([port, owners]: readonly [Port, readonly Owner[]]): Conflict {
  return {
    kind: 'duplicate',
    id: `${port}/${owners.map(({ uid }) => uid).join('/')}`,
    about: () => ({
      message: `${port} is used by ${owners.map(({ key }) => key).join(' and ')}: change or delete one of them`,
      parties: owners.map(serviceParty),
    }),
  };
}

function serviceParty({ key, uid }: Owner): EventRegarding {
  const [namespace = '', name = ''] = key.split('/');
  return { apiVersion: 'v1', kind: 'Service', namespace, name, uid };
}

function rangeParty({ name, uid }: Range): EventRegarding {
  return { apiVersion: portRangeApiVersion, kind: 'PortRange', name, uid };
}

/** Remembers what was told. */
export interface ConflictWatch {
  /** Looks again, at these kinds or at all: counts and tells what is new. */
  look(kinds?: readonly ConflictKind[]): void;
  /** Active conflicts by kind, every kind included; undefined where that cannot be known yet. */
  active(): ReadonlyMap<ConflictKind, number | undefined>;
}

export function createConflictWatch(
  sources: ConflictSources,
  parts: { events: EventRecorder; firstSeen: (kind: ConflictKind) => void },
): ConflictWatch {
  const known = new Map<ConflictKind, ReadonlySet<string>>();

  /** Found at once, they are one event on each party: a PortRange over a cluster in use may have hundreds. */
  function tell(conflicts: readonly Conflict[]): void {
    const events = new Map<string, { kind: ConflictKind; regarding: EventRegarding; messages: string[] }>();
    for (const { kind, about } of conflicts) {
      parts.firstSeen(kind);
      const { message, parties } = about();
      for (const regarding of parties) {
        const id = `${regarding.kind}/${regarding.namespace}/${regarding.name}`;
        const event = events.get(id) ?? { kind, regarding, messages: [] };
        event.messages.push(message);
        events.set(id, event);
      }
    }
    for (const { kind, regarding, messages } of events.values()) {
      if (kind === 'port_taken') continue;
      const [first = '', ...others] = messages;
      const note = others.length === 0 ? first : `${first} (and ${others.length} more like it)`;
      parts.events.record({ regarding, type: 'Warning', reason: REASON[kind], action: 'Detect', note });
    }
  }

  /** Undefined: that cannot be known yet. But a block that is found damaged early is damaged. */
  function find(kind: ConflictKind, view: () => View | undefined): Iterable<Conflict> | undefined {
    const seen = view();
    if (kind === 'table_drift') {
      const drifting = sources.drifting().map(drift);
      return seen === undefined && drifting.length === 0 ? undefined : drifting;
    }
    return seen && FIND[kind](seen, sources);
  }

  return {
    look(kinds = CONFLICT_KINDS) {
      const view = oneLook(sources);
      for (const kind of kinds) {
        const found = find(kind, view);
        if (found === undefined) continue;
        const all = [...found];
        const before = known.get(kind);
        tell(all.filter(({ id }) => !before?.has(id)));
        known.set(kind, new Set(all.map(({ id }) => id)));
      }
    },
    active() {
      const view = oneLook(sources);
      const seen = view();
      const count = (kind: ConflictKind): number | undefined =>
        (seen && COUNT[kind]?.(seen)) ?? countOf(find(kind, view));
      return new Map(CONFLICT_KINDS.map((kind) => [kind, count(kind)]));
    },
  };
}

/** Taken when it is first needed, and the same for all kinds. */
function oneLook({ ranges, ledger, survey }: ConflictSources): () => View | undefined {
  let view: View | undefined;
  return () => {
    const present = ledger();
    if (present === undefined) return undefined;
    return (view ??= { ranges: ranges(), ledger: present, numbers: survey(ranges(), present) });
  };
}

function countOf(all: Iterable<unknown> | undefined): number | undefined {
  if (all === undefined) return undefined;
  let count = 0;
  for (const _ of all) count += 1;
  return count;
}
