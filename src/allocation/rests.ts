import type { Port } from '../ports/portSet.ts';
import type { Millis } from './types.ts';

/** The apiserver's refusals of a number: 1, 2, 4 … 30 s until it is tried again. */
const REFUSAL_FIRST: Millis = 1_000;
const REFUSAL_LONGEST: Millis = 30_000;

/** Numbers that nobody gets for a while: with a Released entry that is a cooldown, without any entry a refusal. */
export interface Rests {
  has(port: Port): boolean;
  /** 0: it does not rest. */
  until(port: Port): Millis;
  begin(port: Port, until: Millis, now: Millis): void;
  end(port: Port): void;
  /** The apiserver refused the number: how long it rests then, longer each time, ms. */
  strike(port: Port): Millis;
  /** What made the apiserver refuse the number is known, or over. */
  forgive(port: Port): void;
  /** Ends what has rested long enough, and tells each. Cheap when there is none. */
  advance(now: Millis, ended: (port: Port) => void): void;
  /** When `advance` is next worth calling; Infinity if never. */
  next(): Millis;
}

export function createRests(): Rests {
  const resting = new Map<Port, Millis>();
  const strikes = new Map<Port, number>();
  let soonest = Number.POSITIVE_INFINITY;

  return {
    has: (port) => resting.has(port),
    until: (port) => resting.get(port) ?? 0,
    begin(port, until, now) {
      if (until <= now) return;
      resting.set(port, until);
      soonest = Math.min(soonest, until);
    },
    end: (port) => void resting.delete(port),
    strike(port) {
      const strike = (strikes.get(port) ?? 0) + 1;
      strikes.set(port, strike);
      return Math.min(REFUSAL_LONGEST, REFUSAL_FIRST * 2 ** (strike - 1));
    },
    forgive: (port) => void strikes.delete(port),
    advance(now, ended) {
      if (now < soonest) return;
      soonest = Number.POSITIVE_INFINITY;
      for (const [port, until] of resting) {
        if (until > now) {
          soonest = Math.min(soonest, until);
          continue;
        }
        resting.delete(port);
        ended(port);
      }
    },
    next: () => soonest,
  };
}
