import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode, type Progress } from './run.ts';

/** Who holds a lock. A process number alone may have been given to another process since, so its start counts too. */
interface Holder {
  pid: number;
  started: string;
  token: string;
}

const LOOK_AGAIN_MS = 200;
const SAY_AGAIN_MS = 5000;

/**
 * Runs `work` while this process holds the lock file `path`; waits as long as a living process holds it.
 * The lock of a process that has died is broken.
 *
 * It saves doing the same work twice and is not what makes the result safe: two processes that break a dead
 * holder's lock in the same instant may both get in, so the work must end in an atomic rename.
 */
export async function withLock<T>(path: string, onProgress: Progress, work: () => Promise<T>): Promise<T> {
  const mine: Holder = { pid: process.pid, started: await startOf(process.pid), token: randomUUID() };
  await acquire(path, mine, onProgress);
  try {
    return await work();
  } finally {
    if ((await holderOf(path))?.token === mine.token) await rm(path, { force: true });
  }
}

async function acquire(path: string, mine: Holder, onProgress: Progress): Promise<void> {
  let said = Number.NEGATIVE_INFINITY;
  while (!(await take(path, mine))) {
    const holder = await holderOf(path);
    if (holder === undefined) continue;
    if (!(await isAlive(holder))) {
      onProgress(`process ${holder.pid} ended without finishing: its lock ${path} is broken`);
      await breakLock(path, holder);
      continue;
    }
    if (performance.now() - said >= SAY_AGAIN_MS) {
      onProgress(`waiting for process ${holder.pid}, which is already at it`);
      said = performance.now();
    }
    await sleep(LOOK_AGAIN_MS);
  }
}

/** Links a file that is already complete, so nobody ever reads a lock without its holder. */
async function take(path: string, mine: Holder): Promise<boolean> {
  const draft = `${path}.${mine.token}`;
  await writeFile(draft, JSON.stringify(mine));
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/** Moves the lock aside before removing it: if it changed hands meanwhile, the new holder's is put back. */
async function breakLock(path: string, dead: Holder): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    if ((await holderOf(aside))?.token !== dead.token) await link(aside, path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' && errorCode(error) !== 'EEXIST') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

async function holderOf(path: string): Promise<Holder | undefined> {
  try {
    const holder: Holder = JSON.parse(await readFile(path, 'utf8'));
    return holder;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    if (error instanceof SyntaxError) return { pid: 0, started: '', token: '' };
    throw error;
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  if (!(holder.pid > 0)) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return false;
  }
  return (await startOf(holder.pid)) === holder.started;
}

/** When a process started, in clock ticks since boot; the same empty text for all where there is no /proc. */
async function startOf(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
