import { describe, expect, test } from 'vitest';
import type { Entry, Metadata, RangeSpec, Service, ServicePort } from './objects.ts';
import { type AtRest, unservedIn } from './served.ts';

const NOW = Date.parse('2026-01-31T08:00:00Z');

const metadata = (name: string, more: Partial<Metadata> = {}): Metadata => ({
  name,
  namespace: 'a',
  uid: name,
  resourceVersion: '1',
  creationTimestamp: '2026-01-31T07:00:00Z',
  ...more,
});

interface Shown {
  /** `RangePaused: r is paused`; null: no condition. */
  told: string | null;
  /** Its annotations, without the prefix. */
  asks?: Record<string, string>;
  ports?: ServicePort[];
  type?: string;
}

/** By default it asks for the range `r`, and has a number that the apiserver picked. */
function web(name: string, { told, asks = { range: 'r' }, ports, type = 'NodePort' }: Shown): Service {
  const [reason = '', message = ''] = (told ?? '').split(': ');
  const status = { Assigned: 'True', HeldOutOfRange: 'True', Pending: 'Unknown' }[reason] ?? 'False';
  const condition = {
    type: 'nodeport-manager.io/Allocated',
    status,
    reason,
    message,
    lastTransitionTime: '',
  };
  const annotations = Object.entries(asks).map(([key, value]) => [`nodeport-manager.io/${key}`, value]);
  return {
    metadata: metadata(name, { annotations: Object.fromEntries(annotations) }),
    spec: { type, ports: ports ?? [{ name: 'http', port: 80, nodePort: 31000 }] },
    status: told === null ? {} : { conditions: [condition] },
  };
}

/** Two numbers, 30100 and 30101, unless it says something else. */
const range = (spec: Partial<RangeSpec> = {}, name = 'r', creationTimestamp = '2026-01-31T07:00:00Z') => ({
  metadata: { ...metadata(name, { creationTimestamp }), generation: 1 },
  spec: { ranges: [{ from: 30100, to: 30101 }], ...spec },
});

const block = (data: Record<string, Partial<Entry>>, annotations: Record<string, string> = {}) => ({
  metadata: metadata('nodeport-table-30000', { annotations }),
  data: Object.fromEntries(Object.entries(data).map(([key, entry]) => [key, JSON.stringify(entry)])),
});

/** About the cluster with `services`, by default with the one range `r`. */
const verdictOn = (services: Service[], more: Partial<AtRest> = {}): readonly string[] =>
  unservedIn({
    services,
    ranges: [range()],
    namespaces: [{ metadata: metadata('a') }],
    blocks: [],
    now: NOW,
    ...more,
  });

const EXHAUSTED = 'RangeExhausted: r has too few free ports, 1 needed';
const canBeServed = [
  'Converges: a/w is told RangeExhausted (r has too few free ports, 1 needed), but r can serve it',
];
/** One that has 30100. */
const holder = web('h', {
  told: 'Assigned: holds http 30100 from r',
  ports: [{ name: 'http', port: 80, nodePort: 30100 }],
});

