import { setTimeout as sleep } from 'node:timers/promises';

/** The clock of the story: it begins at nine, and is `speed` times as fast as ours. */
export interface Pace {
  readonly speed: number;
  /** Minutes of the story since it began. */
  now(): number;
  /** Resolves at that minute, at once when it is past. */
  until(minute: number): Promise<void>;
  /** Our time (Unix ms) → the story's (ms since 1970). */
  told(at: number): number;
  /** So many minutes of the story as ours, as a flag takes it: whole seconds, one at least. */
  seconds(minutes: number): string;
}

const NINE = Date.UTC(2026, 0, 5, 9);
const MINUTE_MS = 60_000;

/** @param began Unix ms */
export function startPace(speed: number, began: number): Pace {
  const msSince = (): number => Date.now() - began;
  return {
    speed,
    now: () => (msSince() * speed) / MINUTE_MS,
    // A timer may be early by a part of a millisecond, and then the clock shows the minute before.
    until: (minute) => sleep(Math.max(0, Math.ceil((minute * MINUTE_MS) / speed - msSince()) + 1)),
    told: (at) => NINE + (at - began) * speed,
    seconds: (minutes) => `${Math.max(1, Math.round((minutes * 60) / speed))}s`,
  };
}
