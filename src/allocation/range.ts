import type { LabelSelector, PortRange } from '../api/portRange.ts';
import { byAge } from '../api/service.ts';
import { intersection, isEmpty, type PortSet, portSet, union, without } from '../ports/portSet.ts';
import type { Millis, NamespaceView } from './types.ts';

/** A PortRange made ready for decisions. All of them are compiled together, because overlaps concern two. */
export interface Range {
  readonly name: string;
  readonly uid: string;
  /** All numbers that it declares. */
  readonly declared: PortSet;
  /** What it can give: without excluded, and without what an older PortRange declares. */
  readonly effective: PortSet;
  /** Older ranges that have some of its numbers, and which. */
  readonly losesTo: readonly { readonly name: string; readonly spans: PortSet }[];
  /** Younger ranges that do without some of theirs because of it. */
  readonly winsOver: readonly string[];
  readonly namespaces: readonly string[] | undefined;
  readonly namespaceSelector: LabelSelector | undefined;
  readonly paused: boolean;
  readonly cooldown: Millis;
}

/** Overlap: the older keeps the shared numbers (ties by name), the younger does without them. */
export function compileRanges(all: Iterable<PortRange>): Map<string, Range> {
  const byPrecedence = [...all]
    .map((range) => ({
      range,
      key: range.metadata.name,
      createdAt: Date.parse(range.metadata.creationTimestamp),
    }))
    .toSorted(byAge);
  const compiled = new Map<string, Range & { winsOver: string[] }>();
  let claimed = portSet();
  for (const { range } of byPrecedence) {
    const declared = portSet(range.spec.ranges);
    const shared = intersection(declared, claimed);
    const older = isEmpty(shared) ? [] : [...compiled.values()];
    const losesTo = [];
    for (const other of older) {
      const ports = intersection(declared, other.declared);
      if (isEmpty(ports)) continue;
      losesTo.push({ name: other.name, spans: ports });
      other.winsOver.push(range.metadata.name);
    }
    compiled.set(range.metadata.name, {
      name: range.metadata.name,
      uid: range.metadata.uid,
      declared,
      effective: without(without(declared, claimed), portSet(range.spec.excluded)),
      losesTo,
      winsOver: [],
      namespaces: range.spec.namespaces,
      namespaceSelector: range.spec.namespaceSelector,
      paused: range.spec.paused ?? false,
      cooldown: parseDuration(range.spec.cooldown ?? '5m'),
    });
    claimed = union(claimed, declared);
  }
  return compiled;
}

/** Admitted if named, or matched by the selector; with neither, every namespace is. */
export function admits(range: Range, namespace: string, view: NamespaceView | undefined): boolean {
  if (range.namespaces === undefined && range.namespaceSelector === undefined) return true;
  if (range.namespaces?.includes(namespace)) return true;
  return (
    range.namespaceSelector !== undefined &&
    view !== undefined &&
    matches(range.namespaceSelector, view.labels)
  );
}

/** Whether admission hangs on labels that have not been seen yet. */
export function needsLabels(range: Range, namespace: string): boolean {
  return range.namespaceSelector !== undefined && !range.namespaces?.includes(namespace);
}

/** A Kubernetes label selector; an empty one matches everything. */
export function matches(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  // Own properties only: a label may be called `constructor`.
  const label = (key: string): string | undefined => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}))
    if (label(key) !== value) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = label(key);
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        return false;
    }
  });
}

const UNIT = { s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** `1h30m` → ms. The CRD has refused everything that does not match; what slips through counts as 0. */
export function parseDuration(text: string): Millis {
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)([smh])/g))
    total += Number(amount) * UNIT[unit as keyof typeof UNIT];
  return total;
}
