import { lowestBit, type Port, type PortSet } from './portSet.ts';

/**
 * Sequential: the lowest ports of `from` that are not in `taken`, ascending, at most `count`.
 * Reads 32 ports at a time, so the cost hardly grows with how many are taken.
 */
export function lowestFree(from: PortSet, taken: PortSet, count: number): Port[] {
  const picked: Port[] = [];
  for (let i = 0; i < from.words.length && picked.length < count; i++) {
    let free = (from.words[i] ?? 0) & ~(taken.words[i] ?? 0);
    for (; free !== 0 && picked.length < count; free &= free - 1) picked.push(i * 32 + lowestBit(free));
  }
  return picked;
}
