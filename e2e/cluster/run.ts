import { spawn } from 'node:child_process';

/** Receives one line of progress, without a line end. */
export type Progress = (line: string) => void;

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Ends the program, which then is an error. */
  signal?: AbortSignal;
  /** Called with each line the program writes, on either stream. */
  onLine?: (line: string) => void;
}

const TAIL_LINES = 15;

/** The code of a system error ("ENOENT"), undefined for anything else. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Runs a program to its end and returns its standard output.
 * Throws an error with the program's last lines when it cannot be started or ends with anything but 0.
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      signal: options.signal,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const tail: string[] = [];
    const onLine = (line: string) => {
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      options.onLine?.(line);
    };
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    eachLine(child.stdout, onLine);
    eachLine(child.stderr, onLine);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(stdout);
      const ended = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
      reject(new Error(`${command} ${args.join(' ')} ${ended}:\n${tail.join('\n')}`));
    });
  });
}

function eachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}

/**
 * Says what is being done at once, and then every 5 s with the time it has taken so far,
 * because a person who sees nothing for ten seconds believes that it hangs.
 */
export async function withHeartbeat<T>(
  label: string,
  onProgress: Progress,
  work: () => Promise<T>,
  detail: () => string = () => '',
): Promise<T> {
  const started = performance.now();
  const seconds = () => Math.round((performance.now() - started) / 1000);
  onProgress(label);
  const timer = setInterval(() => onProgress(`${label}: ${seconds()} s${detail()}`), 5000);
  try {
    const result = await work();
    if (seconds() >= 1) onProgress(`${label}: done in ${seconds()} s`);
    return result;
  } finally {
    clearInterval(timer);
  }
}
