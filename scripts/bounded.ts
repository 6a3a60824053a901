import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Guard } from '../e2e/cluster/guard.ts';

interface Bounds {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly longestMs: number;
}

/**
 * Runs a program in a process group of its own and resolves when nothing of it is left: false when it took longer than
 * it may. What it leaves behind is ended in any case, with SIGKILL, since a loop without end hears of nothing else; if
 * this process ends first, however it does, `guard` ends the group.
 */
export async function runBounded(
  guard: Guard,
  [program, ...args]: readonly [string, ...string[]],
  { cwd, env, longestMs }: Bounds,
): Promise<boolean> {
  const child = spawn(program, args, { cwd, env, detached: true, stdio: 'ignore' });
  const exited = once(child, 'exit');
  await once(child, 'spawn');
  const group = -(child.pid ?? Number.NaN);
  guard.watch(group);
  let isInTime = true;
  const timer = setTimeout(() => {
    isInTime = false;
    kill(group);
  }, longestMs);
  await exited;
  clearTimeout(timer);
  kill(group);
  guard.forget(group);
  return isInTime;
}

function kill(group: number): void {
  try {
    process.kill(group, 'SIGKILL');
  } catch (error) {
    // Nobody of it is left.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
