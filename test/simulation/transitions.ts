/**
 * What happened to numbers, read from every revision of the table and of the Services, and knowing nothing of the code
 * that says the same in the log.
 */
import { numbersOf, type Service } from '../../e2e/support/objects.ts';
import type { Change, SimObject } from './apiserver.ts';
import type { LogLine } from './simulation.ts';

export interface Happened {
  /** `reserved 30100 a/web uid-7` */
  readonly what: string;
  /** At which it took effect. */
  readonly revision: number;
}

const OURS = 'nodeport-manager';

interface Entry {
  readonly state: string;
  readonly service: string;
  readonly uid: string;
  readonly ports: readonly string[];
}

interface Shown {
  numbers: readonly number[];
  /** `http:80/TCP` → its number. */
  ports: ReadonlyMap<string, number>;
  /** Number → range. */
  held: Map<number, string>;
  refusal: string | undefined;
}

export function transitionsIn(history: readonly Change[]): Happened[] {
  const happened: Happened[] = [];
  const services = new Map<string, Shown>();
  const table = new Map<string, Map<number, Entry>>();
  for (const change of history) {
    const say = (...words: (string | number)[]): void =>
      void happened.push({ what: words.join(' '), revision: change.revision });
    if (change.resource === 'services') serviceChanged(change, services, say);
    else if (change.resource === 'configmaps') blockChanged(change, table, services, say);
  }
  return happened;
}

/** The same, as the log has it. How a number was got is not told apart: the history of a Service does not say. */
export function transitionsOf(lines: readonly LogLine[]): string[] {
  return lines.flatMap((line) => {
    const { audit, kind, check } = line;
    const [port, service, uid] = [line['port'], line['service'], line['uid']].map(String);
    const who = `${port} ${service} ${uid}`;
    if (typeof audit !== 'string') return [];
    if (audit === 'healed') return kind === 'rebuilt' ? [`rebuilt ${who}`] : [];
    if (audit === 'assigned' || audit === 'adopted' || audit === 'moved') return [`gained ${who}`];
    if (audit === 'refused' && check !== 'apiserverAccepts')
      return [`refused ${service} ${uid} ${String(line['reason'])}: ${String(line['message'])}`];
    return [`${audit} ${who}`];
  });
}

type Say = (...words: (string | number)[]) => void;

function serviceChanged({ object, before, manager }: Change, services: Map<string, Shown>, say: Say): void {
  if (object === undefined) return void services.delete(before?.metadata.uid ?? '');
  const { uid, namespace, name } = object.metadata;
  const shown = services.get(uid) ?? { numbers: [], ports: new Map(), held: new Map(), refusal: undefined };
  services.set(uid, shown);
  shown.numbers = numbersOf(object as unknown as Service);
  const { ports } = object['spec'] as {
    ports: { name?: string; port: number; protocol: string; nodePort?: number }[];
  };
  shown.ports = new Map(
    ports.map(({ name = '', port, protocol, nodePort = 0 }) => [`${name}:${port}/${protocol}`, nodePort]),
  );
  // What it has lost, and gets again, is news.
  for (const number of shown.held.keys()) if (!shown.numbers.includes(number)) shown.held.delete(number);
  if (manager !== OURS) return;
  const condition = conditionOf(object);
  if (condition === undefined) return void Object.assign(shown, { held: new Map(), refusal: undefined });
  const { status, reason, message } = condition;
  if (status === 'Unknown' || JSON.stringify(condition) === JSON.stringify(conditionOf(before))) return;
  const held = holdingsOf(message);
  const who = [`${namespace}/${name}`, uid] as const;
  if (status === 'True') {
    for (const [number, range] of held) if (shown.held.get(number) !== range) say('gained', number, ...who);
    shown.refusal = undefined;
  } else if (shown.refusal !== `${reason}: ${message}`) {
    shown.refusal = `${reason}: ${message}`;
    if (reason !== 'RefusedByApiserver') say('refused', ...who, shown.refusal);
  }
  shown.held = held;
}

function blockChanged(
  { object, before, manager }: Change,
  table: Map<string, Map<number, Entry>>,
  services: ReadonlyMap<string, Shown>,
  say: Say,
): void {
  const name = (object ?? before)?.metadata.name ?? '';
  // What others make of it is mended, and was never so.
  if (manager !== OURS || object === undefined || !/^nodeport-table-\d+$/.test(name)) return;
  const was = table.get(name) ?? new Map<number, Entry>();
  const data = (object['data'] ?? {}) as Record<string, string>;
  const is = new Map(
    Object.entries(data).map(([port, text]) => [Number(port), JSON.parse(text) as Entry] as const),
  );
  table.set(name, is);
  for (const [port, entry] of was) {
    const after = is.get(port);
    if (entry.state !== 'Held' || (after?.state === 'Held' && after.uid === entry.uid)) continue;
    const isKept = services.get(entry.uid)?.numbers.includes(port) === true;
    const isReleased = after?.state === 'Released' && after.uid === entry.uid;
    say(
      isReleased || isKept || after?.state === 'Held' ? 'released' : 'refused',
      port,
      entry.service,
      entry.uid,
    );
  }
  for (const [port, { state, service, uid, ports }] of is) {
    const earlier = was.get(port);
    if (state !== 'Held' || (earlier?.state === 'Held' && earlier.uid === uid)) continue;
    const shown = services.get(uid);
    if (ports.some((each) => shown?.ports.get(each) !== port)) say('reserved', port, service, uid);
    else if (shown?.held.has(port) === true) say('rebuilt', port, service, uid);
  }
}

interface Condition {
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

function conditionOf(object: SimObject | undefined): Condition | undefined {
  return (object?.['status'] as { conditions?: Condition[] } | undefined)?.conditions?.[0];
}

function holdingsOf(message: string): Map<number, string> {
  const [, list = '', range = ''] = /^holds (.+?) (?:from|outside) ([^\s;:,]+)/.exec(message) ?? [];
  const numbers = list.split(', ').filter((part) => part !== '');
  return new Map(numbers.map((part) => [Number(part.split(' ').at(-1)), range]));
}
