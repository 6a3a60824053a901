/** PortRanges and Services by chance: the former as the CRD's own schema has them, the latter over all that they can ask. */
import type { ServiceOptions, ServicePort } from '../../e2e/support/objects.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import type { PortRangeSpec, PortSpan } from '../../src/api/portRange.ts';
import type { Json, JsonObject } from './patches.ts';
import { type Hints, pick, type Schema, specSchema, valueOf } from './schema.ts';

type Random = () => number;

export const NAMESPACES = ['a', 'b', 'c'];
export const RANGE_NAMES = ['r0', 'r1', 'r2', 'r3'];

const SPEC = specSchema();
const FIRST = 30_000;
/** Few, so that they are not enough. */
const NUMBERS = 60;

/** By the end of the path: what the schema cannot know. */
const WORDS: readonly (readonly [end: string, words: readonly Json[]])[] = [
  ['.namespaces[]', NAMESPACES],
  ['.matchLabels{}', NAMESPACES],
  ['.spillover[]', [...RANGE_NAMES, 'nowhere']],
  ['.cooldown', ['0s', '30s', '5m']],
];

const hints: Hints = (path, schema, random) => {
  if (schema.items?.properties?.['from'] !== undefined) return spans(schema, random) as unknown as Json;
  if (path.endsWith('.matchExpressions[]')) return expression(schema, random);
  const words = WORDS.find(([end]) => path.endsWith(end))?.[1];
  return words === undefined ? undefined : pick(words, random);
};

/** One to three that do not overlap, as a rule of the CRD demands. */
function spans({ minItems = 0 }: Schema, random: Random): PortSpan[] {
  const count = Math.max(minItems, Math.floor(4 * random()));
  const cuts = Array.from({ length: 2 * count }, () => FIRST + Math.floor(NUMBERS * random()));
  const ends = [...new Set(cuts)].toSorted((a, b) => a - b);
  const all: PortSpan[] = [];
  for (let i = 0; i < ends.length; i += 2) {
    const [from = 0, to] = ends.slice(i, i + 2);
    all.push(to === undefined || random() < 0.1 ? { from } : { from, to });
  }
  return all;
}

function expression(schema: Schema, random: Random): JsonObject {
  const operator = pick(schema.properties?.['operator']?.enum ?? [], random);
  const takesValues = operator === 'In' || operator === 'NotIn';
  return { key: 'team', operator, ...(takesValues ? { values: [pick(NAMESPACES, random)] } : {}) };
}

export function generatedSpec(random: Random): Partial<PortRangeSpec> {
  return valueOf(SPEC, hints, random) as unknown as Partial<PortRangeSpec>;
}

const ASKS = [null, null, 'r0', 'r1', 'r2', 'r3', 'r0,r1', 'r3, r2', 'auto', 'none'];
const NONSENSE = ['', 'nowhere', 'r0,,r1', 'Ünïcödé', 'x'.repeat(400), '\u001b[31m', '{"a":1}'];
const WISHES = [null, null, null, '30010', 'http=30011', '80=30012,443=30013'];
const FOOLISH = ['', '0', '99999', 'http', 'http=', 'http=1,http=2', 'none=30010', '30010,', '=30010', '-1'];
const PORTS: readonly ServicePort[] = [
  { name: 'http', port: 80 },
  { name: 'https', port: 443 },
  { name: 'dns', port: 53, protocol: 'UDP' },
  { name: 'dns-tcp', port: 53, protocol: 'TCP' },
];

/** What its annotations ask; about one in six of them is nonsense. */
export function generatedAnnotations(random: Random): Record<string, string | null> {
  const some = (good: readonly (string | null)[], bad: readonly string[]): string | null =>
    random() < 0.08 ? pick(bad, random) : pick(good, random);
  return { [ANNOTATION.range]: some(ASKS, NONSENSE), [ANNOTATION.ports]: some(WISHES, FOOLISH) };
}

export function generatedPorts(random: Random): ServicePort[] {
  const chosen = PORTS.filter(() => random() < 0.4);
  const ports = chosen.length > 0 ? chosen : PORTS.slice(0, 1);
  return ports.map((port) =>
    random() < 0.1 ? { ...port, nodePort: FIRST + Math.floor(NUMBERS * random()) } : { ...port },
  );
}

export function generatedType(random: Random): JsonObject {
  const type = pick(['NodePort', 'NodePort', 'NodePort', 'LoadBalancer', 'ClusterIP'], random);
  if (type !== 'LoadBalancer') return { type };
  return {
    type,
    ...(random() < 0.3 ? { externalTrafficPolicy: 'Local' } : {}),
    ...(random() < 0.3 ? { allocateLoadBalancerNodePorts: false } : {}),
  };
}

export function generatedService(random: Random): ServiceOptions {
  const { type, ...spec } = generatedType(random);
  const annotations = Object.fromEntries(
    Object.entries(generatedAnnotations(random)).filter(([, value]) => value !== null),
  ) as Record<string, string>;
  return {
    type: type as string,
    ports: generatedPorts(random),
    annotations,
    labels: { team: pick(NAMESPACES, random) },
    spec,
  };
}
