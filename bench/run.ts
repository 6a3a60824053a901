/**
 * The budgets, as ratios within one run: `node bench/run.ts` measures all and writes RESULTS.md; with names of parts
 * (`node bench/run.ts assign large`) only those are measured again, and the others stand as they were.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assign } from './lib/assign.ts';
import { bundle } from './lib/bundle.ts';
import { decision } from './lib/decision.ts';
import { large } from './lib/large.ts';
import { latency } from './lib/latency.ts';
import { policy } from './lib/policy.ts';
import { asMarkdown, asText, type Findings, measured, type PartResult } from './lib/report.ts';
import { type Bench, startBench, versions } from './lib/rig.ts';
import { scrape } from './lib/scrape.ts';
import { settled } from './lib/settled.ts';
import { writes } from './lib/writes.ts';

const PARTS: Readonly<Record<string, { title: string; run: (bench: Bench) => Promise<Findings> }>> = {
  assign: { title: 'Assign many waiting Services (`assign`)', run: assign },
  writes: { title: 'Writes per Service (`writes`)', run: writes },
  latency: { title: 'One Service on an idle cluster (`latency`)', run: latency },
  settled: { title: 'A settled cluster (`settled`)', run: settled },
  large: { title: 'Start and memory with 10,000 Services (`large`)', run: large },
  decision: { title: 'One decision (`decision`)', run: decision },
  scrape: { title: 'A scrape of 500 PortRanges (`scrape`)', run: scrape },
  policy: { title: 'The policy that makes segments bind (`policy`)', run: policy },
  bundle: { title: 'The bundle (`bundle`)', run: bundle },
};

const RESULTS = join(import.meta.dirname, 'results.json');
const PAGE = join(import.meta.dirname, 'RESULTS.md');

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter((name) => !Object.hasOwn(PARTS, name));
  if (unknown.length > 0) {
    process.stderr.write(`unknown: ${unknown.join(', ')}; parts are ${Object.keys(PARTS).join(', ')}\n`);
    return 2;
  }
  const bench = await startBench();
  let failed = 0;
  try {
    const results = await earlierResults();
    const of = await versions();
    for (const [name, { title, run }] of Object.entries(PARTS)) {
      if (names.length > 0 && !names.includes(name)) continue;
      bench.say(`── ${name} ──`);
      try {
        results[name] = await measured(title, of, () => run(bench));
        process.stdout.write(`\n${asText(results[name])}\n\n`);
        // At once: whoever breaks off keeps what is measured.
        await save(results);
      } catch (error) {
        failed += 1;
        process.stderr.write(`${name} failed: ${error instanceof Error ? error.stack : String(error)}\n`);
      }
    }
    bench.say('written: bench/RESULTS.md');
  } finally {
    await bench.guard.finish();
  }
  return failed === 0 ? 0 : 1;
}

async function save(results: Readonly<Record<string, PartResult>>): Promise<void> {
  await writeFile(RESULTS, `${JSON.stringify(results, null, 2)}\n`);
  await writeFile(PAGE, asMarkdown(Object.keys(PARTS).flatMap((name) => results[name] ?? [])));
}

/** Of the parts that are not measured this time. */
async function earlierResults(): Promise<Record<string, PartResult>> {
  const text = await readFile(RESULTS, 'utf8').catch(() => '{}');
  return JSON.parse(text) as Record<string, PartResult>;
}

process.exitCode = await main(process.argv.slice(2));
