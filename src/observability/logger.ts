import { type Logger, type LoggerOptions, pino } from 'pino';
import { printable } from '../api/text.ts';
import { readable } from './readable.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ['json', 'text'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** How long a line of level info may wait for others, ms. */
const BATCH_MS = 50;

/** pino's number for it. */
const WARN = 40;

/** Structured logs on standard output: JSON for collectors, or one readable line each for people. */
export function createLogger(options: { level: LogLevel; format: LogFormat }): Logger {
  const settings = {
    level: options.level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (level: string) => ({ level }) },
  };
  // https://no-color.org
  const colours = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';
  if (options.format === 'text')
    return pino(settings, { write: (line) => void process.stdout.write(`${readable(line, { colours })}\n`) });
  // JSON lets some of them stand. It is read on terminals, too, and quotes what servers and users wrote.
  const batches = inBatches(pino.destination({ sync: true }));
  const lines = { ...batches, write: (line: string) => batches.write(`${printable(line.trimEnd())}\n`) };
  process.on('exit', lines.flush);
  const hooks: LoggerOptions['hooks'] = {
    logMethod(args, log, level) {
      log.apply(this, args);
      if (level >= WARN) lines.flush();
    },
  };
  return pino({ ...settings, hooks }, lines);
}

/**
 * Writing a line costs more than making it, and a burst of assignments makes hundreds in a second: what comes within
 * a moment is one write. Written synchronously, so that nothing is left behind when the process ends.
 */
export function inBatches(to: { write(text: string): unknown }): {
  write(line: string): void;
  flush(): void;
} {
  let batch = '';
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const text = batch;
    batch = '';
    if (text !== '') to.write(text);
  };
  return {
    write(line) {
      batch += line;
      timer ??= setTimeout(flush, BATCH_MS);
    },
    flush,
  };
}
