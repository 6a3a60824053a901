import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  byAge,
  numbersOf,
  portIdentity,
  portLabel,
  type RawService,
  type ServiceView,
  toServiceView,
} from '../../src/api/service.ts';

function raw(change: Partial<RawService> = {}): RawService {
  return {
    metadata: {
      name: 'web',
      namespace: 'a-dev',
      uid: 'u1',
      resourceVersion: '7',
      creationTimestamp: '2026-01-02T03:04:05Z',
    },
    spec: { type: 'NodePort', ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30_100 }] },
    ...change,
  };
}

function withOwners(...owners: readonly [manager: string, ...keys: string[]][]): ServiceView {
  const managedFields = owners.map(([manager, ...keys]) => ({
    manager,
    fieldsV1: {
      'f:spec': {
        'f:ports': {
          '.': {},
          ...Object.fromEntries(keys.map((key) => [key, { '.': {}, 'f:nodePort': {} }])),
        },
      },
    },
  }));
  return toServiceView(raw({ metadata: { ...raw().metadata, managedFields } }));
}

const HTTP = 'k:{"port":80,"protocol":"TCP"}';

describe('the projection of a Service', () => {
  test('keeps what decides about ports', () => {
    expect(toServiceView(raw())).toEqual({
      key: 'a-dev/web',
      labels: {},
      namespace: 'a-dev',
      name: 'web',
      uid: 'u1',
      resourceVersion: '7',
      createdAt: Date.UTC(2026, 0, 2, 3, 4, 5),
      type: 'NodePort',
      ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30_100 }],
      healthCheckNodePort: 0,
      allocatesNodePorts: true,
      annotations: {},
    });
  });

  test('a Service without a spec has no ports and the type that Kubernetes defaults to', () => {
    const { spec: _, ...bare } = raw();
    expect(toServiceView(bare)).toMatchObject({ type: 'ClusterIP', ports: [], healthCheckNodePort: 0 });
  });

  test("keeps our annotations and drops everybody else's", () => {
    const annotations = { 'nodeport-manager.io/range': 'team-a', 'kubectl.kubernetes.io/last-applied': '{}' };
    expect(toServiceView(raw({ metadata: { ...raw().metadata, annotations } })).annotations).toEqual({
      'nodeport-manager.io/range': 'team-a',
    });
  });

  test('keeps our condition alone', () => {
    const condition = (type: string): ServiceView['condition'] & { type: string } => ({
      type,
      status: 'True',
      reason: 'Assigned',
      message: type,
      lastTransitionTime: '2026-01-02T03:04:05Z',
    });
    const conditions = [condition('Ready'), condition('nodeport-manager.io/Allocated')];
    expect(toServiceView(raw({ status: { conditions } })).condition).toEqual({
      status: 'True',
      reason: 'Assigned',
      message: 'nodeport-manager.io/Allocated',
      lastTransitionTime: '2026-01-02T03:04:05Z',
    });
    expect(toServiceView(raw({ status: { conditions: [condition('Ready')] } })).condition).toBeUndefined();
  });

  test('allocateLoadBalancerNodePorts: only an explicit false is false', () => {
    const allocates = (value?: boolean): boolean =>
      toServiceView(
        raw({
          spec: {
            type: 'LoadBalancer',
            ...(value === undefined ? {} : { allocateLoadBalancerNodePorts: value }),
          },
        }),
      ).allocatesNodePorts;
    expect([allocates(), allocates(true), allocates(false)]).toEqual([true, true, false]);
  });
});

