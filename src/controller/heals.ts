/** What was mended in the table, number by number: for the log. */
import { parseEntry } from '../allocation/entry.ts';
import type { Entry } from '../allocation/types.ts';
import { told } from '../api/text.ts';
import type { Port } from '../ports/portSet.ts';
import type { Block } from './block.ts';
import { type BlockView, isReadable } from './table.ts';

export type HealKind = 'edited' | 'deleted' | 'corrupt';

/** A block that was mended. */
export interface Heal {
  readonly block: string;
  readonly kind: HealKind;
  /** The field manager that changed it, where the apiserver remembers. */
  readonly by: string | undefined;
  /** found: what it said instead. entry: what it says now; undefined: none. */
  readonly ports: readonly {
    readonly port: Port;
    readonly found: string;
    readonly entry: Entry | undefined;
  }[];
}

/** What somebody made of a block, until it is mended. */
export interface Damage {
  readonly kind: HealKind;
  readonly by: string | undefined;
  /** Number → its text as it was found; undefined: none. */
  readonly found: Map<Port, string | undefined>;
}

type Texts = Readonly<Record<string, string>>;

/**
 * Notes how what was found differs from what was written, and whether it does. `ours`: all that we may have written, because
 * not every write is answered.
 */
export function noteDamage(block: Block, view: BlockView | undefined, ...ours: Texts[]): boolean {
  const theirs: Texts = view?.data ?? {};
  const keys = new Set([theirs, ...ours].flatMap(Object.keys));
  const changed = [...keys].filter((key) => ours.every((texts) => texts[key] !== theirs[key]));
  if (view !== undefined && changed.length === 0) return false;
  const kind = view === undefined ? 'deleted' : isReadable(view) ? 'edited' : 'corrupt';
  const found = block.damage?.found ?? new Map<Port, string | undefined>();
  for (const key of changed) if (block.numbers.includes(Number(key))) found.set(Number(key), theirs[key]);
  block.damage = { kind, by: view?.editor, found };
  return true;
}

/** The block says this now. */
export function healOf({ name: block, damage }: Block, data: Texts): Heal | undefined {
  if (damage === undefined) return undefined;
  const { kind, by, found } = damage;
  const ports = [...found]
    .filter(([port, text]) => text !== data[port])
    .map(([port, text]) => ({ port, found: summaryOf(text), entry: parseEntry(data[port] ?? '') }));
  return { block, kind, by, ports };
}

function summaryOf(text: string | undefined): string {
  if (text === undefined) return 'no entry';
  const entry = parseEntry(text);
  return entry === undefined ? told(text, 80) : `${entry.state} ${told(entry.service, 80)}`;
}
