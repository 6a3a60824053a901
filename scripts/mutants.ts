/**
 * Applies each deliberate defect of test/mutants/*.json in a scratch copy and runs the tests that shall notice it, and
 * no others. Fails when a defect is not noticed by every test that it names, or when its snippet is no longer in the
 * code exactly once. `node scripts/mutants.ts [part of a name or of a file …]` tries some of them.
 */
import { cp, glob, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Guard, startGuard } from '../e2e/cluster/guard.ts';
import { runBounded } from './bounded.ts';

interface Mutant {
  /** The defect, in words. */
  readonly name: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly snippet: string;
  readonly replacement: string;
  /** Test file → a part of the name of each test that must fail. */
  readonly fails: Readonly<Record<string, readonly string[]>>;
  /** Of the environment in which they run, what differs from ENV. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What a scratch copy needs, beside the dependencies. The simulation shares the judge with the end-to-end tests. */
const COPIED = ['src', 'test', 'e2e', 'crds', 'docs', 'package.json', 'tsconfig.json', 'vitest.config.ts'];
const AT_ONCE = 2;
/** A defect may keep a test from ever ending, which is no proof that the test notices it. */
const LONGEST_MS = 180_000;
/** The same histories each time, and enough of them. */
const ENV = { ...process.env, SEED: '1', RUNS: '1000' };
const ROOT = join(import.meta.dirname, '..');

const wanted = process.argv.slice(2);
const mutants = (await readMutants()).filter(
  ({ name, file }) =>
    wanted.length === 0 || wanted.some((part) => name.includes(part) || file.includes(part)),
);
const startedAt = performance.now();
const survivors: string[] = [];
const queue = [...mutants];
await Promise.all(Array.from({ length: AT_ONCE }, worker));
const seconds = Math.round((performance.now() - startedAt) / 1_000);
process.stdout.write(
  `\n${mutants.length - survivors.length} noticed, ${survivors.length} not, in ${seconds} s\n`,
);
for (const name of survivors) process.stdout.write(`not noticed: ${name}\n`);
if (mutants.length === 0 || survivors.length > 0) process.exitCode = 1;

async function readMutants(): Promise<Mutant[]> {
  const all: Mutant[] = [];
  for await (const file of glob('test/mutants/*.json', { cwd: ROOT }))
    all.push(...(JSON.parse(await readFile(join(ROOT, file), 'utf8')) as Mutant[]));
  return all;
}

async function worker(): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'mutants-'));
  const guard = await startGuard(scratch);
  for (const name of COPIED) await cp(join(ROOT, name), join(scratch, name), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(scratch, 'node_modules'));
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    const why = await survives(mutant, scratch, guard);
    if (why !== undefined) survivors.push(mutant.name);
    process.stdout.write(why === undefined ? `✓ ${mutant.name}\n` : `✗ ${mutant.name}: ${why}\n`);
  }
  await guard.finish();
}

/** Why the defect goes unnoticed; undefined: every test that it names fails. */
async function survives(
  { file, snippet, replacement, fails, env = {} }: Mutant,
  scratch: string,
  guard: Guard,
): Promise<string | undefined> {
  const path = join(scratch, file);
  const source = await readFile(path, 'utf8');
  const found = source.split(snippet).length - 1;
  if (found !== 1) return `its snippet is ${found} times in ${file}`;
  await writeFile(
    path,
    source.replace(snippet, () => replacement),
  );
  try {
    const failed = await failedTests(fails, { cwd: scratch, env: { ...ENV, ...env } }, guard);
    if (typeof failed === 'string') return failed;
    const missed = Object.values(fails)
      .flat()
      .filter((part) => !failed.some((name) => name.includes(part)));
    return missed.length === 0 ? undefined : `did not fail: ${missed.join('; ')}`;
  } finally {
    await writeFile(path, source);
  }
}

/** The full names of those that fail, or why that cannot be said: a defect that only breaks the file proves nothing. */
async function failedTests(
  fails: Mutant['fails'],
  place: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
  guard: Guard,
): Promise<string[] | string> {
  const report = join(place.cwd, 'report.json');
  const parts = Object.values(fails).flat();
  const args = ['run', '--project', 'unit', '--reporter=json', `--outputFile=${report}`];
  args.push('--testNamePattern', parts.map(literally).join('|'));
  // Of what is selected, anything that fails is what was asked for.
  if (parts.length === 1) args.push('--bail=1');
  args.push(...Object.keys(fails));
  const vitest = [join(ROOT, 'node_modules/.bin/vitest'), ...args] as const;
  const isInTime = await runBounded(guard, vitest, { ...place, longestMs: LONGEST_MS });
  if (!isInTime) return `its tests did not end within ${LONGEST_MS / 1_000} s`;
  const text = await readFile(report, 'utf8').catch(() => undefined);
  if (text === undefined) return 'its tests ended without a report';
  await rm(report);
  const { testResults } = JSON.parse(text) as {
    testResults: { assertionResults: { status: string; fullName: string }[] }[];
  };
  const ran = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'passed' || status === 'failed');
  if (ran.length === 0) return `cannot be run: ${parts.join('; ')}`;
  return ran.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName);
}

/** As a regular expression that matches just this text. */
function literally(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
}
