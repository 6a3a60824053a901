import { beforeEach, describe, expect, test } from 'vitest';
import { expectAccepted, expectRefused, useWorld } from './world.ts';

const A = 30_150;
const B = 30_210;
const NOBODYS = 30_095;

const world = useWorld(async ({ namespace, range, install }) => {
  await namespace('a');
  await namespace('b');
  await install('policy');
  await range('team-a', { ranges: [{ from: 30_100, to: 30_199 }], namespaces: ['a'] }, [
    { from: 30_100, to: 30_199 },
  ]);
  await range('team-b', { ranges: [{ from: 30_200, to: 30_299 }], namespaces: ['b'] }, [
    { from: 30_200, to: 30_299 },
  ]);
});

const team = () => world().as('team-b');

beforeEach(async () => {
  await world().kubectl('delete services --all -n a');
  await world().kubectl('delete services --all -n b');
});

/** Every way to name a number on a Service `b/web` that has another one. */
const edits = {
  update: (number: number) =>
    team().put('b/web', ({ spec }) => {
      spec.ports = [{ name: 'http', port: 80, nodePort: number }];
    }),
  'JSON patch': (number: number) =>
    team().patch('b/web', 'json', [{ op: 'replace', path: '/spec/ports/0/nodePort', value: number }]),
  'merge patch': (number: number) =>
    team().patch('b/web', 'merge', { spec: { ports: [{ name: 'http', port: 80, nodePort: number }] } }),
  'strategic merge patch': (number: number) =>
    team().patch('b/web', 'strategic', { spec: { ports: [{ port: 80, nodePort: number }] } }),
  'server-side apply': (number: number) =>
    team().apply('b/web', [{ name: 'http', port: 80, nodePort: number }], 'force=true'),
} as const;

