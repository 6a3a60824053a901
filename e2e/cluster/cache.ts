import { access, constants, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { withLock } from './lock.ts';
import type { Progress } from './run.ts';

/**
 * The folder of this user's cache that has these programs. Unless it has all of them, `fill` is called to put them into
 * `target`; the cache never holds half of them. Safe when several processes ask at once: one works, the rest wait.
 * @param kind folder under the cache, `control-plane`
 * @param key folder under that, with version and platform
 */
export async function cached(
  kind: string,
  key: string,
  programs: readonly string[],
  onProgress: Progress,
  fill: (target: string, scratch: string) => Promise<void>,
): Promise<string> {
  const home = join(cacheFolder(), kind);
  const final = join(home, key);
  const isComplete = async (folder: string) => (await missingIn(folder, programs)).length === 0;
  if (await isComplete(final)) return final;
  await mkdir(home, { recursive: true });
  return withLock(join(home, `${key}.lock`), onProgress, async () => {
    if (await isComplete(final)) return final;
    await removeLeftovers(home, `${key}.tmp-`);
    const work = join(home, `${key}.tmp-${process.pid}`);
    try {
      await fill(join(work, 'bin'), join(work, 'scratch'));
      if (!(await isComplete(join(work, 'bin')))) throw new Error(`the ${kind} that was made is incomplete`);
      if (!(await isComplete(final))) {
        await rm(final, { recursive: true, force: true });
        await rename(join(work, 'bin'), final);
      }
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return final;
  });
}

/** Names of the programs that are not in the folder or cannot be run. */
export async function missingIn(folder: string, programs: readonly string[]): Promise<string[]> {
  const missing: string[] = [];
  for (const name of programs) {
    const found = await access(join(folder, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (!found) missing.push(name);
  }
  return missing;
}

/** XDG_CACHE_HOME counts only when it is absolute, as its specification says. */
function cacheFolder(): string {
  const xdg = process.env['XDG_CACHE_HOME'];
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.cache');
  return join(base, 'nodeport-manager');
}

/** What processes that were killed left behind: whoever holds the lock is the only one at work. */
async function removeLeftovers(home: string, prefix: string): Promise<void> {
  for (const name of await readdir(home)) {
    if (name.startsWith(prefix)) await rm(join(home, name), { recursive: true, force: true });
  }
}
