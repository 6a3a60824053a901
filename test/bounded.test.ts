/** What `make mutants` starts must end with it: a defect may make a test loop for ever, in a worker that hears nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startGuard } from '../e2e/cluster/guard.ts';
import { runBounded } from '../scripts/bounded.ts';

const ROOT = join(import.meta.dirname, '..');
/** A parent that hears no signal, and a worker in a loop without end; both numbers are told in a file. */
const ENDLESS = `trap '' INT TERM; while :; do :; done & echo $$ $! > pids`;

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'bounded-'));
  onTestFinished(() => {
    for (const pid of told.splice(0).filter(isRunning)) process.kill(pid, 'SIGKILL');
  });
  return dir;
}

const told: number[] = [];

async function pidsIn(dir: string): Promise<number[]> {
  await vi.waitFor(async () => expect(await readFile(join(dir, 'pids'), 'utf8')).toMatch(/\n$/), 15_000);
  const pids = (await readFile(join(dir, 'pids'), 'utf8')).trim().split(' ').map(Number);
  told.push(...pids);
  return pids;
}

/** Dead and unburied counts as ended: some containers' first process does not bury. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  return !existsSync(`/proc/${pid}/stat`) || !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
}

const untilGone = (pids: readonly number[]) =>
  vi.waitFor(() => expect(pids.filter(isRunning)).toEqual([]), 15_000);

test('a program that takes longer than it may is ended with every process that it started', async () => {
  const dir = await scratch();
  const guard = await startGuard(dir);
  const bounds = { cwd: dir, env: process.env, longestMs: 3_000 };
  const ran = runBounded(guard, ['/bin/sh', '-c', `${ENDLESS}; wait`], bounds);
  const pids = await pidsIn(dir);
  expect(await ran).toBe(false);
  await untilGone(pids);
  await guard.finish();
  expect(existsSync(dir)).toBe(false);
});

test('a worker that outlives its parent is ended when the parent has ended', async () => {
  const dir = await scratch();
  const guard = await startGuard(dir);
  const bounds = { cwd: dir, env: process.env, longestMs: 15_000 };
  expect(await runBounded(guard, ['/bin/sh', '-c', ENDLESS], bounds)).toBe(true);
  await untilGone(await pidsIn(dir));
  await guard.finish();
});

test.for(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
  'when the runner gets %s, nothing that it started is left, and its scratch copy is removed',
  async (signal) => {
    const dir = await scratch();
    const script = `
      const { startGuard } = await import(${JSON.stringify(join(ROOT, 'e2e/cluster/guard.ts'))});
      const { runBounded } = await import(${JSON.stringify(join(ROOT, 'scripts/bounded.ts'))});
      const bounds = { cwd: ${JSON.stringify(dir)}, env: process.env, longestMs: 60_000 };
      const program = ['/bin/sh', '-c', ${JSON.stringify(`${ENDLESS}; wait`)}];
      await runBounded(await startGuard(bounds.cwd), program, bounds);`;
    const runner = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'ignore' });
    onTestFinished(() => void runner.kill('SIGKILL'));
    const exited = once(runner, 'exit');
    const pids = await pidsIn(dir);
    expect(pids.filter(isRunning)).toEqual(pids);
    runner.kill(signal);
    expect(await exited).toEqual([null, signal]);
    await untilGone(pids);
    await vi.waitFor(() => expect(existsSync(dir)).toBe(false), 15_000);
  },
);
