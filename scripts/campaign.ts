/**
 * Plays histories under faults and prints what came of them, by kind of fault: `RUNS=` how many (10,000), from the seed
 * `SEED=` (0) on, and `WITHIN=` how many minutes at most. With --write the table goes into docs/reliability.md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { kindsOf, play } from '../test/simulation/campaign.ts';
import { KINDS } from '../test/simulation/kinds.ts';

const PAGE = new URL('../docs/reliability.md', import.meta.url);
const [BEGIN, END] = ['<!-- campaign: begin -->', '<!-- campaign: end -->'];

interface Tally {
  histories: number;
  strikes: number;
  complaints: number;
}

/** A prime, so that a campaign that is cut short has met every pair about equally often. */
const STRIDE = 7_919;

async function campaign(first: number, runs: number, minutes: number): Promise<void> {
  const tallies = new Map<string, Tally>(
    Object.keys(KINDS).map((name) => [name, { histories: 0, strikes: 0, complaints: 0 }]),
  );
  const began = performance.now();
  const elapsed = (): number => (performance.now() - began) / 60_000;
  let played = 0;
  for (; played < runs && elapsed() < minutes; played += 1) {
    const seed = first + ((played * STRIDE) % runs);
    const { complaints, strikes } = await outcomeOf(seed);
    for (const complaint of complaints) console.error(`SEED=${seed} RUNS=1: ${complaint}`);
    for (const name of new Set(kindsOf(seed))) {
      const tally = tallies.get(name);
      if (tally === undefined) continue;
      tally.histories += 1;
      tally.strikes += strikes;
      tally.complaints += complaints.length > 0 ? 1 : 0;
    }
  }
  const pace = Math.round(played / elapsed());
  report(tallies, `${count(played)} histories, seeds ${first} to ${first + runs - 1}, ${pace} a minute.`);
}

async function outcomeOf(seed: number): Promise<{ complaints: readonly string[]; strikes: number }> {
  try {
    return await play(seed);
  } catch (error) {
    return { complaints: [String(error)], strikes: 0 };
  }
}

function report(tallies: ReadonlyMap<string, Tally>, summary: string): void {
  const rows = [...tallies].map(
    ([name, { histories, strikes, complaints }]) =>
      `| ${name} | ${count(histories)} | ${count(strikes)} | ${complaints} |`,
  );
  const head = [
    '| Fault | Histories | Faults in them | Histories with a breach |',
    '| --- | --: | --: | --: |',
  ];
  const table = [summary, '', ...head, ...rows].join('\n');
  console.log(table);
  if (!process.argv.includes('--write')) return;
  const page = readFileSync(PAGE, 'utf8');
  const [before, after] = [page.indexOf(BEGIN), page.indexOf(END)];
  writeFileSync(PAGE, `${page.slice(0, before + BEGIN.length)}\n${table}\n${page.slice(after)}`);
}

function count(n: number): string {
  return n.toLocaleString('en-US');
}

await campaign(
  Number(process.env['SEED'] ?? 0),
  Number(process.env['RUNS'] ?? 10_000),
  Number(process.env['WITHIN'] ?? 24 * 60),
);
