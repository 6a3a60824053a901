import { decide } from '../../src/allocation/decide.ts';
import { createLedger } from '../../src/allocation/ledger.ts';
import { compileRanges } from '../../src/allocation/range.ts';
import type { Snapshot } from '../../src/allocation/types.ts';
import type { PortRange } from '../../src/api/portRange.ts';
import { type RawService, type ServiceView, toServiceView } from '../../src/api/service.ts';
import { type Findings, show } from './report.ts';
import { median } from './stats.ts';

const MANY = 30_000;
const FEW = 100;
const FIRST_PORT = 20_000;
/** Numbers of each PortRange; nine tenths of those in use belong to managed Services, the rest to strangers. */
const RANGE_SIZE = 1_000;
const RANGES = 40;
const ROUNDS = 31;
const PER_ROUND = 5_000;
const NOW = Date.parse('2026-11-21T08:00:00Z');

/** One decision, pure, against parsing the line that a watch brings for the same Service. */
export function decision(): Promise<Findings> {
  const line = watchLine('waiting', 31_999);
  const [many, few] = [snapshotWith(MANY, line), snapshotWith(FEW, line)];
  const held = heldSnapshot(many);
  for (const [snapshot, expected] of [
    [many, 'assign'],
    [few, 'assign'],
    [held, 'keep'],
  ] as const) {
    const found = decide(snapshot).do;
    if (found !== expected) throw new Error(`the decision is ${found}, not ${expected}`);
  }
  const samples = { many: [] as number[], few: [] as number[], keep: [] as number[], parse: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    samples.many.push(microseconds(() => decide(many)));
    samples.parse.push(microseconds(() => JSON.parse(line) as object));
    samples.few.push(microseconds(() => decide(few)));
    samples.keep.push(microseconds(() => decide(held)));
  }
  return Promise.resolve(findings(samples, line.length));
}

function findings(
  { many, few, keep, parse }: Record<'many' | 'few' | 'keep' | 'parse', number[]>,
  bytes: number,
): Findings {
  const us = (values: readonly number[]): string => `${show(median(values))} µs`;
  const ratio = (a: readonly number[], b: readonly number[]): number =>
    median(a.map((value, i) => value / (b[i] ?? Number.NaN)));
  return {
    figures: [
      {
        what: `one decision at ${MANY} ports in use, against JSON.parse of its watch line (${bytes} bytes)`,
        ours: us(many),
        bare: us(parse),
        value: ratio(many, parse),
        budget: 0.2,
        ifMissed:
          'fewer objects per decision: the situation, its slot, the plan and the verdict’s text are what is left beside the look at the range’s bits.',
      },
      {
        what: `one decision at ${MANY} ports in use, against ${FEW}`,
        ours: us(many),
        bare: us(few),
        value: ratio(many, few),
        budget: 2,
      },
      {
        what: `for a Service that has its port (keep), at ${MANY}, against JSON.parse`,
        ours: us(keep),
        bare: us(parse),
        value: ratio(keep, parse),
        budget: undefined,
      },
    ],
    raw: [
      ['µs', 'least', 'median', 'most'],
      ...Object.entries({
        [`decide at ${MANY}`]: many,
        [`decide at ${FEW}`]: few,
        keep,
        'JSON.parse': parse,
      }).map(([name, values]) => [
        name,
        show(Math.min(...values)),
        show(median(values)),
        show(Math.max(...values)),
      ]),
    ],
    notes: [
      `${RANGES} PortRanges of ${RANGE_SIZE} numbers; ${ROUNDS} rounds of ${PER_ROUND} decisions each, alternating; medians.`,
    ],
  };
}

function microseconds(work: () => object): number {
  let kept: object = {};
  const began = performance.now();
  for (let i = 0; i < PER_ROUND; i++) kept = work();
  const took = performance.now() - began;
  // What is computed is looked at, so that nothing is optimised away.
  if (Object.keys(kept).length === 0) throw new Error('nothing was computed');
  return (took * 1_000) / PER_ROUND;
}

/** `used` numbers are held, the lowest of each range first; the Service asks the second range for one. */
function snapshotWith(used: number, line: string): Snapshot {
  const ranges = compileRanges(
    Array.from({ length: RANGES }, (_, i) => ({ object: portRange(i), assignmentSince: 0 })),
  );
  const ledger = createLedger({ cooldownOf: () => 300_000 });
  const perRange = Math.ceil(used / RANGES);
  for (let i = 0; i < used; i++) {
    const number = FIRST_PORT + (i % RANGES) * RANGE_SIZE + Math.floor(i / RANGES);
    if (Math.floor(i / RANGES) >= perRange) continue;
    const service = holder(i, number);
    ledger.observe(undefined, service, NOW);
    if (i % 10 === 0) continue;
    ledger.restore(
      number,
      {
        state: 'Held',
        service: service.key,
        uid: service.uid,
        ports: ['http:80/TCP'],
        range: `range-${i % RANGES}`,
        request: `range=range-${i % RANGES}`,
        since: NOW,
      },
      NOW,
    );
  }
  const service = parsed(line);
  ledger.observe(undefined, service, NOW);
  const namespace = { key: service.namespace, uid: 'n', resourceVersion: '1', labels: { team: 'bench' } };
  return { now: NOW, seed: '', service, namespace, ranges, ledger };
}

