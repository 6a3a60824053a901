import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Guard } from './guard.ts';

/** A program of the control plane while it runs. */
export interface Daemon {
  readonly name: string;
  readonly pid: number;
  running(): boolean;
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>;
  /** Sends the signal and resolves when the process has ended. */
  end(signal: NodeJS.Signals): Promise<void>;
  /** The last lines of its log, from its most recent start at the latest. */
  logTail(): Promise<string>;
}

const TAIL_LINES = 20;

/**
 * Starts a program that writes its log to `logFile` (appended) and that `guard` ends when this process cannot.
 * Throws when the program cannot be started.
 */
export async function startDaemon(
  program: string,
  args: readonly string[],
  dir: string,
  logFile: string,
  guard: Guard,
): Promise<Daemon> {
  const log = await open(logFile, 'a');
  const begin = (await log.stat()).size;
  let child: ChildProcess;
  try {
    // Detached for the same reason as the guard: Ctrl-C is for us, and we decide how these end.
    child = spawn(program, args, { cwd: dir, detached: true, stdio: ['ignore', log.fd, log.fd] });
    await once(child, 'spawn');
  } finally {
    await log.close();
  }
  const { pid } = child;
  if (pid === undefined) throw new Error(`${program} has no process`);
  guard.watch(pid);
  const ended = once(child, 'exit').then(() => guard.forget(pid));
  child.unref();
  const running = () => child.exitCode === null && child.signalCode === null;
  return {
    name: basename(program),
    pid,
    running,
    ended,
    end: async (signal) => {
      child.ref();
      if (running()) child.kill(signal);
      await ended;
    },
    logTail: async () => {
      const lines = (await readFile(logFile)).subarray(begin).toString('utf8').trimEnd().split('\n');
      return lines.slice(-TAIL_LINES).join('\n');
    },
  };
}
