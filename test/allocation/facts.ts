/** What can be told about a number from the Services and the table alone. */
import { parseEntry } from '../../src/allocation/entry.ts';
import type { Entry } from '../../src/allocation/types.ts';
import { numbersOf, type ServicePort, type ServiceView } from '../../src/api/service.ts';
import type { Cluster } from './cluster.ts';
import type { Sees } from './controllerModel.ts';
import { type Declarations, type Declared, isAbout, readDeclarations } from './declared.ts';

export interface Stage extends Declarations {
  readonly cluster: Cluster;
  readonly table: ReadonlyMap<number, string>;
  readonly now: () => number;
}

export interface Facts extends Stage, Declared {
  entryAt(number: number): Entry | undefined;
  /** The numbers that the table gives to this UID. */
  heldBy(uid: string): number[];
  /** It rests for its last owner. */
  isResting(number: number): boolean;
  /** Why nobody but this Service, for these ports, may have the number; undefined: it may. */
  othersClaim(
    number: number,
    service: Pick<ServiceView, 'uid' | 'key'>,
    ports: readonly ServicePort[],
    sees: Sees,
  ): string | undefined;
  /** Nobody has it, waits in it or rests on it. */
  isFree(number: number, sees: Sees): boolean;
}

const NOBODY = { uid: '', key: '' };

export function factsOf(stage: Stage): Facts {
  const { table, now } = stage;

  const entryAt = (number: number): Entry | undefined => parseEntry(table.get(number) ?? '');

  const rests = (entry: Entry | undefined): boolean =>
    entry?.state === 'Released' && (entry.until ?? 0) > now();

  const othersClaim: Facts['othersClaim'] = (number, service, ports, { cache, entry: known }) => {
    for (const other of cache.values())
      if (other.uid !== service.uid && numbersOf(other).includes(number)) return `in use by ${other.key}`;
    const entry = known(number);
    // Another UID under the same name is its former self, gone and not yet written down as such.
    if (entry?.state === 'Held' && entry.service !== service.key) return `Held for ${entry.service}`;
    if (!rests(entry)) return undefined;
    const isLastOwner =
      entry?.service === service.key && ports.some((port) => entry.ports.some((text) => isAbout(text, port)));
    return isLastOwner ? undefined : 'cooling down';
  };

  return {
    ...stage,
    ...readDeclarations(stage),
    entryAt,
    heldBy: (uid) => [...table.keys()].filter((n) => entryAt(n)?.state === 'Held' && entryAt(n)?.uid === uid),
    isResting: (number) => rests(entryAt(number)),
    othersClaim,
    isFree: (number, sees) => othersClaim(number, NOBODY, [], sees) === undefined && !sees.isRefused(number),
  };
}

/** Fails with the name of the law that was broken. */
export function check(holds: boolean, law: string, detail: unknown): void {
  if (holds) return;
  const plain = (_: string, value: unknown): unknown =>
    value instanceof Map || value instanceof Set ? [...value] : value;
  throw new Error(`${law}: ${JSON.stringify(detail, plain)}`);
}

/** The same numbers, each once, in any order. */
export function same(a: Iterable<number>, b: Iterable<number>): boolean {
  const [x, y] = [new Set(a), new Set(b)];
  return x.size === y.size && [...x].every((number) => y.has(number));
}
