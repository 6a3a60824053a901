/**
 * Histories under faults on real processes. A seed says which one or two kinds of faults, which requests, watches and
 * pauses they strike, and how the people of the scenario hurry through it. When the faults are over, every promise must
 * have been kept and all must be well again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { randomFrom } from '../../test/simulation/simulation.ts';
import { ALONE } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { unservedIn } from '../support/served.ts';
import type { Arena, History } from './arena.ts';
import { type Kind, KINDS, leavesNumbers, NEEDS } from './kinds.ts';
import { STEPS } from './scenario.ts';
import { snatching } from './snatch.ts';
import { differences, someCooldownEnds, stateOf } from './state.ts';
import { createStrikes, type Strikes } from './strikes.ts';

export interface Plan {
  readonly seed: number;
  readonly kinds: readonly string[];
  /** What is silent or hangs breaks when the faults are over; else only its client's patience ends it. */
  readonly isMended: boolean;
}

/** The first seeds have one kind each, those after them two. */
export function planOf(seed: number): Plan {
  const names = Object.keys(KINDS);
  const at = (i: number): string => names[i % names.length] ?? '';
  const random = randomFrom(seed * 31 + 7);
  const second = at(Math.floor(random() * names.length));
  const drawn = seed < names.length ? [at(seed)] : [at(seed), second];
  const kinds = [...new Set(drawn.flatMap((name) => [name, ...(NEEDS[name] ?? [])]))];
  return { seed, kinds, isMended: random() < 0.75 };
}

const MANY = { request: 'requests', write: 'writes', watch: 'watches', pause: 'pauses' } as const;

/** In plain words. */
export function describePlan({ seed, kinds, isMended }: Plan): string {
  const often = kinds.map((name) => {
    const { per, odds, most } = KINDS[name] as Kind;
    return `${name} (${Math.round(odds * 100)} of 100 ${MANY[per]}${most === undefined ? '' : `, at most ${most}`})`;
  });
  return `SEED=${seed}: ${often.join('; ')}; what hangs ${isMended ? 'breaks' : 'goes on hanging'} afterwards`;
}

export interface Outcome {
  /** What struck, in its order. */
  readonly struck: readonly string[];
  /** What a person would need to hear; empty: all is well. */
  readonly complaints: readonly string[];
}

const RESYNC_MS = 5_000;
const FLAGS = ['--seed=1', `--resync-period=${RESYNC_MS}ms`];
const SHORT_LEASE = [
  '--leader-elect-lease-duration=3s',
  '--leader-elect-renew-deadline=2s',
  '--leader-elect-retry-period=300ms',
];
const WATCHED = ['services', 'namespaces', 'portranges', 'configmaps'];
/** A watch that is silent for good is noticed after 90 s, and then the resync has its turn. */
const WELL_WITHIN_MS = 300_000;
/** More than it takes. */
const A_FRESH_START_MS = 60_000;

export async function playPlan(arena: Arena, plan: Plan): Promise<Outcome> {
  const withTwo = plan.kinds.some((name) => KINDS[name]?.replicas === 2);
  const flags = [...FLAGS, ...(withTwo ? SHORT_LEASE : ALONE)];
  const history = await arena.begin({ flags, isTolerant: true });
  const random = randomFrom(plan.seed * 7 + 3);
  const strikes = createStrikes(plan, history);
  try {
    // From the first request on: most watches are opened at the start.
    arena.proxy.play(strikes.faults(() => undefined));
    await history.start();
    if (withTwo) await history.start();
    for (const step of STEPS) {
      arena.proxy.play(strikes.faults(snatching(arena.client, step)));
      await history.play(step);
      await sleep(random() < 0.2 ? 1_000 * random() : 200 * random());
      await strikes.pause();
    }
    await untilAllStruck(history, strikes);
    arena.proxy.calm();
    if (plan.isMended) arena.proxy.mend();
    const never = strikes.never().map((kind) => `Never struck: ${kind}`);
    return { struck: strikes.struck, complaints: [...never, ...(await complaintsAbout(history, plan))] };
  } catch (error) {
    return { struck: strikes.struck, complaints: [String(error)] };
  } finally {
    await history.end();
  }
}

const ENCORES = 20;

