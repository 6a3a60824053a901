/** What the status of a PortRange says: computed from the present alone, so that computing it again says the same. */
import type { Range } from '../allocation/range.ts';
import type { Usage } from '../allocation/usage.ts';
import type { Condition, PortRangeStatus } from '../api/portRange.ts';
import type { Millis } from '../kube/clock.ts';
import { format, isEmpty, spansOf } from '../ports/portSet.ts';
import type { PortRangeView } from './inputs.ts';

/** @param pending how many Services wait for the range */
export function statusOf(
  view: PortRangeView,
  range: Range,
  usage: Usage,
  pending: number,
  now: Millis,
): PortRangeStatus {
  const generation = view.object.metadata.generation;
  const before = view.object.status?.conditions ?? [];
  const { capacity, allocated, foreign, coolingDown, free, explicitOnlyFree, usedPercent, outOfRange } =
    usage;
  return {
    observedGeneration: generation,
    ports: format(range.declared),
    effective: spansOf(range.effective),
    capacity,
    allocated,
    foreign,
    coolingDown,
    free,
    explicitOnlyFree,
    usedPercent,
    outOfRange,
    pending,
    expanded: [],
    conditions: conditionsOf(range, usage).map((condition): Condition => {
      const old = before.find(({ type }) => type === condition.type);
      const lastTransitionTime =
        old?.status === condition.status
          ? old.lastTransitionTime
          : new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
      return { ...condition, observedGeneration: generation, lastTransitionTime };
    }),
  };
}

type Finding = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

function conditionsOf(range: Range, usage: Usage): Finding[] {
  return [ready(range), overlapping(range), exhausted(usage), withinNodePortRange(range)];
}

function ready({ paused, effective }: Range): Finding {
  const type = 'Ready';
  if (paused) {
    const message = 'keeps its holders and takes no new ones';
    return { type, status: 'False', reason: 'Paused', message };
  }
  const message = `gives ${format(effective) || 'no ports'}`;
  return { type, status: 'True', reason: 'Reconciled', message };
}

function overlapping({ losesTo, winsOver }: Range): Finding {
  const type = 'Overlapping';
  if (losesTo.length > 0) {
    const losses = losesTo.map(({ name, spans }) => `${format(spans)} to the older PortRange ${name}`);
    return { type, status: 'True', reason: 'OlderRangeWins', message: `loses ${losses.join(', ')}` };
  }
  const message =
    winsOver.length === 0
      ? 'no older PortRange has any of its ports'
      : `keeps the ports it shares with ${winsOver.join(', ')}`;
  return { type, status: 'False', reason: 'NoOverlap', message };
}

function exhausted({ free, explicitOnlyFree, capacity }: Usage): Finding {
  const type = 'Exhausted';
  if (free > 0) return { type, status: 'False', reason: 'PortsFree', message: 'has free ports' };
  const byNumber = explicitOnlyFree === 0 ? '' : ` but ${explicitOnlyFree} to who asks for the number`;
  const message = `none of ${capacity} ports is free${byNumber}`;
  return { type, status: 'True', reason: 'NoPortFree', message };
}

function withinNodePortRange({ beyondNodePorts }: Range): Finding {
  const type = 'WithinNodePortRange';
  if (beyondNodePorts === undefined) {
    const message = "the apiserver's own node port range is not known";
    return { type, status: 'Unknown', reason: 'NodePortRangeUnknown', message };
  }
  if (isEmpty(beyondNodePorts)) {
    return { type, status: 'True', reason: 'Within', message: 'the apiserver can give all of its ports' };
  }
  const message = `the apiserver cannot give ${format(beyondNodePorts)}`;
  return { type, status: 'False', reason: 'Beyond', message };
}

/** Whether the status shown is the one wanted, as the apiserver would store it. */
export function isSameStatus(shown: PortRangeStatus | undefined, wanted: PortRangeStatus): boolean {
  if (shown === undefined) return false;
  const { conditions: a = [], ...restA } = shown;
  const { conditions: b = [], ...restB } = wanted;
  return sorted(restA) === sorted(restB) && sorted(a) === sorted(b);
}

/** JSON with the keys of every object in one order. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}
