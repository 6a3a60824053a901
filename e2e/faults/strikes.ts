/** Which requests, writes, watches and pauses a plan strikes. Each of its kinds strikes at least once. */
import { randomFrom } from '../../test/simulation/simulation.ts';
import type { History } from './arena.ts';
import { type Kind, KINDS, type Pause, type Random } from './kinds.ts';
import { nameOf, type Passing } from './passing.ts';
import type { Faults, WatchFault } from './proxy.ts';

export interface Strikes {
  /** What struck, in its order. */
  readonly struck: readonly string[];
  /** The kinds that had nothing to strike so far. */
  never(): string[];
  faults(also: NonNullable<Faults['onWrite']>): Faults;
  pause(): Promise<void>;
}

/**
 * A kind that let so many chances pass strikes at the next one, whatever its odds: a history without its faults proves
 * nothing. Of watches there are often no more than the first four.
 */
const PATIENCE = { request: 30, write: 10, watch: 3, pause: 8 } as const;

export function createStrikes(
  { seed, kinds }: { readonly seed: number; readonly kinds: readonly string[] },
  history: History,
): Strikes {
  const struck: string[] = [];
  const asked = createCounts();
  const chances = createCounts();
  /** Those under way, too. */
  const strikes = createCounts();
  /** A watch has one fault: of two kinds that would strike it, who had fewer so far. */
  const turns = createCounts();
  const pauseState: Pause = { history, snapshots: [] };

  /** The kinds that strike this time, each with its own chance. */
  function* striking<P extends Kind['per']>(
    per: P,
    what: string,
  ): Generator<[Extract<Kind, { per: P }>, Random, string]> {
    for (const name of kinds) {
      const kind = KINDS[name];
      if (kind?.per !== per) continue;
      const times = asked.add(`${name}: ${what}`);
      const random = randomFrom(hashOf(`${seed} ${name} ${what} ${times}`));
      const isOverdue = chances.add(name) > PATIENCE[per] && strikes.of(name) === 0;
      if (random() >= kind.odds && !isOverdue) continue;
      if (strikes.of(name) >= (kind.most ?? Number.POSITIVE_INFINITY)) continue;
      yield [kind as Extract<Kind, { per: P }>, random, name];
    }
  }

  const note = (name: string, what: string): void => {
    strikes.add(name);
    struck.push(`${name}: ${what}`);
  };

  /** Counted from its beginning, so that no more begin than may; but not when there was nothing to strike. */
  const noteWhen = async (name: string, what: string, strike: () => Promise<boolean>): Promise<void> => {
    strikes.add(name);
    const done = strike();
    if (await done) struck.push(`${name}: ${what}`);
    else strikes.add(name, -1);
  };

  return {
    struck,
    never: () => kinds.filter((name) => strikes.of(name) === 0),
    faults: (also) => ({
      onRequest(passing: Passing) {
        const what = nameOf(passing);
        for (const [kind, random, name] of striking('request', what)) {
          const fault = kind.strike(random, passing, history);
          if (fault === undefined) continue;
          note(name, what);
          return fault;
        }
        return undefined;
      },
      onWatch(passing) {
        const what = nameOf(passing);
        const [next] = [...striking('watch', what)].toSorted(([, , a], [, , b]) => turns.of(a) - turns.of(b));
        if (next === undefined) return undefined;
        const [kind, random, name] = next;
        turns.add(name);
        return noted(kind.strike(random), () => note(name, what));
      },
      async onWrite(now, passing) {
        await also(now, passing);
        const what = nameOf(passing);
        for (const [kind, random, name] of striking('write', `${what} (${now})`))
          if (kind.moment === now) await noteWhen(name, what, () => kind.strike(random, passing, history));
      },
    }),
    async pause() {
      for (const [kind, random, name] of striking('pause', 'pause'))
        await noteWhen(name, 'between two steps', () => kind.strike(random, pauseState));
    },
  };
}

/** What only some events bring about is noted when it comes about. */
function noted(fault: WatchFault, note: () => void): WatchFault {
  if (fault.do === 'drop' || fault.do === 'coalesce') return { ...fault, happened: note };
  note();
  return fault;
}

function createCounts(): { of(name: string): number; add(name: string, by?: number): number } {
  const counts = new Map<string, number>();
  const of = (name: string): number => counts.get(name) ?? 0;
  return {
    of,
    add(name, by = 1) {
      counts.set(name, of(name) + by);
      return of(name);
    },
  };
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01_00_01_93);
  return hash >>> 0;
}
