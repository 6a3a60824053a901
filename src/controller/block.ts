import type { Entry } from '../allocation/types.ts';
import type { Millis } from '../kube/clock.ts';
import type { Port } from '../ports/portSet.ts';
import type { Damage } from './heals.ts';
import { type BlockView, numbersOfBlock } from './table.ts';

export interface Batch {
  readonly changes: Map<Port, Entry | undefined>;
  readonly done: PromiseWithResolvers<void>;
}

export interface Block {
  readonly name: string;
  readonly numbers: readonly Port[];
  /** What the table shall say, as texts: what we wrote last. */
  expected: Record<string, string>;
  /** Undefined: the block does not exist. */
  resourceVersion: string | undefined;
  /** The last revision that the watch has shown to be gone. One that it has not shown yet is not gone. */
  goneAt: string;
  /** Copied aside before the block is written again. */
  unreadable: BlockView | undefined;
  /** What somebody made of it, until it is mended. */
  damage: Damage | undefined;
  next: Batch | undefined;
  /** Written even without a change: to stamp or to mend it. */
  mustWrite: boolean;
  /** Somebody else changed it, and it is not mended yet. */
  drifts: boolean;
  writing: boolean;
}

export function newBlock(name: string): Block {
  return {
    name,
    numbers: numbersOfBlock(name) ?? [],
    expected: {},
    resourceVersion: undefined,
    goneAt: '',
    unreadable: undefined,
    damage: undefined,
    next: undefined,
    mustWrite: false,
    drifts: false,
    writing: false,
  };
}

export function newBatch(closed: boolean): Batch {
  const batch: Batch = { changes: new Map(), done: Promise.withResolvers() };
  // Nobody may be waiting any more: that is no crash.
  batch.done.promise.catch(() => undefined);
  if (closed) batch.done.reject(new Error('the journal is closed'));
  return batch;
}

const FIRST_BACKOFF: Millis = 100;
const LONGEST_BACKOFF: Millis = 10_000;

/** ms before the next try of a write, after so many. */
export function backoffFor(tries: number): Millis {
  return Math.min(FIRST_BACKOFF * 2 ** (tries - 1), LONGEST_BACKOFF);
}
