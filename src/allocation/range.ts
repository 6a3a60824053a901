import type { LabelSelector, PortRange } from '../api/portRange.ts';
import { byAge, type ServiceView } from '../api/service.ts';
import { intersection, isEmpty, type PortSet, portSet, union, without } from '../ports/portSet.ts';
import type { Millis, NamespaceView } from './types.ts';

/** A PortRange made ready for decisions. All of them are compiled together, because overlaps concern two. */
export interface Range {
  readonly name: string;
  readonly uid: string;
  /** All numbers that it declares. */
  readonly declared: PortSet;
  /** What it can give: without excluded, what an older PortRange declares, and what the apiserver cannot give. */
  readonly effective: PortSet;
  /** The part of it that is given without being asked for by number. */
  readonly pickable: PortSet;
  /** Numbers outside the apiserver's own range; undefined while that is unknown. */
  readonly beyondNodePorts: PortSet | undefined;
  /** Older ranges that have some of its numbers, and which. */
  readonly losesTo: readonly { readonly name: string; readonly spans: PortSet }[];
  /** Younger ranges that do without some of theirs because of it. */
  readonly winsOver: readonly string[];
  readonly namespaces: readonly string[] | undefined;
  readonly namespaceSelector: LabelSelector | undefined;
  readonly serviceSelector: LabelSelector | undefined;
  readonly strategy: 'Sequential' | 'Random' | 'Hash';
  /** It takes every Service that it admits, asked or not. */
  readonly automatic: boolean;
  /** Since when at the latest its spec is what it is; 0 when unknown. */
  readonly automaticSince: Millis;
  readonly paused: boolean;
  readonly cooldown: Millis;
}

/** A PortRange, and since when at the latest it assigns as it does. */
export interface RangeSource {
  readonly object: PortRange;
  readonly assignmentSince: Millis;
}

/**
 * In the order in which `auto` tries them: by priority, then age, then name. Overlap is decided by age alone: the
 * older keeps the shared numbers (ties by name), the younger does without them.
 * @param nodePorts the apiserver's own range, when it is known
 */
export function compileRanges(all: Iterable<RangeSource>, nodePorts?: PortSet): Map<string, Range> {
  const byPrecedence = [...all]
    .map((source) => ({
      source,
      key: source.object.metadata.name,
      createdAt: Date.parse(source.object.metadata.creationTimestamp),
    }))
    .toSorted(byAge);
  const compiled: { range: Range & { winsOver: string[] }; priority: number }[] = [];
  let claimed = portSet();
  for (const { source } of byPrecedence) {
    const { spec } = source.object;
    const declared = portSet(spec.ranges);
    const losesTo = isEmpty(intersection(declared, claimed)) ? [] : lossesOf(declared, compiled, source);
    compiled.push({
      range: compile(source, declared, claimed, losesTo, nodePorts),
      priority: spec.priority ?? 0,
    });
    claimed = union(claimed, declared);
  }
  // Stable, so that equal priorities stay in the order of age.
  const byPriority = compiled.toSorted((a, b) => b.priority - a.priority);
  return new Map(byPriority.map(({ range }) => [range.name, range]));
}

function lossesOf(
  declared: PortSet,
  older: readonly { range: Range & { winsOver: string[] } }[],
  { object }: RangeSource,
): { name: string; spans: PortSet }[] {
  return older.flatMap(({ range }) => {
    const spans = intersection(declared, range.declared);
    if (isEmpty(spans)) return [];
    range.winsOver.push(object.metadata.name);
    return [{ name: range.name, spans }];
  });
}

function compile(
  { object, assignmentSince }: RangeSource,
  declared: PortSet,
  claimed: PortSet,
  losesTo: Range['losesTo'],
  nodePorts: PortSet | undefined,
): Range & { winsOver: string[] } {
  const { metadata, spec } = object;
  const own = without(without(declared, claimed), portSet(spec.excluded));
  const effective = nodePorts === undefined ? own : intersection(own, nodePorts);
  return {
    name: metadata.name,
    uid: metadata.uid,
    declared,
    effective,
    pickable: without(effective, portSet(spec.explicitOnly)),
    beyondNodePorts: nodePorts === undefined ? undefined : without(declared, nodePorts),
    losesTo,
    winsOver: [],
    namespaces: spec.namespaces,
    namespaceSelector: spec.namespaceSelector,
    serviceSelector: spec.serviceSelector,
    strategy: spec.strategy ?? 'Sequential',
    automatic: spec.assignment === 'Automatic',
    automaticSince: assignmentSince,
    paused: spec.paused ?? false,
    cooldown: parseDuration(spec.cooldown ?? '5m'),
  };
}

/** Whether the range serves this Service at all: its namespace, and its labels. */
export function admits(range: Range, service: ServiceView, namespace: NamespaceView | undefined): boolean {
  return admitsNamespace(range, service.namespace, namespace) && admitsLabels(range, service);
}

/** Admitted if named, or matched by the selector; with neither, every namespace is. */
export function admitsNamespace(range: Range, name: string, view: NamespaceView | undefined): boolean {
  if (range.namespaces === undefined && range.namespaceSelector === undefined) return true;
  if (range.namespaces?.includes(name)) return true;
  return (
    range.namespaceSelector !== undefined &&
    view !== undefined &&
    matches(range.namespaceSelector, view.labels)
  );
}

export function admitsLabels({ serviceSelector }: Range, { labels }: ServiceView): boolean {
  return serviceSelector === undefined || matches(serviceSelector, labels);
}

/** A Kubernetes label selector; an empty one matches everything. */
export function matches(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  // Own properties only: a label may be called `constructor`.
  const label = (key: string): string | undefined => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  const { matchLabels = {}, matchExpressions = [] } = selector;
  for (const key of Object.keys(matchLabels)) if (label(key) !== matchLabels[key]) return false;
  return matchExpressions.every(({ key, operator, values = [] }) => {
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
