/** Who lives in the demo's cluster: three teams with a segment each, and Services of every kind, in three waves. */
import { ANNOTATION } from '../src/api/names.ts';
import { portRangeApiVersion, type PortRangeSpec } from '../src/api/portRange.ts';
import type { Reason } from '../src/api/reasons.ts';

/** `namespace/name`, its ports (`http:80`, `dns:53/UDP`, `web:80=31500` pins a number), and what shall come of it. */
export interface ServiceRow {
  readonly key: string;
  readonly ports: string;
  /** What it asks for; with neither, nothing. */
  readonly range?: string;
  /** The annotation `ports`: exact numbers. */
  readonly wants?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Default NodePort. */
  readonly type?: 'LoadBalancer';
  /** Makes a LoadBalancer keep client addresses, which takes one more number for its health check. */
  readonly healthCheckNodePort?: number;
  /** Reasons of which its condition shall show one; empty: no condition, it is not managed. */
  readonly expect: readonly Reason[];
}

/** Now and then the apiserver's random pick fits the range, and is kept. */
const SERVED: readonly Reason[] = ['Assigned', 'Adopted'];

/** In the cluster before the controller is. */
export const OLD: readonly ServiceRow[] = [
  { key: 'default/monitoring', ports: 'web:3000=30201', expect: [] },
  { key: 'a-prod/billing', range: 'team-a', ports: 'http:80=30117', expect: ['Adopted'] },
  { key: 'a-prod/legacy', range: 'team-a', ports: 'http:80=31500', expect: ['HeldOutOfRange'] },
  {
    key: 'a-prod/voip',
    range: 'team-a',
    type: 'LoadBalancer',
    ports: 'sip:5060/UDP',
    healthCheckNodePort: 30105,
    expect: SERVED,
  },
  // Its namespace has no default yet.
  { key: 'd-prod/older', ports: 'http:80', expect: [] },
];

/** What the ranges can serve. Team C's is full then. */
export const NEW: readonly ServiceRow[] = [
  { key: 'a-prod/shop', range: 'team-a', ports: 'http:80', expect: SERVED },
  { key: 'a-prod/shop-api', range: 'team-a', ports: 'http:80 https:443', expect: SERVED },
  { key: 'a-prod/media', range: 'team-a', ports: 'rtp:5004/UDP rtcp:5005/UDP control:8554', expect: SERVED },
  { key: 'a-prod/edge', range: 'team-a', type: 'LoadBalancer', ports: 'http:80 https:443', expect: SERVED },
  { key: 'a-dev/shop', range: 'team-a', ports: 'http:80', expect: SERVED },
  { key: 'a-dev/dns', range: 'team-a', ports: 'dns:53/UDP dns-tcp:53/TCP', expect: SERVED },
  { key: 'b-prod/web', range: 'team-b', ports: 'http:80', expect: SERVED },
  { key: 'b-prod/api', range: 'team-b', ports: 'grpc:9000 http:8080', expect: SERVED },
  { key: 'b-prod/game', range: 'team-b', ports: 'play:27015/UDP play-tcp:27015/TCP', expect: SERVED },
  { key: 'b-stage/web', range: 'team-b', ports: 'http:80', expect: SERVED },
  { key: 'b-stage/edge', range: 'team-b', type: 'LoadBalancer', ports: 'https:443', expect: SERVED },
  { key: 'c-prod/auth', range: 'team-c', ports: 'http:80', expect: SERVED },
  { key: 'c-prod/cart', range: 'team-c', ports: 'http:80', expect: SERVED },
  { key: 'c-prod/search', range: 'team-c', ports: 'http:9200 nodes:9300', expect: SERVED },
  { key: 'c-batch/etl', range: 'team-c', ports: 'in:7000 out:7001', expect: SERVED },
];

/** What cannot be served. They come last, so that their random ports lie outside the full range. */
export const REFUSED: readonly ServiceRow[] = [
  { key: 'c-batch/report', range: 'team-c', ports: 'http:80', expect: ['RangeExhausted'] },
  { key: 'c-prod/mail', range: 'team-c', ports: 'smtp:25 imap:143', expect: ['RangeExhausted'] },
  { key: 'c-prod/queue', range: 'team-c', ports: 'amqp:5672', expect: ['RangeExhausted'] },
  { key: 'a-dev/borrow', range: 'team-b', ports: 'http:80', expect: ['NotAdmitted'] },
  { key: 'a-dev/typo', range: 'taem-a', ports: 'http:80', expect: ['RangeNotFound'] },
];

