/**
 * Judges a history: every revision of every Service, PortRange and table block, in the order of the apiserver's one
 * counter. Knows nothing of the code that it judges; it reads what users can read.
 *
 *   Unique      no write of the controller puts a number, or the promise of one, on a Service while another has it,
 *               and no promised number comes to be on another. (The apiserver itself can give out a number twice: it
 *               frees the old one of an update before that is stored, kubernetes/kubernetes registry/store.go.)
 *   Sticky      what a Service was told to hold, no write of the controller takes from it, unless its own
 *               annotations have changed since
 *   No theft    no write of the controller to a Service that nothing reaches (no annotation of its own, no default of its
 *               Namespace, no Automatic PortRange) or that says none, nor to a number that another manager owns
 *   In segment  what a Service is told to hold `from` a range is on the Service and in that range, which admits it; and
 *               the table grants a number only from a range that admits its Service and is not paused
 *   One owner   the table never passes a number on while its owner lives and has it, nor to rest while it has had it
 *               all the time
 */
import type { Revision } from './follow.ts';
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
import { admits, isIn, type Labels } from './segments.ts';

export type Recorded =
  | ({ kind: 'Service' } & Revision<Service>)
  | ({ kind: 'ConfigMap' } & Revision<ConfigMap>)
  | ({ kind: 'Namespace' } & Revision<Namespace>)
  | ({ kind: 'PortRange' } & Revision<PortRange>);

interface World {
  readonly services: Map<string, Service>;
  /** Number → UIDs of the Services that have it. */
  readonly holders: Map<number, Set<string>>;
  /** UID → number → our annotations when the Service was told to hold it. */
  readonly told: Map<string, Map<number, string>>;
  /** What each PortRange says, and said. */
  readonly ranges: Map<string, Sayings<RangeSpec>>;
  /** The default of each Namespace. */
  readonly defaults: Map<string, Sayings<string | undefined>>;
  /** The labels of each Namespace, by its name, and of each Service, by its UID. */
  readonly labels: Map<string, Sayings<Labels>>;
  readonly viewsLag: number;
  readonly table: Map<number, Entry>;
  /** Numbers that the owner in the table has lost since it was written, perhaps to get them again by chance. */
  readonly forfeited: Set<number>;
  readonly violations: string[];
}

/** What something said and until when (ms, as `Revision.at`), the latest first. */
type Sayings<T> = readonly { readonly said: T; readonly until: number }[];

/** Judges a history that comes in pieces. */
export interface Judge {
  /** The next piece. None of its revisions may be older than what came before. */
  hear(piece: readonly Recorded[], isOurs: (revision: Recorded) => boolean): void;
  /** Every breach of the rules so far, as sentences. */
  readonly violations: readonly string[];
}

/**
 * @param viewsLag ms by which what a decision sees of PortRanges and Namespaces may be late; one revision behind it may
 *   be always
 */
export function startJudge(viewsLag = 0): Judge {
  const world: World = {
    services: new Map(),
    holders: new Map(),
    told: new Map(),
    ranges: new Map(),
    defaults: new Map(),
    labels: new Map(),
    viewsLag,
    table: new Map(),
    forfeited: new Set(),
    violations: [],
  };
  return {
    hear(piece, isOurs) {
      const inOrder = piece.toSorted(
        (a, b) => Number(a.object.metadata.resourceVersion) - Number(b.object.metadata.resourceVersion),
      );
      for (const revision of inOrder) {
        if (revision.kind === 'Service') judgeService(world, revision, isOurs(revision));
        else if (revision.kind === 'ConfigMap') judgeBlock(world, revision, isOurs(revision));
        else if (revision.kind === 'Namespace') noteNamespace(world, revision);
        else noteRange(world, revision);
      }
    },
    violations: world.violations,
  };
}

/**
 * Every breach of the rules, as sentences; none: they held.
 * @param isOurs whether the controller wrote the revision
 * @param viewsLag as for `startJudge`
 */
export function judge(
  history: readonly Recorded[],
  isOurs: (revision: Recorded) => boolean,
  viewsLag?: number,
): readonly string[] {
  const { hear, violations } = startJudge(viewsLag);
  hear(history, isOurs);
  return violations;
}

function noteRange({ ranges }: World, { object, deleted, at }: Revision<PortRange>): void {
  const { name } = object.metadata;
  ranges.set(name, noted(ranges.get(name), deleted ? { ranges: [] } : object.spec, at));
}

function noteNamespace({ defaults, labels }: World, { object, at }: Revision<Namespace>): void {
  const { name, annotations, labels: now = {} } = object.metadata;
  defaults.set(name, noted(defaults.get(name), annotations?.[RANGE_ANNOTATION]?.trim(), at));
  labels.set(name, noted(labels.get(name), now, at));
}

function noted<T>(known: Sayings<T> = [], said: T, at: number): Sayings<T> {
  const [latest, ...older] = known;
  if (latest === undefined) return [{ said, until: Number.POSITIVE_INFINITY }];
  if (JSON.stringify(latest.said) === JSON.stringify(said)) return known;
  return [{ said, until: Number.POSITIVE_INFINITY }, { ...latest, until: at }, ...older];
}

