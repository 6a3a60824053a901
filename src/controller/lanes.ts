/**
 * Where a Service stands in the queue. Lanes take turns, so that a burst on one PortRange does not starve another's.
 *
 *   usually      by the range that it asks first
 *   at the start everybody who is there, in one order; ranges that somebody asks together are one lane, because there
 *                the order tells who gets which number, and a restart is to give what none would have given
 *   meanwhile    who comes and asks a range of such a lane stands behind all of it, not beside
 */
import { isMalformed, readRequest } from '../allocation/request.ts';
import type { ServiceView } from '../api/service.ts';
import type { Store } from '../kube/store.ts';
import { rangesAskedBy, type Surroundings } from './inputs.ts';

export interface Lanes {
  /** Of the Service of this namespace/name. */
  of(key: string): string;
  /** Gives those who are there at the start their lanes, in the order of `services`. */
  begin(services: readonly ServiceView[]): readonly { readonly key: string; readonly lane: string }[];
  /** This one was looked at: nobody stands behind it any more. */
  passed(key: string): void;
}

export function createLanes(around: Surroundings & { services: Pick<Store<ServiceView>, 'get'> }): Lanes {
  /** Of the start: by range, and by namespace/name of who has not been looked at yet. */
  const lanes = new Map<string, string>();
  const standing = new Map<string, string>();
  /** How many those are, by lane. */
  const left = new Map<string, number>();

  function of(key: string): string {
    const service = around.services.get(key);
    return standing.get(key) ?? (service === undefined ? '' : (longestOf(service) ?? usualOf(service)));
  }

  /** The lane of the start that it has to stand behind; where there are several, the longest. */
  function longestOf(service: ServiceView): string | undefined {
    if (standing.size === 0) return undefined;
    let longest: string | undefined;
    for (const range of rangesAskedBy(service, around)) {
      const lane = lanes.get(range);
      if (lane !== undefined && (left.get(lane) ?? 0) > (left.get(longest ?? '') ?? 0)) longest = lane;
    }
    return longest;
  }

  function usualOf(service: ServiceView): string {
    const { namespaces, ranges } = around;
    const request = readRequest(service, namespaces.get(service.namespace), ranges());
    return request === null || isMalformed(request) || request.ranges === 'auto'
      ? ''
      : (request.ranges[0] ?? '');
  }

  return {
    of,

    begin(services) {
      for (const each of [lanes, standing, left]) each.clear();
      const asked = services.map((service) => rangesAskedBy(service, around));
      const rootOf = together(asked);
      for (const range of new Set(asked.flat())) lanes.set(range, rootOf(range));
      return services.map((service, i) => {
        const { key } = service;
        const [range] = asked[i] ?? [];
        if (range === undefined) return { key, lane: usualOf(service) };
        const lane = rootOf(range);
        standing.set(key, lane);
        left.set(lane, (left.get(lane) ?? 0) + 1);
        return { key, lane };
      });
    },

    passed(key) {
      const lane = standing.get(key);
      if (lane === undefined) return;
      standing.delete(key);
      left.set(lane, (left.get(lane) ?? 0) - 1);
    },
  };
}

/** Joins what is in one list, directly or by way of others: for each name the same one of its set (union-find). */
function together(lists: Iterable<readonly string[]>): (name: string) => string {
  const parents = new Map<string, string>();
  const rootOf = (name: string): string => {
    let root = name;
    for (let up = parents.get(root); up !== undefined; up = parents.get(root)) root = up;
    if (root !== name) parents.set(name, root);
    return root;
  };
  for (const [first = '', ...others] of lists) {
    for (const other of others) {
      const [root, joined] = [rootOf(first), rootOf(other)];
      if (root !== joined) parents.set(joined, root);
    }
  }
  return rootOf;
}
