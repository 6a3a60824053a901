/**
 * Judges a cluster at rest: is everybody served who can be, and told what is so? Knows nothing of the code that it judges;
 * it reads what users can read, and what it cannot tell from that it leaves.
 *
 *   asks? ── no ───► has no condition of ours
 *     │
 *    yes ──► decided ──► True:  every port has a number, each wanted number is there, and `from` and `outside` are so
 *                    └─► False: the reason is one that the cluster has, and no PortRange that it asks can serve it now
 *
 * When nothing moves any more, nobody has a promise: of all who wait for a range, the first in line that needs no more than
 * there is would have been served. So one that needs no more proves that somebody waits in vain, if not this one.
 * PortRanges are taken to lie in the node port range of the apiserver.
 */
import {
  conditionOf,
  type ConfigMap,
  type Entry,
  keyOf,
  type Namespace,
  numbersOf,
  type PortRange,
  PORTS_ANNOTATION,
  RANGE_ANNOTATION,
  type RangeSpec,
  type Service,
} from './objects.ts';
import { admits, type Applicant, contains, isIn } from './segments.ts';

/** All that there is of each. */
export interface AtRest {
  readonly services: readonly Service[];
  readonly ranges: readonly PortRange[];
  readonly namespaces: readonly Namespace[];
  /** The table, and what lies beside it. */
  readonly blocks: readonly ConfigMap[];
  /** ms since 1970 */
  readonly now: number;
  /**
   * The apiserver was killed, or its etcd put back: for some minutes it may keep numbers that nobody has. Then a number counts
   * as free only where the status of the PortRange counts it, too.
   */
  readonly mayLinger?: boolean;
}

/** What a Service asks. `unknown`: it asks in a way that is not judged. */
type Asked =
  | 'nothing'
  | 'unknown'
  | { readonly ranges: readonly string[]; readonly wanted: readonly number[] };

interface Segment {
  readonly spec: RangeSpec;
  /** How many are free, as its status says. */
  readonly shown: number;
  /** Whether it can give the number, were it free. */
  has(number: number): boolean;
}

interface Scene {
  readonly mayLinger: boolean;
  readonly segments: ReadonlyMap<string, Segment>;
  readonly namespaces: ReadonlyMap<string, Namespace>;
  /** Numbers that nobody can be given, by what is seen. */
  readonly taken: ReadonlySet<number>;
  /** Number → how many Services name it that are not served. */
  readonly named: ReadonlyMap<number, number>;
}

/** Who is not served although it could be, or is told what is not so; as sentences. None: all is well. */
export function unservedIn(cluster: AtRest): readonly string[] {
  const namespaces = new Map(cluster.namespaces.map((object) => [object.metadata.name, object]));
  const scene: Scene = {
    mayLinger: cluster.mayLinger ?? false,
    segments: segmentsOf(cluster.ranges),
    namespaces,
    taken: takenIn(cluster),
    named: namedIn(cluster),
  };
  // Of a Namespace that is not there, nobody can say what it asks.
  const judged = cluster.services.filter(({ metadata }) => namespaces.has(metadata.namespace ?? ''));
  return judged.flatMap((object) =>
    complaintsAbout(scene, object).map((complaint) => `Converges: ${keyOf(object)} ${complaint}`),
  );
}

function complaintsAbout(scene: Scene, object: Service): string[] {
  const asked = askedBy(scene, object);
  const condition = conditionOf(object);
  if (asked === 'nothing')
    return condition === undefined ? [] : [`asks for nothing and shows ${condition.reason}`];
  if (condition === undefined) return ['asks and was not decided'];
  const { status, reason, message } = condition;
  if (status !== 'True' && status !== 'False') return [`is left at ${reason}`];
  const told = `is told ${reason} (${message})`;
  if (status === 'True') return notServedAsTold(scene, object, asked).map((why) => `${told}, but ${why}`);
  if (asked === 'unknown') return [];
  const unjustified = isReason(scene, object, asked, reason)
    ? []
    : [`${told}, and nothing in the cluster is so`];
  const server = LEFT.has(reason)
    ? undefined
    : asked.ranges.find((name) => canServe(scene, object, name, asked.wanted));
  return [...unjustified, ...(server === undefined ? [] : [`${told}, but ${server} can serve it`])];
}

/** No PortRange could help, or it is the apiserver's to say. */
const LEFT = new Set(['InvalidRequest', 'NoNodePorts', 'RefusedByApiserver']);

