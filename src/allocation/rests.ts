import type { Port } from '../ports/portSet.ts';
import type { Millis } from './types.ts';

/** The apiserver's refusals of a number: 1, 2, 4 … 30 s until it is tried again. */
const REFUSAL_FIRST: Millis = 1_000;
const REFUSAL_LONGEST: Millis = 30_000;

/** Numbers that nobody gets for a while: they cool down after their release, or the apiserver refused them. */
export interface Rests {
  has(port: Port): boolean;
  /** 0: it does not rest. */
  until(port: Port): Millis;
  begin(port: Port, until: Millis, now: Millis): void;
  end(port: Port): void;
  /** Whether it rests because the apiserver refused it. */
  isRefused(port: Port): boolean;
  /** The apiserver refused the number: how long it is to rest then, longer each time, ms. */
  strike(port: Port): Millis;
  /** It rests for a refusal. */
  refuse(port: Port, until: Millis, now: Millis): void;
  /** What made the apiserver refuse the number is known, or over. */
  forgive(port: Port): void;
  /**
   * Ends what has rested long enough, and tells each. Cheap when there is none. `now` is the wall clock's: where it was
   * set back, what rests goes on for as long as it had left at the last call.
   */
  advance(now: Millis, ended: (port: Port) => void): void;
  /** When `advance` is next worth calling; Infinity if never. */
  next(): Millis;
}

export function createRests(): Rests {
  const resting = new Map<Port, Millis>();
  const strikes = new Map<Port, number>();
  const refusals = new Set<Port>();
  let soonest = Number.POSITIVE_INFINITY;
  let latest = Number.NEGATIVE_INFINITY;

  function setBack(by: Millis): void {
    for (const [port, until] of resting) resting.set(port, until - by);
    soonest -= by;
  }

  function begin(port: Port, until: Millis, now: Millis): void {
    if (until <= now) return;
    resting.set(port, until);
    soonest = Math.min(soonest, until);
  }

  function end(port: Port): void {
    resting.delete(port);
    refusals.delete(port);
  }

  return {
    has: (port) => resting.has(port),
    until: (port) => resting.get(port) ?? 0,
    begin,
    end,
    isRefused: (port) => refusals.has(port),
    refuse(port, until, now) {
      refusals.add(port);
      begin(port, until, now);
    },
    strike(port) {
      const strike = (strikes.get(port) ?? 0) + 1;
      strikes.set(port, strike);
      return Math.min(REFUSAL_LONGEST, REFUSAL_FIRST * 2 ** (strike - 1));
    },
    forgive(port) {
      strikes.delete(port);
      if (refusals.has(port)) end(port);
    },
    advance(now, ended) {
      if (now < latest) setBack(latest - now);
      latest = now;
      if (now < soonest) return;
      soonest = Number.POSITIVE_INFINITY;
      for (const [port, until] of resting) {
        if (until > now) {
          soonest = Math.min(soonest, until);
          continue;
        }
        end(port);
        ended(port);
      }
    },
    next: () => soonest,
  };
}
