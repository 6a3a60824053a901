import { copyOf, countWithout, has, lowestBit, type Port, type PortSet, portSet, sizeOf } from './portSet.ts';

/**
 * Sequential: the lowest ports of `from` that are not in `taken`, ascending, at most `count`.
 * Reads 32 ports at a time, so the cost hardly grows with how many are taken.
 */
export function lowestFree(from: PortSet, taken: PortSet, count: number): Port[] {
  const picked: Port[] = [];
  for (let i = from.low; i <= from.high && picked.length < count; i++) {
    let free = (from.words[i] ?? 0) & ~(taken.words[i] ?? 0);
    for (; free !== 0 && picked.length < count; free &= free - 1) picked.push(i * 32 + lowestBit(free));
  }
  return picked;
}

/** Random: one of the free ports, each as likely; the same for the same text. Undefined when none is free. */
export function randomFree(from: PortSet, taken: PortSet, text: string): Port | undefined {
  const free = countWithout(from, taken);
  return free === 0 ? undefined : lowestFree(from, taken, (hash(text) % free) + 1).at(-1);
}

/** Hash: the port of `from` that the text stands for; when that is taken, the next free one after it, around the end. */
export function hashedFree(from: PortSet, taken: PortSet, text: string): Port | undefined {
  const size = sizeOf(from);
  if (size === 0) return undefined;
  const ideal = lowestFree(from, NONE, (hash(text) % size) + 1).at(-1) ?? 0;
  if (!has(taken, ideal)) return ideal;
  return lowestFree(startingAt(from, ideal), taken, 1)[0] ?? lowestFree(from, taken, 1)[0];
}

const NONE = portSet();

function startingAt(set: PortSet, first: Port): PortSet {
  const rest = copyOf(set);
  rest.words.fill(0, 0, first >>> 5);
  rest.words[first >>> 5] = (rest.words[first >>> 5] ?? 0) & (-1 << (first & 31));
  rest.low = Math.max(rest.low, first >>> 5);
  return rest;
}

/** FNV-1a with a final mix: 32 bits, the same on every machine. Not for secrets. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
