/** What the journal needs, and what it does for others. How it does that is in journal.ts. */
import type { Entry } from '../allocation/types.ts';
import type { Clock } from '../kube/clock.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { Port } from '../ports/portSet.ts';
import type { Heal, HealKind } from './heals.ts';
import type { Mandate } from './mandate.ts';
import type { BlockView } from './table.ts';

export interface JournalObserver {
  wrote(result: 'ok' | 'conflict' | 'error', seconds: number): void;
  healed(kind: HealKind, block: string): void;
}

export interface JournalOptions {
  readonly namespace: string;
  /** Ours, without the epoch. */
  readonly identity: string;
  readonly transport: Transport;
  /** What the watch shows of the table. */
  readonly blocks: Store<BlockView>;
  readonly clock: Clock;
  readonly random: () => number;
  /** The right to write: asked for each epoch. */
  readonly mandate: () => Mandate;
  readonly observer: JournalObserver;
  readonly log: { warn(details: object, message: string): void };
  /** An entry that a former leader wrote when we had begun: it stands, and a reservation of ours there is lost. */
  readonly onFound: (port: Port, entry: Entry) => void;
  /** What somebody did to the table is mended. */
  readonly onHealed: (heal: Heal) => void;
  /** What `drifting` tells has changed. */
  readonly onDrift: () => void;
  /** Another leader stamped a block: nothing may be written any more. */
  readonly onFenced: (stamp: string, block: string) => void;
}

/** Entries on their way into the table. Both reject only after `abandon` and `close`. */
export interface Writing {
  /** Resolves when all are there, or were told to `onFound` to be somebody else's. */
  readonly all: Promise<unknown>;
  /** The same of the blocks that have these numbers: one block may take long. */
  of(ports: Iterable<Port>): Promise<unknown>;
}

export interface Journal {
  /**
   * Reads all blocks that the store shows: what parses of them. Call `open` before anything is decided from it.
   * unreadable: numbers of blocks that a newer version wrote.
   */
  load(): { entries: [Port, Entry][]; unreadable: Port[] };
  /**
   * Stamps every block with the next epoch, and mends what could not be read. Tries until it succeeds or is closed.
   * Rejects when there is no right to an epoch any more.
   */
  open(): Promise<void>;
  /**
   * Drops what is on its way into the table and looks at nothing until the next `load`: all of it comes from what never was.
   */
  abandon(): void;
  /** The newest revision of a block that was found and not written by us; '' when there is none. */
  newestFound(): string;
  /** Writes entries (undefined: removes them). */
  write(changes: ReadonlyMap<Port, Entry | undefined>): Writing;
  /** Resolves when nothing is waiting to be written. */
  idle(): Promise<void>;
  /** Compares every block that the store shows with what it should be, and mends it. */
  check(): void;
  /** Blocks that somebody deleted, edited or damaged, until they are mended. */
  drifting(): readonly string[];
  /** Blocks that a newer version wrote. */
  newerBlocks(): readonly string[];
  /** Bytes of data by block, as last written. */
  sizes(): ReadonlyMap<string, number>;
  /** Writes nothing any more. */
  close(): void;
}
