/** What the demo shows and how: 100 columns, colour on a terminal unless NO_COLOR is set. */
import { stripVTControlCharacters, styleText } from 'node:util';
import { ANNOTATION } from '../src/api/names.ts';
import type { PortRange, PortSpan } from '../src/api/portRange.ts';
import { isReason, REASONS } from '../src/api/reasons.ts';
import { byAge, numbersOf, portLabel, type ServicePort, type ServiceView } from '../src/api/service.ts';

const COLUMNS = 100;

type Style = Parameters<typeof styleText>[0];

/** styleText looks at the terminal, NO_COLOR and FORCE_COLOR by itself. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

export function print(text = ''): void {
  process.stdout.write(`${text}\n`);
}

export function heading(text: string): void {
  print();
  print(paint(['bold', 'cyan'], text));
}

/** A paragraph, wrapped; `first` stands before its first line, blanks of the same width before the others. */
export function say(text: string, first = '  ', style: Style = 'reset'): void {
  const lines: string[] = [];
  const width = (line: string): number => first.length + stripVTControlCharacters(line).length;
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line === undefined || width(`${line} ${word}`) > COLUMNS) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  for (const [i, line] of lines.entries()) {
    const indent = i === 0 ? first : ' '.repeat(first.length);
    print(`${indent}${style === 'reset' ? line : paint(style, line)}`);
  }
}

/** What is being done, in grey: nobody needs to read it. */
export function progress(line: string): void {
  say(line, '  · ', 'dim');
}

/** `12 ms`, `1.4 s` */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const CELL = {
  managed: { sign: '█', style: 'green', meaning: 'managed' },
  foreign: { sign: '▒', style: 'yellow', meaning: "somebody else's" },
  free: { sign: '·', style: 'dim', meaning: 'free' },
  excluded: { sign: '×', style: 'red', meaning: 'excluded' },
} as const satisfies Record<string, { sign: string; style: Style; meaning: string }>;

type Cell = keyof typeof CELL;

const cell = (kind: Cell): string => paint(CELL[kind].style, CELL[kind].sign);

/** One line for each range: its usage, and one sign for each of its numbers. */
export function printRanges(ranges: Iterable<PortRange>, services: Iterable<ServiceView>): void {
  const all = [...services];
  const managed = new Set(all.filter(isServed).flatMap(({ ports }) => ports.map(({ nodePort }) => nodePort)));
  const taken = new Set(all.flatMap(numbersOf));
  print(paint('bold', `  ${'RANGE'.padEnd(8)}${'PORTS'.padEnd(19)}USED  HELD FOREIGN FREE WAITING`));
  for (const { metadata, spec, status = {} } of ranges) {
    const counts = [
      pad(`${status.usedPercent ?? 0} %`, 5),
      pad(status.allocated, 6),
      pad(status.foreign, 8),
      pad(status.free, 5),
      pad(status.pending, 8),
    ];
    const map = spec.ranges.map((span) => {
      const cells = portsOf(span).map((port): Cell => {
        if (spec.excluded?.some((excluded) => portsOf(excluded).includes(port))) return 'excluded';
        if (managed.has(port)) return 'managed';
        return taken.has(port) ? 'foreign' : 'free';
      });
      return cells.map(cell).join('');
    });
    print(
      `  ${metadata.name.padEnd(8)}${(status.ports ?? '').padEnd(18)}${counts.join('')}   ${map.join(' ')}`,
    );
  }
  const kinds = Object.keys(CELL) as Cell[];
  const legend = kinds.map((kind) => `${cell(kind)} ${paint('dim', CELL[kind].meaning)}`);
  print(`  ${paint('dim', 'one sign a number:')} ${legend.join('  ')}`);
}

/** One line for each Service that has node ports; the message too where its reason does not speak for itself. */
export function printServices(services: Iterable<ServiceView>): void {
  const row = (cells: readonly [string, string, string], last: string): void =>
    print(`  ${cells[0].padEnd(19)}${cells[1].padEnd(13)}${cells[2].padEnd(45)}${last}`);
  row(['SERVICE', 'TYPE', 'NODE PORTS'], 'CONDITION');
  const shown = [...services].filter((service) => numbersOf(service).length > 0);
  for (const service of shown.toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
    const { key, type, condition } = service;
    row(
      [key, type, portsText(service)],
      condition === undefined ? paint('dim', 'not managed') : stateOf(service),
    );
    if (condition?.reason === 'HeldOutOfRange') say(condition.message, '      ', 'dim');
  }
}

/** What each asks for, and what its condition says to that. */
export function printRequests(services: Iterable<ServiceView>): void {
  for (const service of services) {
    const { key, annotations, condition } = service;
    const asks = Object.values(ANNOTATION)
      .filter((name) => annotations[name] !== undefined)
      .map((name) => `${name.slice(name.indexOf('/') + 1)}=${annotations[name]}`);
    print(
      `  ${key.padEnd(16)}${asks.join(' ').padEnd(34)}${stateOf(service) || paint('dim', 'not managed')}`,
    );
    say(condition?.message ?? `has ${portsText(service)}`, '      ', 'dim');
  }
}

/** Who is not served, by reason: each message, in the order in which they are served, and what to do. */
export function printRefused(services: Iterable<ServiceView>): void {
  const refused = [...services].filter(({ condition }) => condition?.status === 'False').toSorted(byAge);
  for (const [reason, group] of Map.groupBy(refused, ({ condition }) => condition?.reason ?? '')) {
    print(`  ${paint('red', reason)}`);
    for (const { key, condition } of group) say(condition?.message ?? '', `    ${key.padEnd(16)}`);
    if (isReason(reason)) say(REASONS[reason].remedy, '    → ', 'dim');
  }
}

/** `True Assigned`, coloured by status. */
function stateOf({ condition }: ServiceView): string {
  if (condition === undefined) return '';
  const { status, reason } = condition;
  const good = reason === 'HeldOutOfRange' ? 'yellow' : 'green';
  return paint(status === 'True' ? good : status === 'False' ? 'red' : 'yellow', `${status} ${reason}`);
}

export function isServed({ condition }: ServiceView): boolean {
  return condition?.status === 'True';
}

/** `http 30100, https 30101`; `dns+dns-tcp 30103 (UDP+TCP)`; a health check's number last. */
export function portsText({ ports, healthCheckNodePort }: ServiceView): string {
  const byNumber = new Map<number, ServicePort[]>();
  for (const port of ports) byNumber.set(port.nodePort, [...(byNumber.get(port.nodePort) ?? []), port]);
  const parts = [...byNumber].map(([number, together]) => {
    const [first] = together;
    const protocols = together.map(({ protocol }) => protocol).join('+');
    return `${first === undefined ? '' : portLabel(first)} ${number}${protocols === 'TCP' ? '' : ` ${protocols}`}`;
  });
  if (healthCheckNodePort !== 0) parts.push(`health check ${healthCheckNodePort}`);
  return parts.join(', ');
}

function portsOf({ from, to = from }: PortSpan): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function pad(value: string | number | undefined, width: number): string {
  return String(value ?? '').padStart(width);
}
