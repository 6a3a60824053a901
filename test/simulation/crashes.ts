/** Kills around writes, and what was written in spite of them. */
import type { Apiserver, Change } from './apiserver.ts';
import type { Faults } from './faults.ts';

export const MOMENTS = {
  before: 'before it is sent on',
  after: 'after it took effect and before the answer',
  answered: 'after the answer',
} as const;
export type Moment = keyof typeof MOMENTS;

/** Around which write, counted from 0, and when. */
export interface Kill {
  readonly at: number;
  readonly moment: Moment;
}

export interface Killing {
  readonly faults: Faults;
  /** What was being written when it struck; undefined: it has not struck yet. */
  struck(): string | undefined;
  /** So far, as they arrived. */
  readonly writes: readonly string[];
}

/** Kills whoever makes that write; undefined: nobody. */
export function killing(kill: Kill | undefined): Killing {
  const writes: string[] = [];
  let target: unknown;
  let struck: string | undefined;
  return {
    faults: {
      onWrite(moment, request, from) {
        if (moment === 'before') {
          if (writes.length === kill?.at) target = request;
          writes.push(`${request.method} ${request.path.split('?')[0]}`);
        }
        if (request !== target || moment !== kill?.moment || from === undefined) return;
        from.kill();
        struck = writes[kill.at];
      },
    },
    struck: () => struck,
    writes,
  };
}

/** By object: how often the controllers created, changed and deleted it. What tables and ranges show rides together. */
export type Made = Readonly<Record<string, number>>;

export function madeOn({ history }: Apiserver): Made {
  const counts: Record<string, number> = {};
  for (const change of history) {
    const what = change.manager === 'nodeport-manager' ? nameOf(change) : undefined;
    if (what !== undefined) counts[what] = (counts[what] ?? 0) + 1;
  }
  return counts;
}

function nameOf({ resource, key, before, object }: Change): string | undefined {
  if (resource === 'events' || resource === 'leases') return undefined;
  if (before === undefined) return `create ${resource} ${key}`;
  if (object === undefined) return `delete ${resource} ${key}`;
  if (resource !== 'services') return undefined;
  return `change ${before['spec'] === object['spec'] ? 'condition' : 'ports'} ${key}`;
}

/** What was made more often than without the kill, or not so often; who was dead need not tell what has passed. */
export function differs(now: Made, expected: Made): string[] {
  return [...new Set([...Object.keys(now), ...Object.keys(expected)])].flatMap((what) => {
    const [times = 0, before = 0] = [now[what], expected[what]];
    const isFine = times === before || (times < before && what.startsWith('change condition '));
    return isFine ? [] : [`${what}: ${times} times, ${before} without the kill`];
  });
}
