import type { Verdict } from '../api/reasons.ts';
import type { ServicePort, ServiceView } from '../api/service.ts';
import type { Port, PortSet } from '../ports/portSet.ts';
import type { CheckName } from './checks.ts';
import type { Range } from './range.ts';

/** Milliseconds since 1970. */
export type Millis = number;

/** A Service by namespace/name, and by UID: a re-created one is somebody else with the same address. */
export interface Owner {
  readonly key: string;
  readonly uid: string;
}

/** Who holds a number, or why nobody may have it now. A number without a holding is free. */
export type Holding =
  | { readonly by: 'service'; readonly owner: Owner; readonly managed: boolean }
  /** Written to the table, not yet seen on the Service. */
  | { readonly by: 'reservation'; readonly owner: Owner }
  /** Released by us; only its last owner, for one of the same ports, may have it before `until`. */
  | {
      readonly by: 'cooldown';
      readonly last: Owner;
      readonly ports: readonly string[];
      readonly until: Millis;
    }
  /** The apiserver said "already allocated" although nobody is seen to hold it. */
  | { readonly by: 'refusal'; readonly until: Millis }
  /** Its table block cannot be read: unknown is not empty. */
  | { readonly by: 'unreadable' };

/** A Service's number counts as managed when the table says so, too. */
export type HoldingKind = Exclude<Holding['by'], 'service'> | 'managed' | 'unmanaged' | 'free';

/** What a Service asks for, normalised. */
export interface Request {
  readonly source: 'service' | 'namespace' | 'automatic';
  /** Names of PortRanges, in the order to try them; auto: every one that admits the Service, by priority. */
  readonly ranges: 'auto' | readonly string[];
  /** Exact numbers, by the port number of the Service's port (as text). */
  readonly wanted: ReadonlyMap<string, Port>;
  /**
   * The normal form of the Service's own annotations, which table entries record: two requests are the same when
   * their texts are. A default, which never moves what is held, is the word `default`.
   */
  readonly text: string;
  /** Of a default: since when it is in force. */
  readonly since?: Millis | undefined;
}

/** A request that cannot be understood, and the sentence that says why. */
export interface Malformed {
  readonly malformed: string;
  /** Of a default: since when it is in force. */
  readonly since?: Millis | undefined;
}

/** A Namespace as the cache keeps it. */
export interface NamespaceView {
  readonly key: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Since when at the latest they are what they are; absent or 0 when that is unknown. */
  readonly labelsSince?: Millis;
  /** Its `range` annotation, and since when it is there; since is 0 when that is unknown. */
  readonly rangeDefault?: { readonly value: string; readonly since: Millis };
}

/** Everything one decision may look at. Nothing else counts: same snapshot, same decision. */
export interface Snapshot {
  readonly now: Millis;
  /** For the strategy Random: other seeds, other numbers. */
  readonly seed: string;
  readonly service: ServiceView;
  /** Absent while the watch has not shown it yet. */
  readonly namespace: NamespaceView | undefined;
  readonly ranges: ReadonlyMap<string, Range>;
  readonly ledger: LedgerView;
}

/** What the ledger knows, read-only. */
export interface LedgerView {
  /** Every number that nobody else can have now. Read-only. */
  readonly taken: PortSet;
  /** Those, and the free ones that somebody waits for by number. Read-only. */
  readonly spokenFor: PortSet;
  /** What the table says of the number. */
  entry(port: Port): Entry | undefined;
  entries(): ReadonlyMap<Port, Entry>;
  /** Who holds the number; undefined: it is free. */
  holding(port: Port): Holding | undefined;
  /** The same in a word, for counting. */
  kindOf(port: Port): HoldingKind;
  /** Another one after every change of what is held, or why not. */
  revision(): number;
  /** Free for this Service: nobody holds it but itself, its own reservation, or a cooldown that it may end. */
  isFreeFor(port: Port, owner: Owner, ports: readonly ServicePort[]): boolean;
  /** The numbers that the table gives to this Service, by number. */
  entriesOf(uid: string): ReadonlyMap<Port, Entry>;
  /** Reserved by a decision for a Service that has not been decided anew since: its write may be under way, or done. */
  isPromised(port: Port): boolean;
  /** Numbers this namespace/name held before that it may have back now, the latest first. */
  returnable(owner: Owner, ports: readonly ServicePort[]): readonly Port[];
  /** Nobody who can be served has asked for this number before this Service. */
  isNext(port: Port, key: string): boolean;
  /** Whether the Service of this namespace/name waits for the number by name. */
  awaits(port: Port, key: string): boolean;
  /** When it got its node ports, if we saw it without any before; a default that was in force then reaches it as new. */
  gotNodePortsAt(uid: string): Millis | undefined;
  /** Whether the range has so many free numbers beside those that earlier waiters will take or wait for by name. */
  hasRoomFor(range: Range, key: string, need: number): boolean;
}

