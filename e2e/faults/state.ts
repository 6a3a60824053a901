import type { Checker } from '../support/checker.ts';
import { conditionOf, keyOf, numbersOf } from '../support/objects.ts';

/** The apiserver picks none of these at random: who has one was given it, or asked for it. */
const LAST_NEVER_RANDOM = 30_127;
export const NAMESPACES = ['a', 'b', 'c'];

/** What is to be the same however often the controller was killed: no times, no uids, no revisions, no random picks. */
export interface State {
  /** `a/web NodePort http:80/TCP=30001 | Assigned: holds http 30001 from team-a` */
  readonly services: readonly string[];
  /** `30001 Held a/web …`, with the former owners. */
  readonly table: readonly string[];
  readonly ranges: readonly string[];
}

/**
 * @param mayLinger the apiserver may keep numbers allocated that nobody has: which of them is known to be (`foreign`)
 *   depends on who has tried them, so that free ones of all sorts and those are counted together
 */
export function stateOf(checker: Pick<Checker, 'services' | 'table' | 'ranges'>, mayLinger = false): State {
  const inUse = new Set(checker.services().flatMap(numbersOf));
  return {
    services: checker
      .services()
      .filter(({ metadata }) => NAMESPACES.includes(metadata.namespace ?? ''))
      .map((object) => {
        const ports = object.spec.ports.map(
          ({ name, port, protocol, nodePort = 0 }) => `${name}:${port}/${protocol}=${nodePort}`,
        );
        const { reason, message } = conditionOf(object) ?? { reason: 'nothing', message: '' };
        return withoutChance(
          `${keyOf(object)} ${object.spec.type} ${ports.join(',')} | ${reason}: ${message}`,
        );
      })
      .toSorted(),
    // A reservation that somebody else's number came before is taken back by who made it, and released by who finds
    // it: nobody waits for that cooldown.
    table: [...checker.table()]
      .filter(([number, { state }]) => state === 'Held' || !inUse.has(number))
      .map(([number, { state, service, ports, range, request, previous = [] }]) => {
        const former = previous.map((each) => each.service);
        return `${number} ${[state, service, ports, range, request, ...former].join(' ')}`;
      })
      .toSorted(),
    ranges: checker
      .ranges()
      .map(({ metadata, status = {} }) => {
        const { conditions: _, ...counts } = status;
        return `${metadata.name} ${JSON.stringify(mayLinger ? withoutLingering(counts) : counts)}`;
      })
      .toSorted(),
  };
}

function withoutLingering(counts: Readonly<Record<string, unknown>>): object {
  const { foreign, free, explicitOnlyFree, usedPercent: _, ...rest } = counts;
  const nobodys = [foreign, free, explicitOnlyFree].reduce<number>(
    (sum, count) => sum + Number(count ?? 0),
    0,
  );
  return { ...rest, nobodys };
}

function withoutChance(text: string): string {
  return text
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'some time')
    .replaceAll(/\b[3-6]\d{4}\b/g, (number) => (Number(number) > LAST_NEVER_RANDOM ? 'some number' : number));
}

/** Lines of which one state has more than the other: `- before`, `+ after`; none: they are the same. */
export function differences(before: State, after: State): string[] {
  return (['services', 'table', 'ranges'] as const).flatMap((part) => [
    ...before[part].filter((line) => !after[part].includes(line)).map((line) => `- ${line}`),
    ...after[part].filter((line) => !before[part].includes(line)).map((line) => `+ ${line}`),
  ]);
}

/** How long after the end of a cooldown nothing need have come of it yet. */
const MOMENT_MS = 5_000;

/** A cooldown is quiet, too; but when it ends, numbers are free. `within`: whether one does in so many ms, or just has. */
export function someCooldownEnds(checker: Checker, within: number): boolean {
  return [...checker.table().values()].some(({ state, until = '' }) => {
    const left = Date.parse(until) - Date.now();
    return state === 'Released' && left > -MOMENT_MS && left < within;
  });
}

/** Whether somebody is told to wait for the end of one. */
export function someoneWaitsForARest(checker: Checker): boolean {
  return checker.services().some((object) => conditionOf(object)?.message.includes('rests until'));
}
