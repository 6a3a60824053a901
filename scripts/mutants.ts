/**
 * Applies each deliberate defect of test/mutants/*.json in a scratch copy and runs the tests that shall notice it.
 * Fails when a defect is not noticed by every test that it names, or when its snippet is no longer in the code exactly
 * once. `node scripts/mutants.ts [part of a name …]` tries some of them.
 */
import { execFile } from 'node:child_process';
import { cp, glob, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Mutant {
  /** The defect, in words. */
  readonly name: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly snippet: string;
  readonly replacement: string;
  /** Test file → a part of the name of each test that must fail. */
  readonly fails: Readonly<Record<string, readonly string[]>>;
}

/** What a scratch copy needs, beside the dependencies. */
const COPIED = ['src', 'test', 'crds', 'docs', 'package.json', 'tsconfig.json', 'vitest.config.ts'];
const AT_ONCE = 2;
/** The same histories each time, and enough of them. */
const ENV = { ...process.env, SEED: '1', RUNS: '1000' };
const ROOT = join(import.meta.dirname, '..');

const wanted = process.argv.slice(2);
const mutants = (await readMutants()).filter(
  ({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
);
const survivors: string[] = [];
const queue = [...mutants];
await Promise.all(Array.from({ length: AT_ONCE }, worker));
process.stdout.write(`\n${mutants.length - survivors.length} noticed, ${survivors.length} not\n`);
if (mutants.length === 0 || survivors.length > 0) process.exitCode = 1;

async function readMutants(): Promise<Mutant[]> {
  const all: Mutant[] = [];
  for await (const file of glob('test/mutants/*.json', { cwd: ROOT }))
    all.push(...(JSON.parse(await readFile(join(ROOT, file), 'utf8')) as Mutant[]));
  return all;
}

async function worker(): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'mutants-'));
  for (const name of COPIED) await cp(join(ROOT, name), join(scratch, name), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(scratch, 'node_modules'));
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    const why = await survives(mutant, scratch);
    if (why !== undefined) survivors.push(mutant.name);
    process.stdout.write(why === undefined ? `✓ ${mutant.name}\n` : `✗ ${mutant.name}: ${why}\n`);
  }
  await rm(scratch, { recursive: true });
}

/** Why the defect goes unnoticed; undefined: every test that it names fails. */
async function survives(
  { file, snippet, replacement, fails }: Mutant,
  scratch: string,
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
    const failed = await failedTests(Object.keys(fails), scratch);
    const missed = Object.values(fails)
      .flat()
      .filter((part) => !failed.some((name) => name.includes(part)));
    return missed.length === 0 ? undefined : `did not fail: ${missed.join('; ')}`;
  } finally {
    await writeFile(path, source);
  }
}

async function failedTests(files: readonly string[], cwd: string): Promise<string[]> {
  const report = join(cwd, 'report.json');
  const args = ['run', '--project', 'unit', '--reporter=json', `--outputFile=${report}`, ...files];
  await new Promise((resolve) => {
    execFile(join(ROOT, 'node_modules/.bin/vitest'), args, { cwd, env: ENV, maxBuffer: 2 ** 26 }, resolve);
  });
  const { testResults } = JSON.parse(await readFile(report, 'utf8')) as {
    testResults: { assertionResults: { status: string; fullName: string }[] }[];
  };
  await rm(report);
  return testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'failed')
    .map(({ fullName }) => fullName);
}
