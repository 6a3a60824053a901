/**
 * Killed around every write, on real processes. One history plays the whole scenario and kills once in each step,
 * around the same write of each: after a step the state must be what it is without the kill, and the same state has
 * the same future. So as many histories as the longest step has writes cover every write of the scenario.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { ALONE } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import type { Arena, History } from './arena.ts';
import type { Answered, Faults } from './proxy.ts';
import { STEPS } from './scenario.ts';
import { snatching } from './snatch.ts';
import { differences, someoneWaitsForARest, type State, stateOf } from './state.ts';

export const MOMENTS = {
  before: 'before it is sent on',
  after: 'after it took effect and before the answer',
  answered: 'after the answer',
} as const;
export type Moment = keyof typeof MOMENTS;

/** One for each step: around which write of it, from 0, and when. */
export type Kill = { readonly at: number; readonly moment: Moment };

export interface Undisturbed {
  readonly states: readonly State[];
  /** Of each step. */
  readonly writes: readonly number[];
  /** From the beginning to the end of each step. */
  readonly made: readonly Readonly<Record<string, number>>[];
}

/** Enough for the controller to read its answer; what it sends then gets no further than to the proxy. */
const READ_MS = 5;
const FLAGS = [...ALONE, '--seed=1', '--resync-period=10m'];

/** The scenario without faults: what every other history is compared with. */
export async function playUndisturbed(arena: Arena): Promise<Undisturbed> {
  const history = await arena.begin({ flags: [...FLAGS, '--concurrency=1'] });
  const states: State[] = [];
  const writes: number[] = [];
  const all: Record<string, number>[] = [];
  try {
    await history.start();
    await history.present().ready();
    for (const step of STEPS) {
      const before = arena.proxy.answered.length;
      arena.proxy.play({ onWrite: snatching(arena.client, step) });
      await history.play(step);
      await settles(history);
      states.push(stateOf(history.checker()));
      writes.push(arena.proxy.answered.length - before);
      all.push(made(arena.proxy.answered));
    }
    await history.checker().verify();
    return { states, writes, made: all };
  } finally {
    await history.end();
  }
}

async function settles(history: History): Promise<void> {
  await history.rests();
  await history.checker().untilTableIsTrue();
  if (!someoneWaitsForARest(history.checker())) return;
  await eventually(() => expect(someoneWaitsForARest(history.checker())).toBe(false));
  await history.rests();
}

/**
 * Returns how many kills struck; after the last step that has one there is nothing new to see. Throws when one did not
 * strike, and when anything differs from the undisturbed history.
 */
export async function playKilled(
  arena: Arena,
  undisturbed: Undisturbed,
  kills: readonly (Kill | undefined)[],
): Promise<number> {
  const history = await arena.begin({ flags: [...FLAGS, '--concurrency=1'] });
  let struck = 0;
  try {
    await history.start();
    const last = kills.findLastIndex((kill) => kill !== undefined);
    for (const [i, step] of STEPS.slice(0, last + 1).entries()) {
      const kill = kills[i];
      const { onWrite, hasStruck } = killing(history, kill);
      const snatch = snatching(arena.client, step);
      arena.proxy.play({
        async onWrite(now, passing) {
          await snatch(now, passing);
          await onWrite(now, passing);
        },
      });
      await history.play(step);
      const what = `after “${step.name}”${kill === undefined ? '' : `, ${inWords(kill)}`}`;
      const expected = undisturbed.states[i] as State;
      if (kill !== undefined) {
        await eventually(async () => expect(await hasStruck(), `${what}: never struck`).toBe(true));
        struck += 1;
      }
      await eventually(() => same(what, differences(expected, stateOf(history.checker()))), 60_000);
    }
    arena.proxy.play({});
    await settles(history);
    same('at the end', differences(undisturbed.states[last] as State, stateOf(history.checker())));
    await history.checker().verify();
    same('writes', extra(made(arena.proxy.answered), undisturbed.made[last] ?? {}));
    same('ended by themselves', history.ends);
    return struck;
  } finally {
    await history.end();
  }
}

function same(what: string, differs: readonly string[]): void {
  if (differs.length > 0) throw new Error([what, ...differs].join('\n  '));
}

export function inWords({ at, moment }: Kill): string {
  return `killed at its write ${at}, ${MOMENTS[moment]}`;
}

/** `hasStruck` resolves when nobody is being killed. */
function killing(
  history: History,
  kill: Kill | undefined,
): { onWrite: NonNullable<Faults['onWrite']>; hasStruck: () => Promise<boolean> } {
  const { proxy } = history.arena;
  let seen = 0;
  let target: unknown;
  let striking = Promise.resolve(false);
  const strike = async (): Promise<boolean> => {
    await history.kill();
    await history.start();
    return true;
  };
  return {
    async onWrite(now, passing) {
      if (now === 'before' && seen++ === kill?.at) target = passing;
      if (passing !== target || kill === undefined) return;
      // From before the answer is on its way: nothing that follows from it takes effect.
      if (now === 'after' && kill.moment === 'answered') proxy.freeze();
      if (now !== kill.moment) return;
      if (now === 'answered') await sleep(READ_MS);
      await (striking = strike());
    },
    hasStruck: () => striking,
  };
}

/** How often each object was created, changed and deleted with success. What the table and ranges show rides together. */
function made(answered: readonly Answered[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { write, resource, object, status } of answered) {
    const isCounted = resource.startsWith('services') || /^(POST|DELETE)/.test(write);
    if (status > 299 || !isCounted) continue;
    const name = `${write.split(' ')[0]} ${resource} ${object}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** What was done more often than without the kills, or not so often; who was dead need not tell what has passed. */
function extra(now: Record<string, number>, before: Record<string, number>): string[] {
  return [...new Set([...Object.keys(now), ...Object.keys(before)])].flatMap((write) => {
    const [times = 0, expected = 0] = [now[write], before[write]];
    const isFine = times === expected || (times < expected && write.startsWith('PATCH services/status '));
    return isFine ? [] : [`${write}: ${times} times, ${expected} without kills`];
  });
}