/** Ways to ask other than by the name of one range. */
export const OTHER_WAYS: readonly ServiceRow[] = [
  { key: 'c-prod/spare', range: 'team-c,shared', ports: 'http:80', expect: SERVED },
  { key: 'a-dev/any', range: 'auto', ports: 'http:80', expect: SERVED },
  { key: 'b-prod/portal', range: 'team-b', wants: 'https=30250', ports: 'https:443 http:80', expect: SERVED },
  { key: 'b-stage/exact', wants: '30215', ports: 'http:80', expect: SERVED },
  { key: 'b-prod/same', range: 'team-b', wants: '30215', ports: 'http:80', expect: ['PortTaken'] },
  { key: 'd-prod/web', ports: 'http:80', expect: SERVED },
  { key: 'd-prod/own-way', range: 'none', ports: 'http:80', expect: [] },
  { key: 'e-prod/web', labels: { tier: 'edge' }, ports: 'http:80', expect: SERVED },
  { key: 'e-prod/internal', ports: 'http:80', expect: [] },
  { key: 'e-prod/closed', range: 'closed', ports: 'http:80', expect: ['RangePaused'] },
];

/** Whoever pins this number, of team B's segment, and is not admitted there, is denied once the policy is installed. */
export const INTRUDER: ServiceRow = { key: 'a-dev/intruder', ports: 'http:80=30216', expect: [] };

/** Of them, what the default of its namespace did not move. */
export const OLDER: ServiceRow = { key: 'd-prod/older', ports: '', expect: ['HeldOutOfRange', 'Adopted'] };

/** Deleted while somebody waits for its number, who is then served. */
export const LEAVES = 'c-prod/auth';
export const SERVED_NEXT = 'c-batch/report';

/** Created while the controller is dead. */
export const LATE: ServiceRow = { key: 'a-prod/late', range: 'team-a', ports: 'http:80', expect: SERVED };

const NAMESPACES: Readonly<Record<string, string>> = {
  'a-prod': 'a',
  'a-dev': 'a',
  'b-prod': 'b',
  'b-stage': 'b',
  'c-prod': 'c',
  'c-batch': 'c',
  'd-prod': 'd',
  'e-prod': 'e',
};

const RANGES: Readonly<Record<string, PortRangeSpec>> = {
  'team-a': {
    ranges: [{ from: 30100, to: 30131 }],
    excluded: [{ from: 30110, to: 30111 }],
    namespaces: ['a-prod', 'a-dev'],
  },
  'team-b': {
    ranges: [{ from: 30200, to: 30219 }, { from: 30250 }],
    explicitOnly: [{ from: 30250 }],
    namespaceSelector: { matchLabels: { team: 'b' } },
  },
  // No cooldown: a released number is given on at once. (By default it rests for 5 minutes.)
  'team-c': { ranges: [{ from: 30300, to: 30305 }], namespaces: ['c-prod', 'c-batch'], cooldown: '0s' },
  // For everybody, tried last, and a Service's number follows from its name.
  shared: { ranges: [{ from: 30500, to: 30519 }], priority: -1, strategy: 'Hash' },
  // Nobody in e-prod needs to ask, if it is at the edge.
  'team-e': {
    ranges: [{ from: 30210, to: 30225 }],
    namespaces: ['e-prod'],
    serviceSelector: { matchLabels: { tier: 'edge' } },
    assignment: 'Automatic',
  },
  closed: { ranges: [{ from: 30600, to: 30609 }], paused: true },
};

/** Whose table of numbers is printed: the others come into it later. */
export const rangeNames = Object.keys(RANGES);

export function namespaceManifests(): object[] {
  return Object.entries(NAMESPACES).map(([name, team]) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { team } },
  }));
}

/** The same namespace, with a default for its Services. */
export function namespaceDefault(): object {
  const annotations = { [ANNOTATION.range]: 'shared' };
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'd-prod', labels: { team: 'd' }, annotations },
  };
}

export function rangeManifests(): object[] {
  return Object.entries(RANGES).map(([name, spec]) => ({
    apiVersion: portRangeApiVersion,
    kind: 'PortRange',
    metadata: { name },
    spec,
  }));
}

export function serviceManifest({
  key,
  range,
  wants,
  labels,
  ports,
  type,
  healthCheckNodePort,
}: Omit<ServiceRow, 'expect'>): object {
  const [namespace, name] = key.split('/');
  const annotations = {
    ...(range === undefined ? {} : { [ANNOTATION.range]: range }),
    ...(wants === undefined ? {} : { [ANNOTATION.ports]: wants }),
  };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      namespace,
      name,
      annotations,
      ...(labels === undefined ? {} : { labels }),
    },
    spec: {
      type: type ?? 'NodePort',
      selector: { app: name },
      ports: ports.split(' ').map(portManifest),
      ...(healthCheckNodePort === undefined ? {} : { externalTrafficPolicy: 'Local', healthCheckNodePort }),
    },
  };
}

/** `http:80`, `dns:53/UDP` or `web:80=31500` */
function portManifest(text: string): object {
  const [rest = '', pinned] = text.split('=');
  const [name = '', number = ''] = rest.split(':');
  const [port, protocol = 'TCP'] = number.split('/');
  return {
    name,
    port: Number(port),
    protocol,
    ...(pinned === undefined ? {} : { nodePort: Number(pinned) }),
  };
}