/** What a decision may have been made from that is written now: the two latest, and what was replaced only lately. */
function visible<T>({ viewsLag }: World, known: Sayings<T> = [], now: number): T[] {
  return known.filter(({ until }, i) => i < 2 || now - until <= viewsLag).map(({ said }) => said);
}

/** Whether anything reaches the Service, so that the controller may write to it. */
function isReached(world: World, { metadata }: Service, now: number): boolean {
  const { namespace = '', annotations = {} } = metadata;
  const own = annotations[RANGE_ANNOTATION]?.trim();
  if (own !== undefined || annotations[PORTS_ANNOTATION] !== undefined) return own !== 'none';
  const ofNamespace = visible(world, world.defaults.get(namespace), now);
  if (ofNamespace.some((value) => value !== undefined && value !== 'none')) return true;
  if (ofNamespace[0] === 'none') return false;
  const specs = [...world.ranges.values()].flatMap((known) => visible(world, known, now));
  return specs.some(
    ({ assignment, namespaces, namespaceSelector }) =>
      assignment === 'Automatic' &&
      (namespaces === undefined || namespaceSelector !== undefined || namespaces.includes(namespace)),
  );
}

function judgeService(world: World, { object, deleted, at }: Revision<Service>, ours: boolean): void {
  const { uid } = object.metadata;
  const before = world.services.get(uid);
  const now = deleted ? [] : numbersOf(object);
  if (ours && before !== undefined) {
    noTheft(world, before, object, at);
    sticky(world, before, object);
  }
  world.labels.set(uid, noted(world.labels.get(uid), object.metadata.labels ?? {}, at));
  if (ours) inSegment(world, object, at);
  for (const number of before === undefined ? [] : numbersOf(before)) world.holders.get(number)?.delete(uid);
  for (const number of now) unique(world, object, number, ours);
  for (const number of before === undefined ? [] : numbersOf(before))
    if (!now.includes(number) && world.table.get(number)?.uid === uid) world.forfeited.add(number);
  if (deleted) {
    world.services.delete(uid);
    world.labels.delete(uid);
    world.told.delete(uid);
    return;
  }
  world.services.set(uid, object);
  noteTold(world, object, ours);
}

function unique(world: World, object: Service, number: number, ours: boolean): void {
  const all = world.holders.get(number) ?? new Set();
  for (const other of all) {
    if (other === object.metadata.uid) continue;
    const service = world.services.get(other);
    if (service === undefined || !(ours || isTold(world, service, number))) continue;
    world.violations.push(`Unique: ${number} is on ${keyOf(service)} and on ${describe(object)}`);
  }
  world.holders.set(number, all.add(object.metadata.uid));
}

/** Not while it moves away by its own wish, which the condition says first. */
function isTold({ told }: World, service: Service, number: number): boolean {
  return told.get(service.metadata.uid)?.has(number) === true && conditionOf(service)?.status !== 'Unknown';
}

function noTheft(world: World, before: Service, object: Service, now: number): void {
  const { violations } = world;
  const lost = numbersOf(before).filter((number) => !numbersOf(object).includes(number));
  if (!isReached(world, before, now) && (lost.length > 0 || conditionOf(before) === undefined)) {
    violations.push(`No theft: ${describe(object)} does not ask and was written`);
  }
  for (const { port, protocol = 'TCP', nodePort } of before.spec.ports) {
    const owner = ownerOf(before, `k:{"port":${port},"protocol":"${protocol}"}`);
    if (nodePort !== undefined && lost.includes(nodePort) && owner !== undefined)
      violations.push(`No theft: ${owner} owns ${nodePort}, which was taken from ${describe(object)}`);
  }
}

/** The manager, other than the controller, that owns the nodePort. */
function ownerOf({ metadata }: Service, key: string): string | undefined {
  return metadata.managedFields?.find(
    ({ manager, fieldsV1 }) =>
      manager !== 'nodeport-manager' &&
      fieldsV1?.['f:spec']?.['f:ports']?.[key]?.['f:nodePort'] !== undefined,
  )?.manager;
}

function sticky({ told, violations }: World, before: Service, object: Service): void {
  const known = told.get(object.metadata.uid);
  for (const number of numbersOf(before)) {
    if (numbersOf(object).includes(number) || known?.get(number) !== ownAnnotations(object)) continue;
    violations.push(`Sticky: ${describe(object)} was told to hold ${number} and lost it`);
  }
}

/** `holds http 30100, dns 30053 from team-a`, as users are promised it. */
function holdings(object: Service): { numbers: number[]; from: string | undefined } | undefined {
  const condition = conditionOf(object);
  const match = /^holds (.+?) (from|outside) ([^\s;:]+)/.exec(condition?.message ?? '');
  if (match === null) return undefined;
  const numbers = (match[1] ?? '').split(', ').map((part) => Number(part.split(' ').at(-1)));
  return { numbers, from: match[2] === 'from' ? match[3] : undefined };
}