/** The same cluster; the Service is one of those that hold a number. */
function heldSnapshot(from: Snapshot): Snapshot {
  const [[number, entry] = []] = [...from.ledger.entries()];
  if (number === undefined || entry === undefined) throw new Error('nobody holds anything');
  const name = entry.service.split('/')[1] ?? '';
  const service = { ...parsed(watchLine(name, number, entry.range)), uid: entry.uid };
  return { ...from, service };
}

function portRange(i: number): PortRange {
  const from = FIRST_PORT + i * RANGE_SIZE;
  const creationTimestamp = new Date(NOW + i * 1_000).toISOString();
  return {
    metadata: { name: `range-${i}`, uid: `uid-${i}`, resourceVersion: '1', generation: 1, creationTimestamp },
    spec: {
      ranges: [{ from, to: from + RANGE_SIZE - 1 }],
      namespaceSelector: { matchLabels: { team: 'bench' } },
    },
  } as unknown as PortRange;
}

function holder(i: number, number: number): ServiceView {
  return { ...parsed(watchLine(`holder-${i}`, number)), uid: `holder-${i}` };
}

function parsed(line: string): ServiceView {
  return toServiceView((JSON.parse(line) as { object: RawService }).object);
}

/** As kube-apiserver 1.36 writes it for a Service with one port that was created with kubectl apply and shows a condition. */
function watchLine(name: string, nodePort: number, range = 'range-1'): string {
  const time = '2026-11-21T08:00:00Z';
  const status = {
    type: 'nodeport-manager.io/Allocated',
    status: 'False',
    reason: 'RangeNotFound',
    message: `PortRange "${range}" does not exist`,
    lastTransitionTime: time,
  };
  const applied = {
    'f:metadata': {
      'f:annotations': {
        '.': {},
        'f:kubectl.kubernetes.io/last-applied-configuration': {},
        'f:nodeport-manager.io/range': {},
      },
      'f:labels': { '.': {}, 'f:app': {}, 'f:team': {} },
    },
    'f:spec': {
      'f:externalTrafficPolicy': {},
      'f:internalTrafficPolicy': {},
      'f:ports': {
        '.': {},
        'k:{"port":80,"protocol":"TCP"}': {
          '.': {},
          'f:name': {},
          'f:port': {},
          'f:protocol': {},
          'f:targetPort': {},
        },
      },
      'f:selector': {},
      'f:sessionAffinity': {},
      'f:type': {},
    },
  };
  const shown = {
    'f:status': {
      'f:conditions': {
        '.': {},
        'k:{"type":"nodeport-manager.io/Allocated"}': {
          '.': {},
          'f:lastTransitionTime': {},
          'f:message': {},
          'f:reason': {},
          'f:status': {},
          'f:type': {},
        },
      },
    },
  };
  const metadata = {
    annotations: { 'nodeport-manager.io/range': range },
    labels: { app: name, team: 'bench' },
    name,
    namespace: 'team-bench',
  };
  const ports = [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }];
  const spec = { ports, selector: { app: name }, type: 'NodePort' };
  const lastApplied = `${JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata, spec })}\n`;
  const fields = { apiVersion: 'v1', time, fieldsType: 'FieldsV1' };
  return JSON.stringify({
    type: 'MODIFIED',
    object: {
      kind: 'Service',
      apiVersion: 'v1',
      metadata: {
        name,
        namespace: 'team-bench',
        uid: '7b1c1a52-5b0e-4c0f-9d1c-0d2d0f2b7d11',
        resourceVersion: '123456',
        creationTimestamp: time,
        labels: { app: name, team: 'bench' },
        annotations: {
          'kubectl.kubernetes.io/last-applied-configuration': lastApplied,
          'nodeport-manager.io/range': range,
        },
        managedFields: [
          { manager: 'kubectl-client-side-apply', operation: 'Update', ...fields, fieldsV1: applied },
          {
            manager: 'nodeport-manager',
            operation: 'Update',
            ...fields,
            fieldsV1: shown,
            subresource: 'status',
          },
        ],
      },
      spec: {
        ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 8080, nodePort }],
        selector: { app: name },
        clusterIP: '10.0.12.34',
        clusterIPs: ['10.0.12.34'],
        type: 'NodePort',
        sessionAffinity: 'None',
        externalTrafficPolicy: 'Cluster',
        ipFamilies: ['IPv4'],
        ipFamilyPolicy: 'SingleStack',
        internalTrafficPolicy: 'Cluster',
      },
      status: { conditions: [status], loadBalancer: {} },
    },
  });
}
