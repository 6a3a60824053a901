import { type Logger, pino } from 'pino';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ['json', 'text'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Structured logs on standard output: JSON for collectors, or one readable line each for people. */
export function createLogger(options: { level: LogLevel; format: LogFormat }): Logger {
  const settings = {
    level: options.level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (level: string) => ({ level }) },
  };
  // Synchronous: the line about what was done is out before the process can die.
  return options.format === 'json'
    ? pino(settings, pino.destination({ sync: true }))
    : pino(settings, { write: (line) => void process.stdout.write(`${readable(line)}\n`) });
}

/** `12:00:00.000 info  ports assigned service=a/web ports=[30100]`, from pino's JSON. */
function readable(line: string): string {
  const { time, level, msg, ...details } = JSON.parse(line) as Record<string, unknown>;
  const pairs = Object.entries(details).map(
    ([key, value]) =>
      `${key}=${typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value)}`,
  );
  return [String(time).slice(11, 23), String(level).padEnd(5), String(msg), ...pairs].join(' ');
}
