import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { withLock } from '../../e2e/cluster/lock.ts';

let dir: string;
let path: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'lock-test-'));
  path = join(dir, 'a.lock');
});

afterEach(() => rm(dir, { recursive: true, force: true }));

const lock = <T>(work: () => Promise<T>, said: string[] = []) =>
  withLock(path, (line) => said.push(line), work);

test('work under the lock is never done twice at once', async () => {
  let inside = 0;
  let most = 0;
  const work = async () => {
    inside += 1;
    most = Math.max(most, inside);
    await new Promise(setImmediate);
    inside -= 1;
    return most;
  };
  await Promise.all([lock(work), lock(work), lock(work), lock(work)]);
  expect(most).toBe(1);
});

test('the lock is given back when the work fails, and nothing is left of it', async () => {
  const failing = lock(async () => {
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ pid: process.pid });
    throw new Error('the work failed');
  });
  await expect(failing).rejects.toThrow('the work failed');
  expect(await readdir(dir)).toEqual([]);
  expect(await lock(async () => 'next')).toBe('next');
});

test('the lock of a dead process is broken', async () => {
  const child = spawn(process.execPath, ['--eval', '']);
  await once(child, 'exit');
  await writeFile(path, JSON.stringify({ pid: child.pid, started: '1', token: 'x' }));
  const said: string[] = [];
  expect(await lock(async () => 'mine', said)).toBe('mine');
  expect(said).toEqual([`process ${child.pid} ended without finishing: its lock ${path} is broken`]);
  expect(await readdir(dir)).toEqual([]);
});

test.runIf(existsSync('/proc/self/stat'))(
  'the lock of a dead process is broken though its number was given to another',
  async () => {
    await writeFile(path, JSON.stringify({ pid: process.pid, started: '1', token: 'x' }));
    expect(await lock(async () => 'mine')).toBe('mine');
  },
);

test('a lock that nobody can read is broken', async () => {
  await writeFile(path, '');
  expect(await lock(async () => 'mine')).toBe('mine');
});

test('a folder that cannot be written to is an error, not a wait', async () => {
  const locked = withLock(
    join(dir, 'none/a.lock'),
    () => {},
    async () => 'mine',
  );
  await expect(locked).rejects.toMatchObject({ code: 'ENOENT' });
});