/** An entry of the allocation table, as the table's documentation describes it. */
export interface Entry {
  readonly state: 'Held' | 'Released';
  /** namespace/name */
  readonly service: string;
  readonly uid: string;
  /** `http:80/TCP` */
  readonly ports: readonly string[];
  /** The PortRange that it counts for. */
  readonly range: string;
  /** The normalised request that was honoured; empty where that record is lost. */
  readonly request: string;
  readonly since: Millis;
  /** Released only: when its owner lost the number. */
  readonly released?: Millis;
  /** Released only: it rests until then. */
  readonly until?: Millis;
  /** Owners before this one, latest first, at most 3. */
  readonly previous?: readonly PreviousOwner[];
}

/** What happened to a number in the table. */
export interface Transition {
  /**
   * reserved: given to a Service that does not have it yet. released: taken back from its owner. rebuilt: the lost record
   * of an owner was written again.
   */
  readonly kind: 'reserved' | 'released' | 'rebuilt';
  readonly port: Port;
  /** As it is now; of a number that is released, as it was while it was held. */
  readonly entry: Entry;
  /** Released only: until when it rests; undefined: its owner keeps it, unmanaged. */
  readonly until?: Millis | undefined;
  /** Released only: the number that its ports are on now. */
  readonly to?: Port | undefined;
  /** The check that decided. */
  readonly check: CheckName;
}

export interface PreviousOwner {
  readonly service: string;
  readonly from: Millis;
  readonly to: Millis;
}

/** One number for all entries of `spec.ports` that share a `port`: TCP and UDP on one number. */
export interface PortGrant {
  readonly number: Port;
  readonly ports: readonly ServicePort[];
}

/** What must change before a waiting Service is worth deciding again. */
export type WaitKey = `range/${string}` | `port/${number}`;

/** Numbers of a Service, and what they are recorded for. */
export interface Holds {
  readonly range: string;
  /** The text of the request that is honoured. */
  readonly request: string;
  /** Each number once, also those that it has already. */
  readonly grants: readonly PortGrant[];
}

interface Served extends Holds {
  readonly verdict: Verdict;
}

/** `check`: the one that decided. */
export type Decision = {
  readonly check: CheckName;
} /** It cannot be decided yet; what is missing will bring it again. Nothing changes. */ & (
  | { readonly do: 'defer' }
  /** Not ours: never written. */
  | { readonly do: 'ignore' }
  /** It has what it asks for; nothing to write on `spec`. */
  | ({ readonly do: 'keep' } & Served)
  | ({
      readonly do: 'assign';
      /** Numbers that it holds now and leaves by its own wish. */
      readonly leaves: readonly Port[];
    } & Served)
  | {
      readonly do: 'refuse';
      /** The first range it asked for; empty when the request names none. */
      readonly range: string;
      readonly verdict: Verdict;
      readonly waitsFor: readonly WaitKey[];
      /** Every number that the request names, whether it is held now or not. */
      readonly names: readonly Port[];
      /** How many numbers it is short of, by the range that it waits for. */
      readonly needs: ReadonlyMap<string, number>;
      /** What it holds all the same; a lost record is written again from this. */
      readonly holds?: Holds;
    }
);
