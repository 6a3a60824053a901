import { createHash } from 'node:crypto';
import { ANNOTATION } from '../api/names.ts';
import type { ServicePort, ServiceView } from '../api/service.ts';
import { quote } from '../api/text.ts';
import type { Port } from '../ports/portSet.ts';
import { admits, type Range } from './range.ts';
import type { Malformed, Millis, NamespaceView, Request } from './types.ts';

/** What a PortRange may be called: a DNS-1123 subdomain of at most 63 characters. */
const NAME = /^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$/;

/** Annotations that are reserved but not acted on yet: refusing them is kinder than ignoring them. */
const NOT_YET = [ANNOTATION.contiguous, ANNOTATION.expose];

/** Longest list of ranges that is read: nobody means more, and each is asked. */
const RANGES_AT_MOST = 64;

/** Longest text of a request, in characters, that is recorded as it is. */
const RECORDED_AT_MOST = 256;

/**
 * What a Service asks for. Its own annotations come first, then the default of its Namespace, then PortRanges with
 * `assignment: Automatic`. null: nothing reaches it, or `none`: it is unmanaged.
 */
export function readRequest(
  service: ServiceView,
  namespace: NamespaceView | undefined,
  ranges: ReadonlyMap<string, Range>,
): Request | Malformed | null {
  const range = service.annotations[ANNOTATION.range]?.trim();
  if (range === 'none') return null;
  for (const name of NOT_YET) {
    const text = service.annotations[name];
    if (text !== undefined) {
      return { malformed: `this version does not act on ${name}: ${quote(text)}; remove the annotation` };
    }
  }
  const ports = service.annotations[ANNOTATION.ports];
  if (range !== undefined || ports !== undefined) return ownRequest(service, range ?? 'auto', ports);
  return defaultRequest(service, namespace, ranges);
}

/** The names of the ranges that it asks, in order; for `auto`, all that admit the Service. */
export function rangesAsked(
  { ranges: asked }: Request,
  service: ServiceView,
  namespace: NamespaceView | undefined,
  ranges: ReadonlyMap<string, Range>,
): readonly string[] {
  if (asked !== 'auto') return asked;
  return [...ranges.values()].flatMap((range) => (admits(range, service, namespace) ? range.name : []));
}

export function isMalformed(request: Request | Malformed): request is Malformed {
  return 'malformed' in request;
}

function ownRequest(
  service: ServiceView,
  rangeText: string,
  portsText: string | undefined,
): Request | Malformed {
  const ranges = readRanges(rangeText);
  if ('malformed' in ranges) return ranges;
  const names = ranges.names === 'auto' ? 'auto' : ranges.names.join(',');
  if (portsText === undefined)
    return { source: 'service', ranges: ranges.names, wanted: NOTHING, text: shortened(`range=${names}`) };
  const wanted = readPorts(portsText.trim(), service.ports);
  if ('malformed' in wanted) return wanted;
  const numbers = [...wanted].map(([port, number]) => `${port}=${number}`).toSorted();
  const text = numbers.length === 0 ? `range=${names}` : `range=${names};ports=${numbers.join(',')}`;
  return { source: 'service', ranges: ranges.names, wanted, text: shortened(text) };
}

/** What entries record: every number of the Service carries it, and a block of the table must stay below 1 MiB. */
function shortened(text: string): string {
  if (text.length <= RECORDED_AT_MOST) return text;
  const digest = createHash('sha256').update(text).digest('hex');
  return `${text.slice(0, RECORDED_AT_MOST / 2)}… sha256:${digest}`;
}

function readRanges(text: string): { names: 'auto' | readonly string[] } | Malformed {
  // What nearly everybody writes, on the way of every decision.
  if (NAME.test(text) && text !== 'auto') return { names: [text] };
  if (text === '') return { malformed: `${ANNOTATION.range} is empty: name a PortRange, or remove it` };
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  if (names.length === 1 && names[0] === 'auto') return { names: 'auto' };
  const bad = names.find((name) => !NAME.test(name) || name === 'auto' || name === 'none');
  if (bad === 'auto' || bad === 'none') {
    return { malformed: `${ANNOTATION.range}: ${quote(text)}: "${bad}" stands alone, not in a list` };
  }
  if (bad !== undefined) {
    return {
      malformed: `${ANNOTATION.range}: ${quote(bad)} is not the name of a PortRange (lowercase letters, digits, "-" and ".", at most 63)`,
    };
  }
  if (names.length > RANGES_AT_MOST) {
    return { malformed: `${ANNOTATION.range} names ${names.length} PortRanges: at most ${RANGES_AT_MOST}` };
  }
  return { names };
}

