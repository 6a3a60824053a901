/**
 * Half an hour of an ordinary bad day: people come and go all the time, something goes wrong every half minute, and
 * now and then nothing happens at all, so that it can be seen whether everything rests and fits together.
 *
 *   SOAK_MINUTES=30  how long; after two fifths of it no fault ends a process any more, so that its memory can be judged
 *   SEED=            what people do and which faults strike (when exactly, the machine decides)
 */
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createClient } from '../e2e/cluster/client.ts';
import { type Cluster, startCluster } from '../e2e/cluster/cluster.ts';
import { randomFrom } from '../test/simulation/simulation.ts';
import { type Stage, strike } from './faults.ts';
import { gatherPeople } from './people.ts';
import { startRecord } from './record.ts';
import { startReplicas } from './replicas.ts';
import { asCsv, complaintsAboutGrowth, rateOf, type Sample, sampleOf, tableOf } from './samples.ts';

const MINUTES = Number(process.env['SOAK_MINUTES'] ?? 30);
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
/** Shares of the run. A process that was started last has time to warm up before its memory is judged. */
const DEADLY_UNTIL = 0.4;
const JUDGED_FROM = 0.55;
const SAMPLE_EVERY_MS = 5_000;
const QUIET_EVERY_S = 180;
/** Before that a process is still warming up: V8 has not collected its old generation once. */
const GROWTH_FROM_MINUTES = 10;
/**
 * A lease of 30 s, cooldowns of 5 s, and the pause of a reflector after several restarts of the apiserver, which grows to
 * 60 s as client-go's does, may have to run out first.
 */
const RESTS_WITHIN_MS = 150_000;
const QUIET_FOR_MS = 20_000;
const OUT = join(import.meta.dirname, 'out');
const CONFIG = join(import.meta.dirname, '../config/default');

const samples: Sample[] = [];
const notes: { at: number; what: string }[] = [];
const complaints: string[] = [];

async function startStage(cluster: Cluster, signal: AbortSignal): Promise<Stage> {
  for (const args of [
    ['apply', '-k', CONFIG],
    ['wait', '--for=condition=Established', '--timeout=60s', 'crd/portranges.nodeport-manager.io'],
  ])
    expect(await cluster.kubectl(args)).toMatchObject({ code: 0 });
  const client = createClient(cluster);
  const random = randomFrom(SEED);
  const record = await startRecord(client, signal);
  const replicas = await startReplicas(cluster);
  return { cluster, client, random, record, replicas, people: await gatherPeople(client, record, random) };
}

/** Samples and judges, until the signal. */
async function watchOver(
  { replicas, record }: Stage,
  seconds: () => number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const at = Math.round(seconds());
    const taken = await Promise.all(replicas.running().map((each) => sampleOf(each, at)));
    samples.push(...taken.flatMap((sample) => sample ?? []));
    record.judge();
    await sleep(SAMPLE_EVERY_MS);
  }
}

/** Nobody does anything: soon nothing is written any more, nothing is queued, and everything fits together. */
async function untilAtRest({ people, record, replicas }: Stage, say: (what: string) => void): Promise<void> {
  await people.rest();
  const began = performance.now();
  const waited = (): number => performance.now() - began;
  const isWell = (): boolean => record.quietFor() > QUIET_FOR_MS && record.complaintsAtRest().length === 0;
  while (!isWell() && waited() < RESTS_WITHIN_MS) await sleep(250);
  const seconds = Math.max(0, Math.round((waited() - record.quietFor()) / 1_000));
  if (record.quietFor() < QUIET_FOR_MS)
    complaints.push(`Rests: something is still written ${seconds} s after the last change`);
  const taken = await Promise.all(replicas.running().map((each) => sampleOf(each, 0)));
  for (const { pid, queue } of taken.flatMap((sample) => sample ?? []))
    if (queue > 0) complaints.push(`Rests: the queue of process ${pid} has ${queue} keys`);
  complaints.push(...record.complaintsAtRest());
  say(`at rest after ${seconds} s with ${record.services().length} Services`);
}

async function live(stage: Stage, seconds: () => number): Promise<void> {
  const { people, random, record } = stage;
  const total = MINUTES * 60;
  let told = 0;
  const say = (what: string): void => {
    notes.push({ at: seconds(), what });
    console.info(`${seconds().toFixed(0).padStart(5)} s  ${what}`);
    const all = [...complaints, ...record.violations];
    for (const complaint of all.slice(told)) console.info(`         ${complaint}`);
    told = all.length;
  };
  let quietAt = Math.min(QUIET_EVERY_S, total / 3);
  people.work();
  while (seconds() < total) {
    await sleep(10_000 + random() * 20_000);
    say(await strike(stage, seconds() < DEADLY_UNTIL * total));
    if (seconds() < quietAt) continue;
    await untilAtRest(stage, say);
    quietAt = seconds() + QUIET_EVERY_S;
    people.work();
  }
  await untilAtRest(stage, say);
}

async function keep(cluster: Cluster): Promise<void> {
  await mkdir(OUT, { recursive: true });
  const name = `${new Date().toISOString().slice(0, 19).replaceAll(':', '')}-seed-${SEED}`;
  await writeFile(join(OUT, `${name}.csv`), asCsv(samples));
  await writeFile(
    join(OUT, `${name}.json`),
    JSON.stringify({ minutes: MINUTES, seed: SEED, notes, complaints }, null, 2),
  );
  if (complaints.length === 0) return;
  for (const file of await readdir(cluster.dir))
    if (/^controller-\d+\.log$/.test(file))
      await copyFile(join(cluster.dir, file), join(OUT, `${name}-${file}`));
}

test(
  `SOAK_MINUTES=${MINUTES} SEED=${SEED}: nothing grows, everything rests, and the judge has nothing to say`,
  async () => {
    const cluster = await startCluster({ nodePortRange: '30100-63999' });
    const stop = new AbortController();
    try {
      const stage = await startStage(cluster, stop.signal);
      const began = performance.now();
      const seconds = (): number => (performance.now() - began) / 1_000;
      const watching = watchOver(stage, seconds, stop.signal);
      await live(stage, seconds);
      stop.abort();
      await watching;
      stage.record.judge(true);
      complaints.push(...stage.record.violations);
      if (MINUTES >= GROWTH_FROM_MINUTES)
        complaints.push(...complaintsAboutGrowth(samples, JUDGED_FROM * MINUTES * 60));
      console.info(`\n${tableOf(samples, notes)}\n`);
      console.info(
        `${stage.record.revisions()} revisions judged, with ${stage.record.gaps.length} gaps; ${rateOf(samples, 'requests').toFixed(1)} requests a second, ` +
          `${rateOf(samples, 'writes').toFixed(1)} of them writes; processes that ended: ${stage.replicas.ends.join(', ') || 'none'}`,
      );
      await keep(cluster);
      await stage.replicas.stop();
      await stage.client.close();
    } finally {
      await cluster.stop();
    }
    expect(complaints).toEqual([]);
  },
  (MINUTES + 10) * 60_000,
);
