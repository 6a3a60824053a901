/** Log lines for people: aligned, `key=value`, in colours where there is a terminal. */
import { printable } from '../api/text.ts';

/** Most messages are shorter; a longer one pushes its own values to the right. */
const MESSAGE_WIDTH = 24;
const INDENT = ' '.repeat(19);

const RESET = '\u001b[0m';
const DIM = '\u001b[2m';
const BOLD = '\u001b[1m';
const LEVEL_COLOUR: Readonly<Record<string, string>> = {
  debug: '\u001b[34m',
  info: '\u001b[32m',
  warn: '\u001b[33m',
  error: '\u001b[1;31m',
};

/**
 * `12:00:00.000 info  port assigned            service=a/web port=30100`, from pino's JSON. A list of sentences follows
 * below, one on a line. Nothing of what is logged reaches the terminal as an order or as another line.
 */
export function readable(line: string, { colours }: { colours: boolean }): string {
  const paint = (colour: string | undefined, text: string): string =>
    colours && colour !== undefined ? `${colour}${text}${RESET}` : text;
  const { time, level, msg, ...details } = JSON.parse(line) as Record<string, unknown>;
  const head = [
    paint(DIM, printable(String(time)).slice(11, 23)),
    paint(LEVEL_COLOUR[String(level)], printable(String(level)).padEnd(5)),
    paint(BOLD, printable(String(msg)).padEnd(MESSAGE_WIDTH)),
  ];
  const below: string[] = [];
  for (const [key, value] of Object.entries(details)) {
    if (isListOfSentences(value)) below.push(...value.map((each) => `${INDENT}${printable(each)}`));
    else head.push(`${paint(DIM, `${printable(key)}=`)}${printable(textOf(value))}`);
  }
  return [head.join(' ').trimEnd(), ...below].join('\n');
}

/** As it is where that cannot be misread, else as JSON. */
function textOf(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

function isListOfSentences(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.some((each) => typeof each === 'string' && each.includes(' ')) &&
    value.every((each) => typeof each === 'string')
  );
}