function askedBy(scene: Scene, object: Service): Asked {
  const { annotations = {}, namespace = '' } = object.metadata;
  const own = annotations[RANGE_ANNOTATION]?.trim();
  if (own === 'none') return 'nothing';
  if (NOT_JUDGED.some((name) => annotations[name] !== undefined)) return 'unknown';
  const ports = annotations[PORTS_ANNOTATION];
  if (own !== undefined || ports !== undefined) return readRequest(scene, object, own ?? 'auto', ports);
  if (!object.spec.ports?.some(({ nodePort = 0 }) => nodePort > 0)) return 'nothing';
  const byDefault = scene.namespaces.get(namespace)?.metadata.annotations?.[RANGE_ANNOTATION]?.trim();
  if (byDefault === 'none') return 'nothing';
  if (byDefault !== undefined) return readRequest(scene, object, byDefault, undefined);
  const ranges = admitting(scene, object).filter(
    (name) => scene.segments.get(name)?.spec.assignment === 'Automatic',
  );
  return ranges.length === 0 ? 'nothing' : { ranges, wanted: [] };
}

const NOT_JUDGED = ['nodeport-manager.io/contiguous', 'nodeport-manager.io/expose'];
const NAMES = /^[a-z0-9][-a-z0-9]{0,62}(, *[a-z0-9][-a-z0-9]{0,62}){0,63}$/;

function readRequest(scene: Scene, object: Service, range: string, ports: string | undefined): Asked {
  const names = range.split(/, */);
  const isPlain =
    NAMES.test(range) && (names.length === 1 || !names.some((n) => n === 'auto' || n === 'none'));
  const wanted = ports === undefined ? [] : readPorts(object, ports);
  if (!isPlain || wanted === undefined) return 'unknown';
  return { ranges: range === 'auto' ? admitting(scene, object) : names, wanted };
}

/** Only the plain forms: one number for the only port, or a number for each port that is named. */
function readPorts({ spec }: Service, text: string): number[] | undefined {
  const parts = text.split(',').map((part) => /^(?:([a-z][-a-z0-9]*)=)?([1-9]\d{0,4})$/.exec(part.trim()));
  const numbers = parts.map((part) => Number(part?.[2] ?? 0));
  const isUnderstood = parts.every((part) =>
    part?.[1] === undefined
      ? spec.ports.length === 1
      : spec.ports.filter(({ name }) => name === part[1]).length === 1,
  );
  const isOnce = new Set(numbers).size === numbers.length && parts.length <= spec.ports.length;
  return isUnderstood && isOnce && numbers.every((number) => number > 0) ? numbers : undefined;
}

function applicant({ namespaces }: Scene, { metadata }: Service): Applicant {
  const { namespace = '', labels = {} } = metadata;
  const known = namespaces.get(namespace);
  return {
    namespace,
    labels,
    namespaceLabels: known === undefined ? undefined : (known.metadata.labels ?? {}),
  };
}

function admitting(scene: Scene, object: Service): string[] {
  return [...scene.segments].flatMap(([name, { spec }]) =>
    admits(spec, applicant(scene, object)) ? name : [],
  );
}

/** What it says that the Service holds, and from or outside of which PortRange. */
function holdingsTold(object: Service): { numbers: number[]; isInside: boolean; range: string } | undefined {
  const match = /^holds (.+?) (from|outside) ([^\s;:]+)/.exec(conditionOf(object)?.message ?? '');
  if (match === null) return undefined;
  const [, list = '', where, range = ''] = match;
  return {
    numbers: list.split(', ').map((part) => Number(part.split(' ').at(-1))),
    isInside: where === 'from',
    range,
  };
}

function notServedAsTold(scene: Scene, object: Service, asked: Asked): string[] {
  const { type, ports, allocateLoadBalancerNodePorts } = object.spec;
  if (type !== 'NodePort' && type !== 'LoadBalancer') return [`a Service of type ${type} has no node ports`];
  const told = holdingsTold(object);
  if (told === undefined) return ['that does not say what it holds'];
  const numbers = ports.map(({ nodePort = 0 }) => nodePort);
  const missing = numbers.filter((number) =>
    number === 0 ? allocateLoadBalancerNodePorts !== false : !told.numbers.includes(number),
  );
  const wanted = typeof asked === 'string' ? [] : asked.wanted;
  const segment = scene.segments.get(told.range);
  const isAdmitted = segment !== undefined && admits(segment.spec, applicant(scene, object));
  const isInside = isAdmitted && told.numbers.every((number) => segment.has(number));
  return [
    ...missing.map((number) => `its port on ${number === 0 ? 'no number' : number} is not among them`),
    ...wanted.filter((number) => !numbers.includes(number)).map((number) => `it asks for ${number}`),
    ...(isInside === told.isInside ? [] : [`${told.range} is not so`]),
  ];
}