describe('who owns a nodePort', () => {
  test('nobody: the apiserver picked it', () => {
    expect(withOwners().ports[0]?.owner).toBeUndefined();
  });

  test('the manager that set it', () => {
    expect(withOwners(['kubectl', HTTP]).ports[0]?.owner).toBe('kubectl');
    expect(withOwners(['nodeport-manager', HTTP]).ports[0]?.owner).toBe('nodeport-manager');
  });

  test.each([
    ['first', [['kubectl', HTTP] as const, ['nodeport-manager', HTTP] as const]],
    ['last', [['nodeport-manager', HTTP] as const, ['kubectl', HTTP] as const]],
  ])('who pins a number that we wrote has made a claim, listed %s', (_, owners) => {
    expect(
      withOwners(...owners.map(([manager, key]): [string, string] => [manager, key])).ports[0]?.owner,
    ).toBe('kubectl');
  });

  test('who owns another field of the port, or the same port under another protocol, does not own the number', () => {
    expect(withOwners(['kubectl', 'k:{"port":80,"protocol":"UDP"}']).ports[0]?.owner).toBeUndefined();
    const managedFields = [
      { manager: 'kubectl', fieldsV1: { 'f:spec': { 'f:ports': { [HTTP]: { 'f:name': {} } } } } },
    ];
    const view = toServiceView(raw({ metadata: { ...raw().metadata, managedFields } }));
    expect(view.ports[0]?.owner).toBeUndefined();
  });

  test('an owner of a number that is gone is not shown', () => {
    const view = toServiceView(raw({ ...raw(), spec: { type: 'ClusterIP', ports: [{ port: 80 }] } }));
    expect(view.ports).toEqual([{ name: '', port: 80, protocol: 'TCP', nodePort: 0 }]);
  });

  test('entries without spec, manager or fields are passed over', () => {
    const managedFields = [{}, { manager: 'x' }, { manager: 'x', fieldsV1: { 'f:status': {} } }];
    expect(
      toServiceView(raw({ metadata: { ...raw().metadata, managedFields } })).ports[0]?.owner,
    ).toBeUndefined();
  });
});

describe('managedFields, which users can write,', () => {
  const HOSTILE = [
    'k:{"port":80,"protocol":{"toString":1}}',
    'k:{"port":{"valueOf":1}}',
    'k:null',
    'k:{',
    'k:',
  ];

  test.each(HOSTILE)('with the key %s hide neither the Service nor who owns its ports', (key) => {
    expect(withOwners(['helm', HTTP], ['team', key]).ports[0]?.owner).toBe('helm');
    expect(withOwners(['team', key], ['helm', HTTP]).ports[0]?.owner).toBe('helm');
    expect(withOwners(['team', key]).ports[0]?.owner).toBeUndefined();
  });

  test('hide no Service, whatever is in them', () => {
    const key = fc.oneof(
      fc.json().map((text) => `k:${text}`),
      fc
        .record({ port: fc.jsonValue(), protocol: fc.jsonValue() }, { requiredKeys: [] })
        .map((fields) => `k:${JSON.stringify(fields)}`),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(fc.array(key), (keys) => {
        expect(withOwners(['team', ...keys]).key).toBe('a-dev/web');
      }),
    );
  });
});

describe('the numbers that a Service occupies', () => {
  const view = toServiceView(raw());

  test('kubernetes #39188: TCP and UDP on one number count once', () => {
    const ports = [
      { name: 'dns', port: 53, protocol: 'TCP', nodePort: 30_053 },
      { name: 'dns-udp', port: 53, protocol: 'UDP', nodePort: 30_053 },
    ];
    expect(numbersOf({ ...view, ports })).toEqual([30_053]);
  });

  test('capsule: healthCheckNodePort counts', () => {
    expect(numbersOf({ ...view, healthCheckNodePort: 31_904 })).toEqual([30_100, 31_904]);
  });

  test('a Service without node ports occupies none', () => {
    expect(numbersOf({ ...view, ports: [{ name: '', port: 80, protocol: 'TCP', nodePort: 0 }] })).toEqual([]);
  });
});

describe('how ports are called', () => {
  test('in the table by name, port and protocol', () => {
    expect(portIdentity({ name: 'http', port: 80, protocol: 'TCP', nodePort: 0 })).toBe('http:80/TCP');
    expect(portIdentity({ name: '', port: 80, protocol: 'UDP', nodePort: 0 })).toBe(':80/UDP');
  });

  test('in messages by name, else by number', () => {
    expect(portLabel({ name: 'http', port: 80, protocol: 'TCP', nodePort: 0 })).toBe('http');
    expect(portLabel({ name: '', port: 80, protocol: 'TCP', nodePort: 0 })).toBe('80');
  });
});

test('the order in which Services are asked: by creation, then namespace/name', () => {
  const order = [
    { key: 'b/a', createdAt: 2 },
    { key: 'a/b', createdAt: 2 },
    { key: 'z/z', createdAt: 1 },
  ].toSorted(byAge);
  expect(order.map(({ key }) => key)).toEqual(['z/z', 'a/b', 'b/a']);
  expect(byAge({ key: 'a/a', createdAt: 1 }, { key: 'a/a', createdAt: 1 })).toBe(0);
});