/** Where the machine was so busy that little happened in the scenario, people go on until each kind had its chance. */
async function untilAllStruck(history: History, strikes: Strikes): Promise<void> {
  for (let i = 0; i < ENCORES && strikes.never().length > 0; i += 1) {
    const key = `c/encore-${i}`;
    await history.play({
      name: 'one comes, and changes twice',
      run(on) {
        on.service(key);
        for (const turn of ['first', 'second']) on.edit(key, { metadata: { labels: { turn } } });
      },
    });
    await sleep(500);
    await strikes.pause();
  }
}

/** Waits until all is well, and says what is not. Then a fresh start must find nothing to do. */
async function complaintsAbout(history: History, { kinds }: Plan): Promise<string[]> {
  const complaints: string[] = [];
  const { proxy } = history.arena;
  const hear = async (what: string, run: () => Promise<unknown>): Promise<void> => {
    try {
      await run();
    } catch (error) {
      complaints.push(...linesOf(error).map((line) => `${what}: ${line}`));
    }
  };
  const mayLinger = kinds.some(leavesNumbers);
  await hear('Converges', () => isWell(history, mayLinger));
  await hear('Judge', () => history.checker().verify());
  // A number that was refused counts as foreign until it is tried again, and a fresh start does not know of it.
  const mayRest = mayLinger || kinds.some((kind) => kind.startsWith('422'));
  const before = stateOf(history.checker(), mayRest);
  const writes = proxy.answered.length;
  await history.kill();
  await history.start();
  await hear('A fresh start', async () => {
    await history.present().ready();
    await history.rests();
    await history.checker().verify();
    const differs = differences(before, stateOf(history.checker(), mayRest));
    complaints.push(...differs.map((line) => `A fresh start comes to another state: ${line}`));
    // A refusal changes nothing: an apiserver that was killed in a write may keep a number for minutes that nobody has.
    const toServices = proxy.answered
      .slice(writes)
      .filter(({ resource, status }) => resource.startsWith('services') && status < 300);
    complaints.push(...toServices.map(({ write }) => `A fresh start writes to a Service: ${write}`));
  });
  const unexpected = history.ends.filter((end) => !/another leader|lease|barrier/.test(end));
  for (const end of unexpected) complaints.push(`A process ended by itself: ${end}`);
  return complaints;
}

/** Of two lists that should be equal, which the error itself only counts: what is missing, and what is too much. */
function linesOf(error: unknown): string[] {
  const { actual, expected } = error as { actual?: unknown; expected?: unknown };
  if (!Array.isArray(actual) || !Array.isArray(expected)) return [String(error)];
  return [
    ...expected.filter((each) => !actual.includes(each)).map((each) => `- ${String(each)}`),
    ...actual.filter((each) => !expected.includes(each)).map((each) => `+ ${String(each)}`),
  ];
}

async function isWell(history: History, mayLinger: boolean): Promise<void> {
  const end = performance.now() + WELL_WITHIN_MS;
  const left = (): number => Math.max(5_000, end - performance.now());
  const { proxy } = history.arena;
  // A watch that broke while nobody answered is opened again after a pause of up to half a minute.
  await eventually(() => expect(proxy.watched(), 'watches').toEqual(expect.arrayContaining(WATCHED)), left());
  const since = Date.now();
  // Everything has been looked at once more since.
  await eventually(async () => {
    const synced: number[] = [];
    for (const each of history.running()) {
      const metrics = await each.metrics();
      synced.push(metrics.get('nodeport_manager_last_sync_timestamp_seconds') ?? 0);
      expect(metrics.get('workqueue_depth{name="services"}'), 'keys ready').toBe(0);
    }
    expect(Math.max(...synced), 'the last resync').toBeGreaterThan(since / 1_000);
  }, left());
  await eventually(() => history.checker().untilTableIsTrue(), left());
  // A status that could not be written is tried again after a pause, too.
  await eventually(() => {
    for (const { metadata, status } of history.checker().ranges())
      expect(status?.['observedGeneration'], metadata.name).toBe(metadata.generation);
  }, left());
  const endsSoon = (): boolean => someCooldownEnds(history.checker(), A_FRESH_START_MS);
  await eventually(() => expect(endsSoon(), 'a cooldown ends soon').toBe(false), left());
  const unserved = (): readonly string[] => unservedIn({ ...history.checker().cluster(), mayLinger });
  await eventually(() => expect(unserved()).toEqual([]), left());
  await history.rests(left());
}
