import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomFrom } from '../../test/simulation/simulation.ts';
import { type Arena, startArena } from './arena.ts';
import {
  inWords,
  type Kill,
  type Moment,
  MOMENTS,
  playKilled,
  playUndisturbed,
  type Undisturbed,
} from './crashes.ts';

/**
 * `AT=k MOMENT=before|after|answered` plays one history: killed around write k of each step. `AT=all` plays all of
 * them. By default one history, in which a seed says where each step is killed.
 */
const { AT, MOMENT, SEED = '1' } = process.env;
const ALL = Object.keys(MOMENTS) as Moment[];

/** ms; a history takes a quarter of a minute on an idle machine. */
const PATIENCE = 300_000;

let arena: Arena;
let undisturbed: Undisturbed;

beforeAll(async () => {
  arena = await startArena();
  undisturbed = await playUndisturbed(arena);
}, PATIENCE);
afterAll(() => arena?.close());

describe('killed around any write, the controller that starts next comes to the same state, told in as many writes', () => {
  test('the scenario has something to kill it in', () => {
    expect(undisturbed.states.at(-1)?.services.length).toBeGreaterThan(30);
    expect(undisturbed.states.at(-1)?.ranges).toHaveLength(3);
    expect(undisturbed.writes.reduce((sum, writes) => sum + writes, 0)).toBeGreaterThan(150);
  });

  if (AT === undefined) test(`here and there: SEED=${SEED}`, { timeout: PATIENCE }, hereAndThere);
  else test(`AT=${AT} MOMENT=${MOMENT ?? 'each'}`, { timeout: 40 * PATIENCE }, atWrites);
});

async function hereAndThere(): Promise<void> {
  const random = randomFrom(Number(SEED));
  const drawn = undisturbed.writes.map((writes) => ({
    at: Math.floor(random() * writes),
    moment: ALL[Math.floor(random() * ALL.length)] as Moment,
  }));
  const kills = drawn.map((kill, i) => (undisturbed.writes[i] === 0 ? undefined : kill));
  expect(await playKilled(arena, undisturbed, kills)).toBeGreaterThan(15);
}

/** All histories are played, whatever comes of one. */
async function atWrites(): Promise<void> {
  const most = Math.max(...undisturbed.writes);
  const writes = AT === 'all' ? Array.from({ length: most }, (_, at) => at) : [Number(AT)];
  const moments = MOMENT === undefined ? ALL : [MOMENT as Moment];
  const failures: string[] = [];
  let struck = 0;
  for (const kill of writes.flatMap((at) => moments.map((moment) => ({ at, moment })))) {
    const kills = undisturbed.writes.map((count) => (kill.at < count ? kill : undefined));
    try {
      const kept = await playKilled(arena, undisturbed, kills);
      struck += kept;
      process.stderr.write(`e2e: ${inWords(kill)}: the same, ${kept} times\n`);
    } catch (error) {
      failures.push(report(kill, error));
      process.stderr.write(`e2e: ${failures.at(-1)}\n`);
    }
  }
  console.info(`${struck} kills in ${writes.length * moments.length} histories, ${failures.length} failed`);
  expect(failures).toEqual([]);
}

function report(kill: Kill, error: unknown): string {
  const again = `AT=${kill.at} MOMENT=${kill.moment} vitest run --project e2e e2e/faults/crashes.test.ts`;
  return [inWords(kill), String(error), `again: ${again}`].join('\n  ');
}