/** Whether the reason is true of a PortRange that the Service asks, or of itself. */
function isReason(
  scene: Scene,
  object: Service,
  { ranges, wanted }: Exclude<Asked, string>,
  reason: string,
): boolean {
  const { type, ports, allocateLoadBalancerNodePorts } = object.spec;
  const known = ranges.flatMap((name) => scene.segments.get(name) ?? []);
  const open = known.filter(({ spec }) => admits(spec, applicant(scene, object)));
  const allows = ({ has }: Segment): boolean => wanted.every(has);
  switch (reason) {
    case 'RangeNotFound':
      return known.length < ranges.length;
    case 'NotAdmitted':
      return open.length < known.length || ranges.length === 0;
    case 'RangePaused':
      return open.some(({ spec }) => spec.paused === true);
    case 'RangeExhausted':
      return open.some((segment) => segment.spec.paused !== true && allows(segment));
    case 'PortTaken':
      return wanted.length > 0 && open.some((segment) => segment.spec.paused !== true && allows(segment));
    case 'PortExcluded':
    case 'RequestOutOfRange':
      return open.some((segment) => !allows(segment));
    case 'NoNodePorts':
      return (type !== 'NodePort' && type !== 'LoadBalancer') || allocateLoadBalancerNodePorts === false;
    case 'InvalidRequest':
      // A number that another manager pinned, and another that the annotation names.
      return wanted.some((number) => !ports.some(({ nodePort }) => nodePort === number));
    default:
      return reason === 'RefusedByApiserver';
  }
}

/** Whether the PortRange has all that the Service could need of it, and more than that where it is not clear. */
function canServe(scene: Scene, object: Service, name: string, wanted: readonly number[]): boolean {
  const { taken, named, segments } = scene;
  const segment = segments.get(name);
  if (segment === undefined || segment.spec.paused === true) return false;
  if (!admits(segment.spec, applicant(scene, object))) return false;
  const { explicitOnly = [] } = segment.spec;
  const isPickable = (number: number): boolean => segment.has(number) && !contains(explicitOnly, number);
  const held = holdingsTold(object)?.numbers ?? [];
  const isKept = (number: number): boolean => held.includes(number) && isPickable(number);
  // Only itself names it, and nobody has it: no question of whose turn it is.
  if (!wanted.every((number) => segment.has(number) && !taken.has(number) && named.get(number) === 1))
    return false;
  const needs = new Set(
    object.spec.ports
      .filter(({ nodePort = 0 }) => !isKept(nodePort))
      .map(({ port, nodePort = 0 }) => `${port} ${nodePort}`),
  );
  // Which numbers linger, no status says.
  if (wanted.length > 0 && scene.mayLinger) return false;
  if (wanted.length > 0 && wanted.length === object.spec.ports.length) return true;
  let free = 0;
  for (const { from, to = from } of segment.spec.ranges)
    for (let number = from; number <= to; number += 1)
      if (isPickable(number) && !taken.has(number) && !named.has(number)) free += 1;
  return needs.size <= (scene.mayLinger ? Math.min(free, segment.shown) : free);
}

/** Each without what it excludes and what an older one declares. */
function segmentsOf(ranges: readonly PortRange[]): ReadonlyMap<string, Segment> {
  const isOlder = ({ metadata: a }: PortRange, { metadata: b }: PortRange): boolean =>
    a.creationTimestamp === b.creationTimestamp
      ? a.name < b.name
      : Date.parse(a.creationTimestamp) < Date.parse(b.creationTimestamp);
  return new Map(
    ranges.map((range) => {
      const older = ranges.filter((other) => isOlder(other, range));
      const has = (number: number): boolean =>
        isIn(range.spec, number) && !older.some(({ spec }) => contains(spec.ranges, number));
      const shown = Number(range.status?.['free'] ?? 0);
      return [range.metadata.name, { spec: range.spec, shown, has }];
    }),
  );
}

/** A rest that has just ended may not have been noticed. */
const MOMENT_MS = 5_000;
const BLOCK = /^nodeport-table-(\d+)$/;
const READABLE = '1';

/** On a Service, held or resting in the table, or in a block of it that cannot be read. */
function takenIn({ services, blocks, now }: AtRest): ReadonlySet<number> {
  const taken = new Set(services.flatMap(numbersOf));
  for (const { metadata, data = {} } of blocks) {
    const first = BLOCK.exec(metadata.name)?.[1];
    if (first === undefined) continue;
    if ((metadata.annotations?.[VERSION] ?? READABLE) !== READABLE)
      for (let i = 0; i < 250; i += 1) taken.add(Number(first) + i);
    for (const [key, text] of Object.entries(data)) if (isKept(text, now)) taken.add(Number(key));
  }
  return taken;
}

const VERSION = 'nodeport-manager.io/table-version';

function isKept(text: string, now: number): boolean {
  try {
    const { state, until = '' }: Entry = JSON.parse(text);
    return state === 'Held' || Date.parse(until) > now - MOMENT_MS;
  } catch {
    return true;
  }
}

/** By whatever form, of all that are not served: what one of them waits for is nobody else's. */
function namedIn({ services }: AtRest): ReadonlyMap<number, number> {
  const named = new Map<number, number>();
  for (const object of services) {
    if (conditionOf(object)?.status === 'True') continue;
    const text = object.metadata.annotations?.[PORTS_ANNOTATION] ?? '';
    for (const number of new Set((text.match(/\d+/g) ?? []).map(Number)))
      named.set(number, (named.get(number) ?? 0) + 1);
  }
  return named;
}
