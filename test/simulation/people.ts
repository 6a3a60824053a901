/** What people do to Services, PortRanges and the table beside the controller, at random. */
import { RANGES } from '../../e2e/support/objects.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import type { PortRangeSpec, PortSpan } from '../../src/api/portRange.ts';
import type { SimObject } from './apiserver.ts';
import type { JsonObject } from './patches.ts';
import { DEFAULTS } from './process.ts';
import type { Simulation } from './simulation.ts';

type Random = () => number;

const SYSTEM_MAPS = `/api/v1/namespaces/${DEFAULTS.namespace}/configmaps`;

function oneOf<T>(all: readonly T[], random: Random): T | undefined {
  return all[Math.floor(random() * all.length)];
}

/** Changes one block of the table; undefined deletes it. */
export function spoil(
  sim: Simulation,
  random: Random,
  change: (data: Record<string, string>) => JsonObject | undefined,
): void {
  const all = sim.list(SYSTEM_MAPS).filter(({ metadata }) => /^nodeport-table-\d+$/.test(metadata.name));
  const block = oneOf(all, random);
  if (block === undefined) return;
  const path = `${SYSTEM_MAPS}/${block.metadata.name}`;
  const data = change(block['data'] as Record<string, string>);
  if (data === undefined) sim.request('DELETE', path);
  else
    sim.request('PUT', path, { ...block, metadata: { ...block.metadata, resourceVersion: undefined }, data });
}

export function withoutSome(data: Record<string, string>, random: Random): JsonObject {
  return Object.fromEntries(Object.entries(data).filter(() => random() < 0.7));
}

/** Somebody pins a number of the segments on a Service of theirs, or on one that is managed. */
export function rival(sim: Simulation, random: Random): void {
  const target = oneOf(sim.services(), random);
  const spec = target?.['spec'] as { type: string; ports: JsonObject[] } | undefined;
  if (target === undefined || spec?.type !== 'NodePort') return;
  const nodePort = 30_000 + Math.floor(random() * 50);
  const ports = spec.ports.map((port, i) => (i === 0 ? { ...port, nodePort } : port));
  try {
    sim.edit(`${target.metadata.namespace}/${target.metadata.name}`, { spec: { ports } });
  } catch {
    // Taken: the apiserver refuses it, as anybody's.
  }
}

/** What a person asks for: which range, and which numbers; null: nothing. */
export const ASKS = [
  null,
  'team-a',
  'team-b',
  'shared',
  'shared,team-a',
  'team-b,shared',
  'auto',
  'none',
  'taem-a',
];
export const WISHES = [
  null,
  null,
  null,
  '30011',
  '30044',
  '30025,30026',
  'http=30012',
  'p80=30030',
  'http',
  '30011=x',
];

const TIERS = ['web', 'db', null];

/** A team changes its mind, or its tool puts back what it had; labels, too, by which PortRanges may admit. */
export function editAnnotations(sim: Simulation, random: Random): void {
  const target = oneOf(sim.services(), random);
  if (target === undefined) return;
  const annotations = {
    [ANNOTATION.range]: oneOf(ASKS, random) ?? null,
    [ANNOTATION.ports]: oneOf(WISHES, random) ?? null,
  };
  const labels = random() < 0.5 ? {} : { tier: oneOf(TIERS, random) ?? null };
  sim.edit(`${target.metadata.namespace}/${target.metadata.name}`, { metadata: { annotations, labels } });
}

type RangeEdit = (sim: Simulation, random: Random) => void | Promise<void>;

/** Edits of one PortRange while its Services come and go. Each leaves a spec that the CRD accepts. */
export const RANGE_EDITS: Readonly<Record<string, RangeEdit>> = {
  grows: changed((spans, random) => spread(spans, 1 + Math.floor(random() * 6))),
  'shrinks under its holders': changed((spans, random) => spread(spans, -1 - Math.floor(random() * 8))),
  'is split': changed(split),
  overlaps: (sim, random) => {
    const target = oneOf(sim.list(RANGES), random);
    const [span] = target === undefined ? [] : specOf(target).ranges;
    if (span === undefined) return;
    const from = middle(span);
    sim.range(`over-${sim.server.revision}`, from, from + Math.floor(random() * 12), { cooldown: '30s' });
  },
  'is renamed': (sim, random) =>
    made(sim, random, (name) => (name.endsWith('2') ? name.slice(0, -1) : `${name}2`)),
  'is deleted and made again': async (sim, random) => {
    await made(sim, random, (name) => name, 2_000 * random());
  },
  'is paused and resumed': (sim, random) => {
    const target = oneOf(sim.list(RANGES), random);
    if (target !== undefined) patch(sim, target, { paused: specOf(target).paused !== true });
  },
};

function changed(change: (spans: readonly PortSpan[], random: Random) => readonly PortSpan[]): RangeEdit {
  return (sim, random) => {
    const target = oneOf(sim.list(RANGES), random);
    if (target !== undefined) patch(sim, target, { ranges: change(specOf(target).ranges, random) });
  };
}

/** The last span, longer or shorter by so many numbers; it keeps its first. */
function spread(spans: readonly PortSpan[], by: number): readonly PortSpan[] {
  return spans.map((span, i) =>
    i < spans.length - 1 ? span : { from: span.from, to: Math.max(span.from, (span.to ?? span.from) + by) },
  );
}

/** The longest loses a number in its middle. */
function split(spans: readonly PortSpan[]): readonly PortSpan[] {
  const longest = spans.toSorted((a, b) => lengthOf(b) - lengthOf(a))[0];
  if (longest === undefined || lengthOf(longest) < 3) return spans;
  const hole = middle(longest);
  return spans.flatMap((span) =>
    span === longest
      ? [
          { from: span.from, to: hole - 1 },
          { from: hole + 1, to: span.to ?? span.from },
        ]
      : [span],
  );
}

/** Whom a PortRange admits that is made again: mostly the same. */
const ADMITTED: readonly Partial<PortRangeSpec>[] = [
  {},
  {},
  {},
  { namespaces: ['b', 'c'] },
  { namespaces: ['rival'], namespaceSelector: { matchLabels: { team: 'a' } } },
  { namespaceSelector: { matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['a'] }] } },
  { serviceSelector: { matchLabels: { tier: 'web' } } },
  { serviceSelector: { matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] } },
];

async function made(
  sim: Simulation,
  random: Random,
  rename: (name: string) => string,
  pause = 0,
): Promise<void> {
  const target = oneOf(sim.list(RANGES), random);
  if (target === undefined) return;
  sim.request('DELETE', `${RANGES}/${target.metadata.name}`);
  if (pause > 0) await sim.elapse(pause);
  const { apiVersion, kind } = target;
  const spec = { ...specOf(target), ...oneOf(ADMITTED, random) };
  sim.request('POST', RANGES, { apiVersion, kind, metadata: { name: rename(target.metadata.name) }, spec });
}

function patch(sim: Simulation, { metadata }: SimObject, spec: object): void {
  sim.request('PATCH', `${RANGES}/${metadata.name}`, { spec });
}

function specOf(object: SimObject): PortRangeSpec {
  return object['spec'] as unknown as PortRangeSpec;
}

function lengthOf({ from, to = from }: PortSpan): number {
  return to - from + 1;
}

function middle({ from, to = from }: PortSpan): number {
  return Math.floor((from + to) / 2);
}