/**
 * `https=30443,http=30080`, by port name or number; or `30443` where there is one distinct port. By port number.
 * Anybody may write 250 kB here: each part is looked at once, and no expression goes back over what it has read.
 */
function readPorts(text: string, ports: readonly ServicePort[]): ReadonlyMap<string, Port> | Malformed {
  const wrong = (why: string): Malformed => ({ malformed: `${ANNOTATION.ports}: ${why}` });
  const wanted = new Map<string, Port>();
  const distinct = [...new Set(ports.map(({ port }) => port))];
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    const digits = part.slice(equals + 1).trim();
    if (!/^\d{1,6}$/.test(digits)) return wrong(`${quote(part)} is neither a number nor like "https=30443"`);
    const number = Number(digits);
    if (number < 1 || number > 65_535) return wrong(`${quote(part)}: node ports are 1 to 65535`);
    if (equals < 0 && distinct.length !== 1) {
      const count = distinct.length;
      return wrong(`${quote(part)}: the Service has ${count} ports, so say which, like "https=30443"`);
    }
    const name = part.slice(0, Math.max(0, equals)).trim();
    const port = equals < 0 ? distinct[0] : portCalled(name, ports);
    if (port === undefined) return wrong(`the Service has no port ${quote(name)}`);
    const before = wanted.get(String(port));
    if (before !== undefined && before !== number)
      return wrong(`two numbers for port ${port}: ${before} and ${number}`);
    const other = [...wanted].find(([p, n]) => n === number && p !== String(port));
    if (other !== undefined) return wrong(`${number} for two different ports: ${other[0]} and ${port}`);
    wanted.set(String(port), number);
  }
  return wanted;
}

/** A name goes first: Kubernetes lets a port be called `443` beside another that has this number. */
function portCalled(name: string, ports: readonly ServicePort[]): Port | undefined {
  const called = name === '' ? undefined : ports.find((port) => port.name === name);
  return (called ?? ports.find(({ port }) => String(port) === name))?.port;
}

function defaultRequest(
  service: ServiceView,
  namespace: NamespaceView | undefined,
  ranges: ReadonlyMap<string, Range>,
): Request | Malformed | null {
  // A default is for Services that have node ports; it is no fault of the others not to.
  if (service.ports.every(({ nodePort }) => nodePort === 0)) return null;
  const text = namespace?.rangeDefault?.value.trim();
  if (text === 'none') return null;
  if (text !== undefined) {
    const read = readRanges(text);
    const since = namespace?.rangeDefault?.since;
    if ('malformed' in read) return { malformed: `of the Namespace: ${read.malformed}`, since };
    return { source: 'namespace', ranges: read.names, wanted: NOTHING, text: DEFAULT, since };
  }
  const automatic = [...ranges.values()].filter(
    (range) => range.automatic && admits(range, service, namespace),
  );
  if (automatic.length === 0) return null;
  const since = Math.max(...automatic.map((range) => reachesSince(range, service, namespace)));
  return {
    source: 'automatic',
    ranges: automatic.map(({ name }) => name),
    wanted: NOTHING,
    text: DEFAULT,
    since,
  };
}

/** Since when the PortRange reaches the Service: a default that comes to it by a new label is a new default. */
function reachesSince(
  { automaticSince, namespaceSelector, serviceSelector }: Range,
  service: ServiceView,
  namespace: NamespaceView | undefined,
): Millis {
  return Math.max(
    automaticSince,
    namespaceSelector === undefined ? 0 : (namespace?.labelsSince ?? 0),
    serviceSelector === undefined ? 0 : (service.labelsSince ?? 0),
  );
}

const NOTHING: ReadonlyMap<string, Port> = new Map();

/** What entries record of a Service without a request of its own: any such request then differs from it. */
const DEFAULT = 'default';

/** A default never moves a Service that had node ports before it: was this one there first? */
export function predates(
  { createdAt }: ServiceView,
  since: Millis | undefined,
  gotNodePortsAt: Millis = createdAt,
): boolean {
  return since !== undefined && gotNodePortsAt < since;
}
