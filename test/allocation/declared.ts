/** What people declared, worked out from PortRanges, Namespaces and annotations as they are written, the slow and obvious way. */
import type { NamespaceView } from '../../src/allocation/types.ts';
import { ANNOTATION, FIELD_MANAGER } from '../../src/api/names.ts';
import type { PortRange, PortSpan } from '../../src/api/portRange.ts';
import { byAge, type ServicePort, type ServiceView } from '../../src/api/service.ts';
import { SPACE } from './cluster.ts';

/** What reaches a Service. `nobody`: it is unmanaged. `nonsense`: annotations that nobody can understand. */
export type Wish =
  | { readonly by: 'nobody' | 'nonsense' }
  | {
      readonly by: 'service' | 'namespace' | 'automatic';
      readonly ranges: 'auto' | readonly string[];
      /** By the Service's port. */
      readonly numbers: ReadonlyMap<number, number>;
    };

export interface Declarations {
  readonly objects: ReadonlyMap<string, PortRange>;
  /** PortRange → since when its assignment is what it is. */
  readonly assignedSince: ReadonlyMap<string, number>;
  readonly namespace: (name: string) => NamespaceView;
}

export type Declared = ReturnType<typeof readDeclarations>;

/** Names that a PortRange may have in a trace. */
const NAMES = new Set(['a', 'b', 'c', 'nowhere']);

export function readDeclarations({ objects, assignedSince, namespace }: Declarations) {
  const age = ({ metadata }: PortRange): { createdAt: number; key: string } => ({
    createdAt: Date.parse(metadata.creationTimestamp),
    key: metadata.name,
  });

  /** What the range can give. */
  function givable(name: string): number[] {
    const range = objects.get(name);
    if (range === undefined) return [];
    const older = [...objects.values()].filter((other) => byAge(age(other), age(range)) < 0);
    return numbersIn(range.spec.ranges).filter(
      (n) =>
        n >= SPACE.from &&
        n <= SPACE.to &&
        !isIn(n, range.spec.excluded ?? []) &&
        !older.some(({ spec }) => isIn(n, spec.ranges)),
    );
  }

  /** What it gives to who does not name a number. */
  function pickable(name: string): number[] {
    return givable(name).filter((n) => !isIn(n, objects.get(name)?.spec.explicitOnly ?? []));
  }

  function isAdmitted(name: string, service: ServiceView): boolean {
    const spec = objects.get(name)?.spec;
    if (spec === undefined) return false;
    const { namespaces, namespaceSelector, serviceSelector } = spec;
    const tier = serviceSelector?.matchLabels?.['tier'];
    if (tier !== undefined && service.labels['tier'] !== tier) return false;
    if (namespaces === undefined && namespaceSelector === undefined) return true;
    const team = namespaceSelector?.matchLabels?.['team'];
    return (
      (namespaces ?? []).includes(service.namespace) ||
      (team !== undefined && namespace(service.namespace).labels['team'] === team)
    );
  }

  /** Higher priority first, then older, then by name. */
  function byPrecedence(): string[] {
    const priority = ({ spec }: PortRange): number => spec.priority ?? 0;
    return [...objects.values()]
      .toSorted((a, b) => priority(b) - priority(a) || byAge(age(a), age(b)))
      .map(({ metadata }) => metadata.name);
  }

  function wishOf(service: ServiceView): Wish {
    const range = service.annotations[ANNOTATION.range]?.trim();
    const ports = service.annotations[ANNOTATION.ports];
    if (range === 'none') return { by: 'nobody' };
    if (range === undefined && ports === undefined) return defaultFor(service);
    const ranges = readRanges(range ?? 'auto');
    const numbers = ports === undefined ? NONE : readNumbers(ports, service.ports);
    return ranges === undefined || numbers === undefined
      ? { by: 'nonsense' }
      : { by: 'service', ranges, numbers };
  }

  function defaultFor(service: ServiceView): Wish {
    if (service.ports.every(({ nodePort }) => nodePort === 0)) return { by: 'nobody' };
    const value = namespace(service.namespace).rangeDefault?.value.trim();
    if (value === 'none') return { by: 'nobody' };
    if (value !== undefined) {
      const ranges = readRanges(value);
      return ranges === undefined ? { by: 'nonsense' } : { by: 'namespace', ranges, numbers: NONE };
    }
    const ranges = byPrecedence().filter(
      (name) => objects.get(name)?.spec.assignment === 'Automatic' && isAdmitted(name, service),
    );
    return ranges.length === 0 ? { by: 'nobody' } : { by: 'automatic', ranges, numbers: NONE };
  }

  return {
    givable,
    pickable,
    isAdmitted,
    byPrecedence,
    wishOf,
    isPaused: (name: string): boolean => objects.get(name)?.spec.paused ?? false,
    /** The ranges to ask, in order. */
    candidates(wish: Wish, service: ServiceView): readonly string[] {
      if (!('ranges' in wish)) return [];
      return wish.ranges === 'auto'
        ? byPrecedence().filter((name) => isAdmitted(name, service))
        : wish.ranges;
    },
    /** Since when the default is in force by which this range serves the Service. */
    defaultSince(wish: Wish, range: string, service: ServiceView): number {
      if (wish.by === 'automatic') return assignedSince.get(range) ?? 0;
      return (wish.by === 'namespace' && namespace(service.namespace).rangeDefault?.since) || 0;
    },
  };
}

