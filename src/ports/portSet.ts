/** A TCP/UDP/SCTP port number, 1–65535. */
export type Port = number;

/** An inclusive run of ports; without `to` it is the one port `from`. */
export interface Span {
  readonly from: Port;
  readonly to?: Port;
}

/**
 * A set of ports as a bitset: membership is one read, "the lowest that is in this set and not in that one" is one
 * pass over 32 ports at a time, between the bounds of the set. Treat it as a value: only its owner adds and removes.
 */
export interface PortSet {
  readonly words: Uint32Array;
  /** Words outside `low`–`high` are 0. */
  low: number;
  high: number;
}

const WORDS = 65_536 / 32;

/** The ports of all spans; they may touch or overlap. */
export function portSet(spans: readonly Span[] = []): PortSet {
  const set: PortSet = { words: new Uint32Array(WORDS), low: WORDS, high: -1 };
  for (const { from, to = from } of spans) for (let port = from; port <= to; port++) add(set, port);
  return set;
}

export function has(set: PortSet, port: Port): boolean {
  return ((set.words[port >>> 5] ?? 0) & (1 << (port & 31))) !== 0;
}

/** Adds in place: for the owner of a set that changes. */
export function add(set: PortSet, port: Port): void {
  const word = port >>> 5;
  set.words[word] = (set.words[word] ?? 0) | (1 << (port & 31));
  if (word < set.low) set.low = word;
  if (word > set.high) set.high = word;
}

/** Removes in place: for the owner of a set that changes. */
export function remove(set: PortSet, port: Port): void {
  set.words[port >>> 5] = (set.words[port >>> 5] ?? 0) & ~(1 << (port & 31));
}

export function copyOf({ words, low, high }: PortSet): PortSet {
  return { words: words.slice(), low, high };
}

export function union(a: PortSet, b: PortSet): PortSet {
  return combine(a, b, (x, y) => x | y);
}

export function without(a: PortSet, b: PortSet): PortSet {
  return combine(a, b, (x, y) => x & ~y);
}

export function intersection(a: PortSet, b: PortSet): PortSet {
  return combine(a, b, (x, y) => x & y);
}

function combine(a: PortSet, b: PortSet, of: (x: number, y: number) => number): PortSet {
  const words = new Uint32Array(WORDS);
  const set: PortSet = { words, low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
  for (let i = set.low; i <= set.high; i++) words[i] = of(a.words[i] ?? 0, b.words[i] ?? 0);
  while (set.low <= set.high && words[set.low] === 0) set.low += 1;
  while (set.low <= set.high && words[set.high] === 0) set.high -= 1;
  return set;
}

export function isEmpty(set: PortSet): boolean {
  for (let i = set.low; i <= set.high; i++) if (set.words[i] !== 0) return false;
  return true;
}

/** How many ports are in the set. */
export function sizeOf(set: PortSet): number {
  let size = 0;
  for (let i = set.low; i <= set.high; i++) size += bitCount(set.words[i] ?? 0);
  return size;
}

/** How many ports of `set` are not in `taken`. */
export function countWithout(set: PortSet, taken: PortSet): number {
  let size = 0;
  for (let i = set.low; i <= set.high; i++) {
    const word = set.words[i] ?? 0;
    if (word !== 0) size += bitCount(word & ~(taken.words[i] ?? 0));
  }
  return size;
}

/** How many ports are in both. */
export function countBoth(a: PortSet, b: PortSet): number {
  let size = 0;
  for (let i = a.low; i <= a.high; i++) {
    const word = (a.words[i] ?? 0) & (b.words[i] ?? 0);
    if (word !== 0) size += bitCount(word);
  }
  return size;
}

/** The ports in ascending order. */
export function* portsOf(set: PortSet): Generator<Port> {
  for (let i = set.low; i <= set.high; i++) {
    for (let word = set.words[i] ?? 0; word !== 0; word &= word - 1) yield i * 32 + lowestBit(word);
  }
}

/** The ports that are in both, in ascending order; unlike an intersection it makes no third set. */
export function* portsInBoth(a: PortSet, b: PortSet): Generator<Port> {
  const high = Math.min(a.high, b.high);
  for (let i = Math.max(a.low, b.low); i <= high; i++) {
    let word = (a.words[i] ?? 0) & (b.words[i] ?? 0);
    for (; word !== 0; word &= word - 1) yield i * 32 + lowestBit(word);
  }
}

/** The fewest spans that make the set, ascending; a run of one has `from` equal to `to`. */
export function spansOf(set: PortSet): { from: Port; to: Port }[] {
  const spans: { from: Port; to: Port }[] = [];
  for (const port of portsOf(set)) {
    const last = spans.at(-1);
    if (last?.to === port - 1) last.to = port;
    else spans.push({ from: port, to: port });
  }
  return spans;
}

/** As people write it: `30100-30199,30250`. The empty set is the empty string. */
export function format(set: PortSet): string {
  return spansOf(set)
    .map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`))
    .join(',');
}

/** The position of the lowest bit that is set, 0–31; `word` must not be 0. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function bitCount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return (((v + (v >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}