function inSegment(world: World, object: Service, now: number): void {
  const { violations } = world;
  const held = holdings(object);
  if (conditionOf(object)?.status !== 'True' || held === undefined) return;
  for (const number of held.numbers) {
    if (!numbersOf(object).includes(number))
      violations.push(`In segment: ${describe(object)} is told to hold ${number}, which it has not`);
    if (held.from === undefined) continue;
    const specs = visible(world, world.ranges.get(held.from), now);
    if (!specs.some((spec) => isIn(spec, number)))
      violations.push(`In segment: ${describe(object)} is told to hold ${number} from ${held.from}`);
    else if (!isAdmitted(world, object, held.from, now))
      violations.push(`In segment: ${describe(object)} is not admitted by ${held.from}, which it holds from`);
  }
}

/** Whether the PortRange admits the Service, by anything that may have been seen of both. */
function isAdmitted(world: World, { metadata }: Service, range: string, now: number, isNew = false): boolean {
  const { namespace = '', uid } = metadata;
  const labelsOf = (id: string): Labels[] => visible(world, world.labels.get(id), now);
  const ofNamespace = [...labelsOf(namespace), ...(world.labels.has(namespace) ? [] : [undefined])];
  return visible(world, world.ranges.get(range), now).some(
    (spec) =>
      !(isNew && spec.paused === true) &&
      ofNamespace.some((namespaceLabels) =>
        labelsOf(uid).some((labels) => admits(spec, { namespace, namespaceLabels, labels })),
      ),
  );
}

function noteTold({ told }: World, object: Service, ours: boolean): void {
  const { uid } = object.metadata;
  const now = new Set(numbersOf(object));
  const known = told.get(uid) ?? new Map<number, string>();
  for (const number of known.keys()) if (!now.has(number)) known.delete(number);
  // Who asks no more is let go with what it has; should it ask again, nothing was promised.
  if (ours && conditionOf(object) === undefined) known.clear();
  if (ours && conditionOf(object)?.status === 'True') {
    for (const number of holdings(object)?.numbers ?? []) known.set(number, ownAnnotations(object));
  }
  told.set(uid, known);
}

function ownAnnotations({ metadata }: Service): string {
  const own = Object.entries(metadata.annotations ?? {}).filter(([name]) => name.startsWith('nodeport-'));
  return JSON.stringify(own.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function judgeBlock(world: World, { object, deleted, at }: Revision<ConfigMap>, ours: boolean): void {
  const first = Number(/^nodeport-table-(\d+)$/.exec(object.metadata.name)?.[1] ?? Number.NaN);
  if (Number.isNaN(first) || deleted) return;
  for (const [key, text] of Object.entries(object.data ?? {})) {
    const number = Number(key);
    const entry = parse(text);
    if (ours && entry === undefined) {
      world.violations.push(`Table: ${object.metadata.name} was written with ${key}: ${text}`);
    }
    if (ours && (number < first || number >= first + 250)) {
      world.violations.push(`Table: ${object.metadata.name} was written with the number ${key}`);
    }
    if (entry === undefined) continue;
    const before = world.table.get(number);
    if (ours && before !== undefined) oneOwner(world, number, before, entry);
    if (ours) granted(world, number, before, entry, at);
    world.table.set(number, entry);
    if (JSON.stringify(before) !== JSON.stringify(entry)) world.forfeited.delete(number);
  }
}

function oneOwner(
  { services, forfeited, violations }: World,
  number: number,
  before: Entry,
  entry: Entry,
): void {
  const owner = services.get(before.uid);
  const has = owner !== undefined && numbersOf(owner).includes(number);
  if (!has || before.state !== 'Held') return;
  if (entry.uid !== before.uid && entry.state === 'Held')
    violations.push(`One owner: ${number} went from ${before.service}, which has it, to ${entry.service}`);
  if (entry.state === 'Released' && !forfeited.has(number))
    violations.push(`One owner: ${number} was released, but ${before.service} has it`);
}

/** A number that the table did not hold for this Service, and that it was not told to hold, is given to it now. */
function granted(world: World, number: number, before: Entry | undefined, entry: Entry, now: number): void {
  const object = world.services.get(entry.uid);
  if (entry.state !== 'Held' || object === undefined || !world.ranges.has(entry.range)) return;
  if (before?.state === 'Held' && before.uid === entry.uid) return;
  // Who has held it is recorded again where the table was lost.
  if (world.told.get(entry.uid)?.has(number) || holdings(object)?.numbers.includes(number)) return;
  if (!isAdmitted(world, object, entry.range, now, true))
    world.violations.push(
      `In segment: ${number} was given to ${describe(object)}, which ${entry.range} does not take`,
    );
}

function parse(text: string): Entry | undefined {
  try {
    const entry: Entry = JSON.parse(text);
    return entry;
  } catch {
    return undefined;
  }
}

function describe(object: Service): string {
  return `${keyOf(object)} (revision ${object.metadata.resourceVersion})`;
}