const NONE: ReadonlyMap<number, number> = new Map();

/** The Service's own request in words of its own, whatever the spelling; undefined: it has none, or none to understand. */
export function ownWish(wish: Wish): string | undefined {
  return wish.by === 'service'
    ? JSON.stringify([wish.ranges, [...wish.numbers].toSorted(([a], [b]) => a - b)])
    : undefined;
}

/** Whether an entry for `http:80/TCP` is about this port: by name, or by port and protocol. */
export function isAbout(identity: string, { name, port, protocol }: ServicePort): boolean {
  const [recorded = '', rest] = identity.split(':');
  return (recorded !== '' && recorded === name) || rest === `${port}/${protocol}`;
}

/** Another manager has named the number of this port. */
export function isPinned({ owner }: ServicePort): boolean {
  return owner !== undefined && owner !== FIELD_MANAGER;
}

function isIn(number: number, spans: readonly PortSpan[]): boolean {
  return spans.some(({ from, to = from }) => from <= number && number <= to);
}

function numbersIn(spans: readonly PortSpan[]): number[] {
  const numbers = [];
  for (let n = SPACE.from; n <= SPACE.to; n++) if (isIn(n, spans)) numbers.push(n);
  return numbers;
}

function readRanges(text: string): 'auto' | readonly string[] | undefined {
  if (text === 'auto') return 'auto';
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  return names.every((name) => NAMES.has(name)) ? names : undefined;
}

function readNumbers(text: string, ports: readonly ServicePort[]): ReadonlyMap<number, number> | undefined {
  const numbers = new Map<number, number>();
  for (const part of text.split(',')) {
    const words = part.split('=').map((word) => word.trim());
    const digits = words.at(-1) ?? '';
    const number = Number(digits);
    const distinct = new Set(ports.map(({ port }) => port));
    const named =
      words.length === 1 ? [...distinct] : ports.filter((p) => isCalled(p, words[0])).map((p) => p.port);
    const [port] = named;
    if (words.length > 2 || !/^[0-9]+$/.test(digits) || number < 1 || number > 65_535) return undefined;
    if (port === undefined || (words.length === 1 && distinct.size !== 1)) return undefined;
    if ((numbers.get(port) ?? number) !== number) return undefined;
    if ([...numbers].some(([other, n]) => n === number && other !== port)) return undefined;
    numbers.set(port, number);
  }
  return numbers;
}

function isCalled({ name, port }: ServicePort, word: string | undefined): boolean {
  return word !== '' && (name === word || String(port) === word);
}