describe('a cluster at rest is not well when', () => {
  test('a Service asks and is told nothing, or is left in the middle; and nobody else', () => {
    expect(verdictOn([web('w', { told: null })])).toEqual(['Converges: a/w asks and was not decided']);
    expect(verdictOn([web('w', { told: 'Pending: moves' })])).toEqual(['Converges: a/w is left at Pending']);
    expect(
      verdictOn([web('w', { told: null, asks: {} }), web('x', { told: null, asks: { range: 'none' } })]),
    ).toEqual([]);
  });

  test('one whom only a default reaches is told nothing', () => {
    const silent = web('w', { told: null, asks: {} });
    const byNamespace = { metadata: metadata('a', { annotations: { 'nodeport-manager.io/range': 'r' } }) };
    const violation = ['Converges: a/w asks and was not decided'];
    expect(verdictOn([silent], { namespaces: [byNamespace] })).toEqual(violation);
    const automatic = { assignment: 'Automatic' };
    expect(verdictOn([silent], { ranges: [range(automatic)] })).toEqual(violation);
    expect(verdictOn([silent], { ranges: [range({ ...automatic, namespaces: ['b'] })] })).toEqual([]);
  });

  test('one that asks for nothing is still told something', () => {
    expect(verdictOn([web('w', { told: EXHAUSTED, asks: {} })])).toEqual([
      'Converges: a/w asks for nothing and shows RangeExhausted',
    ]);
  });

  test('one waits while its range has a number', () => {
    expect(verdictOn([web('w', { told: EXHAUSTED })])).toEqual(canBeServed);
    expect(verdictOn([holder, web('w', { told: EXHAUSTED })])).toEqual(canBeServed);
  });

  describe('but not when the number is not to be had:', () => {
    const waits = [holder, web('w', { told: EXHAUSTED })];
    test.each<[string, Partial<AtRest>]>([
      ['another is promised it', { blocks: [block({ 30101: { state: 'Held' } })] }],
      ['it rests', { blocks: [block({ 30101: { state: 'Released', until: '2026-01-31T08:01:00Z' } })] }],
      ['its block cannot be read', { blocks: [block({}, { 'nodeport-manager.io/table-version': '2' })] }],
      ['it is excluded', { ranges: [range({ excluded: [{ from: 30101 }] })] }],
      ['it is given only by number', { ranges: [range({ explicitOnly: [{ from: 30101 }] })] }],
      [
        'an older PortRange has it',
        { ranges: [range(), range({ ranges: [{ from: 30101 }] }, 's', '2026-01-31T06:00:00Z')] },
      ],
      [
        'another waits for it by name',
        {
          services: [
            ...waits,
            web('x', {
              told: 'PortTaken: 30100 is held by a/h',
              asks: { range: 'r', ports: 'http=30100,x=30101' },
            }),
          ],
        },
      ],
    ])('%s', (_, more) => {
      expect(verdictOn(waits, more)).toEqual([]);
    });

    test('a rest that is over is none', () => {
      const released = { state: 'Released', until: '2026-01-31T07:59:00Z' };
      expect(verdictOn(waits, { blocks: [block({ 30101: released })] })).toEqual(canBeServed);
    });

    test('or when it takes more of them', () => {
      const ports = [80, 443].map((port) => ({ name: `p${port}`, port, nodePort: 31000 + port }));
      const two = web('w', { told: EXHAUSTED, ports });
      expect(verdictOn([holder, two])).toEqual([]);
      expect(verdictOn([two])).toEqual(canBeServed);
    });
  });

  test('it waits for what the apiserver may keep, only if the PortRange counts it as free', () => {
    const waits = [web('w', { told: EXHAUSTED })];
    const counts = (free: number) => ({ mayLinger: true, ranges: [{ ...range(), status: { free } }] });
    expect(verdictOn(waits, counts(0))).toEqual([]);
    expect(verdictOn(waits, counts(1))).toEqual(canBeServed);
    const named = web('w', { told: 'PortTaken: 30100 is allocated', asks: { range: 'r', ports: '30100' } });
    expect(verdictOn([named], counts(1))).toEqual([]);
  });

  test('one waits for its number, which is free', () => {
    const asks = { range: 'r', ports: '30100' };
    const told = 'PortTaken: 30100 is held by a/h';
    expect(verdictOn([holder, web('w', { told, asks })])).toEqual([]);
    expect(verdictOn([web('w', { told, asks })])).toEqual([
      'Converges: a/w is told PortTaken (30100 is held by a/h), but r can serve it',
    ]);
    // Which of two it is to be is not asked.
    expect(verdictOn([web('w', { told, asks }), web('x', { told, asks })])).toEqual([]);
  });

  test('one is refused for a reason that is none', () => {
    const full = [holder, web('x', { told: null, asks: {}, ports: [{ port: 80, nodePort: 30101 }] })];
    const refused = (told: string, spec: Partial<RangeSpec> = {}, asks = { range: 'r' }) =>
      verdictOn([...full, web('w', { told: `${told}: why`, asks })], { ranges: [range(spec)] });
    const unjustified = (told: string) => [
      `Converges: a/w is told ${told} (why), and nothing in the cluster is so`,
    ];
    for (const told of [
      'RangePaused',
      'NotAdmitted',
      'RangeNotFound',
      'PortTaken',
      'NoNodePorts',
      'InvalidRequest',
    ])
      expect(refused(told)).toEqual(unjustified(told));
    expect(refused('RangePaused', { paused: true })).toEqual([]);
    expect(refused('RangeNotFound', {}, { range: 'nowhere' })).toEqual([]);
    expect(refused('RequestOutOfRange', {}, { range: 'r', ports: '30102' } as never)).toEqual([]);
    expect(
      verdictOn([web('w', { told: 'NoNodePorts: why', type: 'ClusterIP', ports: [{ port: 80 }] })]),
    ).toEqual([]);
    for (const range of ['r,,s', 'x'.repeat(64)])
      expect(verdictOn([web('w', { told: 'InvalidRequest: why', asks: { range } })])).toEqual([]);
  });

  test('one is told that it is served, and is not', () => {
    const told = 'Assigned: holds http 30100 from r';
    expect(verdictOn([web('w', { told })])).toEqual([
      'Converges: a/w is told Assigned (holds http 30100 from r), but its port on 31000 is not among them',
    ]);
    const asks = { range: 'r', ports: '30101' };
    const ports = [{ port: 80, nodePort: 30100 }];
    expect(verdictOn([web('w', { told, asks, ports })])).toEqual([
      'Converges: a/w is told Assigned (holds http 30100 from r), but it asks for 30101',
    ]);
  });

  test('one is told of a range as it was', () => {
    const outside = web('w', {
      told: 'HeldOutOfRange: holds http 30100 outside r: r (30200) does not contain 30100',
      ports: [{ port: 80, nodePort: 30100 }],
    });
    const moved = { ranges: [range({ ranges: [{ from: 30200 }] })] };
    expect(verdictOn([holder], moved)).toEqual([
      'Converges: a/h is told Assigned (holds http 30100 from r), but r is not so',
    ]);
    expect(verdictOn([outside], moved)).toEqual([]);
    expect(verdictOn([outside])).toHaveLength(1);
    expect(verdictOn([holder], { ranges: [range({ namespaces: ['b'] })] })).toHaveLength(1);
  });
});