describe('A number of a segment that does not admit the namespace is refused, with the number and its PortRange,', () => {
  test('in a create', async () => {
    const answer = await team().create('b/web', [{ port: 80, nodePort: A }]);
    expect(answer.message).toBe(
      'services "web" is forbidden: ValidatingAdmissionPolicy \'nodeport-manager-segments\' with binding ' +
        "'nodeport-manager-segments' denied request: node port 30150 belongs to the PortRange team-a, which does not " +
        'admit the namespace b: leave the number out, or name one that is free to you',
    );
    expectRefused(answer, A, 'team-a');
  });

  test.each(Object.entries(edits))('by %s; another number passes the same way', async (_how, edit) => {
    expectAccepted(await team().create('b/web', [{ name: 'http', port: 80 }]));
    expectRefused(await edit(A), A, 'team-a');
    expectAccepted(await edit(B));
    expectAccepted(await edit(NOBODYS));
    expectRefused(await edit(A), A, 'team-a');
    expect((await world().get('b/web')).spec.ports[0]?.nodePort).toBe(NOBODYS);
  });

  test('in a server-side apply that creates', async () => {
    expectRefused(await team().apply('b/web', [{ port: 80, nodePort: A }]), A, 'team-a');
    expectAccepted(await team().apply('b/web', [{ port: 80, nodePort: B }]));
  });

  test('by kubectl apply as a team', async () => {
    const apply = (number: number, ...flags: string[]) =>
      world().tryKubectl(['apply', ...flags, '-f', '-'].join(' '), {
        user: 'team-b',
        input: JSON.stringify({
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: 'web', namespace: 'b' },
          spec: { type: 'NodePort', ports: [{ port: 80, nodePort: number }] },
        }),
      });
    const created = await apply(A);
    expect(created).toMatchObject({ code: 1, stdout: '' });
    expect(created.stderr).toContain('node port 30150 belongs to the PortRange team-a');
    expect(await apply(B)).toMatchObject({ code: 0, stdout: 'service/web created\n' });
    expect((await apply(A)).stderr).toContain('node port 30150 belongs to the PortRange team-a');
    expect((await apply(A, '--server-side', '--force-conflicts')).stderr).toContain(
      'node port 30150 belongs to the PortRange team-a',
    );
    expect(await apply(NOBODYS)).toMatchObject({ code: 0, stdout: 'service/web configured\n' });
  });

  test('when a ClusterIP Service becomes NodePort', async () => {
    expectAccepted(await team().create('b/web', [{ port: 80 }], { type: 'ClusterIP' }));
    const flip = (number: number) =>
      team().patch('b/web', 'strategic', {
        spec: { type: 'NodePort', ports: [{ port: 80, nodePort: number }] },
      });
    expectRefused(await flip(A), A, 'team-a');
    expectAccepted(await flip(B));
  });

  test('on a LoadBalancer, with and without allocation', async () => {
    for (const allocateLoadBalancerNodePorts of [true, false]) {
      const create = (number: number) =>
        team().create('b/web', [{ port: 80, nodePort: number }], {
          type: 'LoadBalancer',
          spec: { allocateLoadBalancerNodePorts },
        });
      expectRefused(await create(A), A, 'team-a');
      expectAccepted(await create(B));
      await world().remove('b/web');
    }
  });

  test('as healthCheckNodePort, also at both ends of the segment', async () => {
    const create = (healthCheckNodePort: number) =>
      team().create('b/web', [{ port: 80 }], {
        type: 'LoadBalancer',
        spec: { externalTrafficPolicy: 'Local', healthCheckNodePort },
      });
    for (const number of [30_100, A, 30_199]) expectRefused(await create(number), number, 'team-a');
    expectAccepted(await create(B));
  });

  test('for one port among several: beside a blank one, beside one of its own segment', async () => {
    const ports = [
      { name: 'blank', port: 80 },
      { name: 'own', port: 81, nodePort: B },
      { name: 'foreign', port: 82, nodePort: A },
    ];
    expectRefused(await team().create('b/web', ports), A, 'team-a');
    expectAccepted(await team().create('b/web', ports.slice(0, 2)));
    expectRefused(await team().patch('b/web', 'strategic', { spec: { ports } }), A, 'team-a');
  });

  test('for TCP and UDP of one port, told once; and for UDP alone', async () => {
    const both = (nodePort: number) =>
      (['TCP', 'UDP'] as const).map((protocol) => ({
        name: protocol.toLowerCase(),
        port: 53,
        protocol,
        nodePort,
      }));
    expectRefused(await team().create('b/web', both(A)), A, 'team-a');
    expectRefused(await team().create('b/web', both(A).slice(1)), A, 'team-a');
    expectAccepted(await team().create('b/web', both(B)));
  });

  test('several of them together, each named', async () => {
    const ports = [A, A + 1].map((nodePort) => ({ name: `p${nodePort}`, port: nodePort, nodePort }));
    const { message } = await team().create('b/web', ports);
    expect(message).toContain(
      'node ports 30150, 30151 belong to the PortRange team-a, which does not admit the namespace b: ',
    );
  });

  test('from every namespace that one of the segments does not admit: each refuses for its own', async () => {
    const ports = [A, B].map((nodePort) => ({ name: `p${nodePort}`, port: nodePort, nodePort }));
    for (const namespace of ['a', 'b', 'default'])
      expect((await team().create(`${namespace}/web`, ports)).status, namespace).toBe(403);
  });

  test('at both ends of the segment, and not one beyond', async () => {
    for (const number of [30_100, 30_199]) expectRefused(await team().name('b', number), number, 'team-a');
    for (const number of [30_099, 30_300]) expectAccepted(await team().name('b', number));
  });

  test('for the administrator as for a team: it is the namespace that is admitted, not the person', async () => {
    expectRefused(await world().as('admin').name('b', A), A, 'team-a');
    expectAccepted(await world().as('team-b').name('a', A));
  });

  test('and stays free for those who are admitted', async () => {
    expectRefused(await team().name('b', A), A, 'team-a');
    expectAccepted(await world().as('team-a').name('a', A));
  });
});

