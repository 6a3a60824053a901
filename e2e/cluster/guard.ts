import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';

/**
 * Ends what we started when we no longer can: a shell of its own session holds one end of a pipe whose other end
 * only this process has. The kernel closes that pipe however this process ends, SIGKILL included; then the shell
 * kills the processes by number, waits until they are gone and removes the folder.
 *
 *   watching ──"watch 12"/"forget 12"──► watching
 *      └──pipe closed──► kill -9 each ──gone, or 5 s──► rm -rf folder ──► end
 *
 * (Dead processes that nobody has buried, state Z, count as gone: not every container's first process buries.)
 * A shell and not Node, because one per cluster must cost next to nothing.
 */
const SCRIPT = `
pids=
while read -r word pid; do
  case $word in
    watch) pids="$pids $pid" ;;
    forget) rest=; for p in $pids; do [ "$p" = "$pid" ] || rest="$rest $p"; done; pids=$rest ;;
  esac
done
running() {
  kill -0 "$1" 2>/dev/null || return 1
  case $(cat "/proc/$1/stat" 2>/dev/null) in *') Z '*) return 1 ;; esac
}
for p in $pids; do kill -9 "$p" 2>/dev/null; done
for p in $pids; do
  tries=0
  while running "$p" && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
done
rm -rf -- "$1"
`;

export interface Guard {
  /** Its process number. */
  readonly pid: number;
  /** Kill this process when the end comes; with a minus before it, the group of processes. */
  watch(pid: number): void;
  /** This process has ended: its number may be given to a stranger. */
  forget(pid: number): void;
  /** Brings the end about now; resolves when the processes are gone and the folder is removed. */
  finish(): Promise<void>;
}

/** Starts a guard of the folder `dir`, whose content it will remove. Throws when there is no /bin/sh. */
export async function startGuard(dir: string): Promise<Guard> {
  // Detached: a Ctrl-C in the terminal reaches every process of the terminal's group, and this one must outlive it.
  const shell = spawn('/bin/sh', ['-c', SCRIPT, 'guard', dir], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  await once(shell, 'spawn');
  const ended = once(shell, 'exit');
  shell.stdin.on('error', () => {});
  // Neither keeps this process alive: a script that forgets stop() ends all the same, and so do its processes.
  shell.unref();
  if (shell.stdin instanceof Socket) shell.stdin.unref();
  return {
    pid: shell.pid ?? 0,
    watch: (pid) => void shell.stdin.write(`watch ${pid}\n`),
    forget: (pid) => void shell.stdin.write(`forget ${pid}\n`),
    finish: async () => {
      shell.ref();
      shell.stdin.end();
      await ended;
    },
  };
}
