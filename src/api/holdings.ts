import type { Port } from '../ports/portSet.ts';
import { portLabel, type ServicePort } from './service.ts';

/**
 * The part of the condition's message that says what a Service holds, in a fixed form, because it is read back
 * when the table is lost: `holds http 30100, dns 30053 from team-a`. Out of its range: `holds http 31234 outside
 * team-a`. What is missing follows after a semicolon.
 */
export interface Holdings {
  readonly numbers: readonly Port[];
  /** The range they were granted from, whether they lie in it or not. */
  readonly range: string;
}

const FORM = /^holds ((?:[^\s,]+ \d{1,5})(?:, [^\s,]+ \d{1,5})*) (from|outside) ([a-z0-9]\S*)/;

/** `http 30100, dns 30053`: each number once, under the first port that has it. */
export function namedNumbers(ports: readonly (readonly [ServicePort, Port])[]): string {
  let text = '';
  for (const [i, [port, number]] of ports.entries()) {
    if (ports.findIndex(([, other]) => other === number) < i) continue;
    text += `${text === '' ? '' : ', '}${portLabel(port)} ${number}`;
  }
  return text;
}

/** Reads a message back; undefined when it says nothing about holdings. Never throws: users can edit it. */
export function readHoldings(message: string): Holdings | undefined {
  const match = FORM.exec(message);
  if (match === null) return undefined;
  const [, list = '', , range = ''] = match;
  const numbers = list.split(', ').map((part) => Number(part.slice(part.lastIndexOf(' ') + 1)));
  return { numbers, range: range.replace(/[;:,]$/, '') };
}