describe('managedFields do not hide a number from the policy:', () => {
  const type = { manager: 'x', operation: 'Update', apiVersion: 'v1', fieldsType: 'FieldsV1' };
  const claims = {
    none: [],
    'a reset': [{}],
    'a list of other fields': [{ ...type, fieldsV1: { 'f:spec': { 'f:type': {} } } }],
  };

  test.each(Object.entries(claims))('a create that claims %s', async (_what, managedFields) => {
    const answer = await team().create('b/web', [{ port: 80, nodePort: A }], { managedFields });
    expectRefused(answer, A, 'team-a');
  });

  test.each(Object.entries(claims))(
    'an update that claims %s, at once or before',
    async (_what, managedFields) => {
      expectAccepted(await team().create('b/web', [{ name: 'http', port: 80 }]));
      const spec = { ports: [{ name: 'http', port: 80, nodePort: A }] };
      expectRefused(await team().patch('b/web', 'merge', { metadata: { managedFields }, spec }), A, 'team-a');
      expectAccepted(await team().patch('b/web', 'merge', { metadata: { managedFields } }));
      for (const edit of Object.values(edits)) expectRefused(await edit(A), A, 'team-a');
    },
  );
});

test('A limit: after a type flip and back, a number cannot be told from a random one, and passes', async () => {
  expectAccepted(await team().create('b/web', [{ port: 80, nodePort: NOBODYS }]));
  expectAccepted(await team().patch('b/web', 'merge', { spec: { type: 'ClusterIP' } }));
  const back = { type: 'NodePort', ports: [{ port: 80, nodePort: A }] };
  expectAccepted(await team().patch('b/web', 'merge', { spec: back }));
  expectAccepted(await team().patch('b/web', 'merge', { spec: { type: 'ClusterIP' } }));
  // The marks are of that port only: another one is judged.
  const other = { type: 'NodePort', ports: [{ port: 81, nodePort: A }] };
  expectRefused(await team().patch('b/web', 'merge', { spec: other }), A, 'team-a');
});

describe('Within the budget of CEL', () => {
  const spans = Array.from({ length: 64 }, (_, i) => ({ from: 30_400 + 4 * i, to: 30_401 + 4 * i }));
  const ports = (count: number, from: number) =>
    Array.from({ length: count }, (_, i) => ({ name: `p${i}`, port: 1000 + i, nodePort: from + i }));

  test('a Service of 64 ports is judged against a PortRange of 64 spans and 64 excluded, none failing', async () => {
    const wide = { ranges: spans, excluded: spans.slice(1), namespaces: ['a'] };
    await world().range('wide', wide);
    const last = { name: 'last', port: 80, nodePort: 30_400 };
    expectAccepted(await team().create('b/web', ports(64, 31_000)));
    await world().remove('b/web');
    expectRefused(await team().create('b/web', [...ports(63, 31_000), last]), 30_400, 'wide');
  });

  test.each([150, 151, 157])(
    'a Service of %i ports is judged against it, too: it passes, or is refused for its last port',
    async (count) => {
      const last = { name: 'last', port: 80, nodePort: 30_401 };
      expectAccepted(await team().create('b/web', ports(count, 31_000)));
      await world().remove('b/web');
      expectRefused(await team().create('b/web', [...ports(count - 1, 31_000), last]), 30_401, 'wide');
      expect(await world().errors()).toEqual([]);
    },
  );

  test('more than can be compared is refused and said, never let through by an error', async () => {
    const answer = await team().create('b/web', ports(160, 31_000));
    expect(answer.status).toBe(403);
    expect(answer.message).toContain(
      '160 node ports are named at once, more than can be compared with the 127 spans',
    );
    expectAccepted(await team().create('a/web', ports(64, 31_000)));
    await world().removeRange('wide');
  });

  test('a refusal of 700 ports names the first, and says how many they are', async () => {
    await world().range('many', { ranges: [{ from: 31_000, to: 31_699 }], namespaces: ['a'] });
    const { status, message } = await team().create('b/web', ports(700, 31_000));
    expect(status, message).toBe(403);
    expect(message).toContain(
      'node ports 31000 and 699 more belong to the PortRange many, which does not admit the namespace b: ',
    );
    await world().removeRange('many');
  });

  test('a Service of 700 other ports is judged', async () => {
    expectAccepted(await team().create('b/web', ports(700, 31_000)));
    const replaced = [...ports(699, 32_000), { name: 'p699', port: 1699, nodePort: A }];
    expectRefused(await team().patch('b/web', 'merge', { spec: { ports: replaced } }), A, 'team-a');
  });

  test('no decision so far has ended in an error', async () => {
    expect(await world().errors()).toEqual([]);
  });
});
