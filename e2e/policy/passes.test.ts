import { beforeEach, describe, expect, test } from 'vitest';
import type { Service } from '../support/objects.ts';
import { expectAccepted, expectRefused, useWorld } from './world.ts';

/** b's own numbers; all others of this small cluster, and the dummy of dry runs, are a's. */
const OWN = 30_003;
const FOREIGN = { from: 30_006, to: 30_063 };
const DUMMY = 32_769;

const HELD = FOREIGN.from + 2;

const world = useWorld(
  async ({ as, namespace, range, install }) => {
    await namespace('a');
    await namespace('b');
    const port = (name: string, number: number) => ({ name, port: number - 30_000, nodePort: number });
    expectAccepted(await as('team-b').create('b/old', [port('one', HELD), port('two', HELD + 1)]));
    const balancer = {
      type: 'LoadBalancer',
      spec: { externalTrafficPolicy: 'Local', healthCheckNodePort: HELD + 2 },
    };
    expectAccepted(await as('team-b').create('b/balancer', [port('one', HELD + 3)], balancer));
    await install('policy');
    await range('own', { ranges: [{ from: 30_002, to: 30_005 }], namespaces: ['b'] });
    await range('foreign', { ranges: [FOREIGN, { from: DUMMY }], namespaces: ['a'] });
  },
  { nodePortRange: '30000-30063' },
);

const team = () => world().as('team-b');

function numbers({ spec }: Service): number[] {
  return spec.ports.map(({ nodePort = 0 }) => nodePort);
}

function expectForeign(all: readonly number[]): void {
  expect(all.filter((number) => number >= FOREIGN.from && number <= FOREIGN.to)).toEqual(all);
}

beforeEach(() => world().kubectl('delete service web -n b --ignore-not-found'));

describe('What a Service had before the policy came stays its own', () => {
  test.each([
    ['a label', () => team().patch('b/old', 'merge', { metadata: { labels: { x: 'y' } } })],
    ['a selector', () => team().patch('b/old', 'merge', { spec: { selector: { app: 'other' } } })],
    [
      'a targetPort',
      () => team().patch('b/old', 'json', [{ op: 'replace', path: '/spec/ports/0/targetPort', value: 8080 }]),
    ],
    ['nothing, put back as it is', () => team().put('b/old', () => {})],
    [
      'a full update that leaves its numbers out',
      () => team().put('b/old', ({ spec }) => spec.ports.forEach((port) => delete port.nodePort)),
    ],
    [
      'a server-side apply that names them',
      () =>
        team().apply(
          'b/old',
          [
            { name: 'one', port: 8, nodePort: HELD },
            { name: 'two', port: 9, nodePort: HELD + 1 },
          ],
          'force=true',
        ),
    ],
    [
      'another port number for the same node port',
      () =>
        team().put('b/old', ({ spec }) => {
          const [first] = spec.ports;
          if (first !== undefined) first.port = 88;
        }),
    ],
    [
      'the two exchanged',
      () =>
        team().put('b/old', ({ spec }) => {
          const [one, two] = numbers({ spec } as Service);
          spec.ports.forEach((port, i) => Object.assign(port, { nodePort: i === 0 ? two : one }));
        }),
    ],
  ])('through an edit of %s', async (_what, edit) => {
    expectAccepted(await edit());
    expect(numbers(await world().get('b/old')).toSorted((a, b) => a - b)).toEqual([HELD, HELD + 1]);
  });

  test('and its healthCheckNodePort', async () => {
    expectAccepted(
      await team().put('b/balancer', ({ spec }) => Object.assign(spec, { selector: { app: 'x' } })),
    );
    const ports = [
      { name: 'one', port: 11, nodePort: HELD + 3 },
      { name: 'new', port: 99, nodePort: OWN - 1 },
    ];
    expectAccepted(await team().patch('b/balancer', 'merge', { spec: { ports } }));
    expect((await world().get('b/balancer')).spec.healthCheckNodePort).toBe(HELD + 2);
  });

  test('beside a new number, which is judged alone', async () => {
    const more = (nodePort: number) =>
      team().patch('b/old', 'strategic', { spec: { ports: [{ name: 'new', port: 99, nodePort }] } });
    expectRefused(await more(FOREIGN.from), FOREIGN.from, 'foreign');
    expectAccepted(await more(OWN + 1));
    expectAccepted(
      await team().patch('b/old', 'strategic', { spec: { ports: [{ port: 99, $patch: 'delete' }] } }),
    );
  });

  test('until it gives the number up: then it is refused like any other', async () => {
    const old = (await world().get('b/old')).spec.ports.find(({ nodePort }) => nodePort === HELD + 1);
    const drop = { spec: { ports: [{ port: old?.port, $patch: 'delete' }] } };
    expectAccepted(await team().patch('b/old', 'strategic', drop));
    const again = { spec: { ports: [old] } };
    expectRefused(await team().patch('b/old', 'strategic', again), HELD + 1, 'foreign');
  });
});

describe('What the apiserver picks at random passes, also inside a segment of others:', () => {
  test('every one of 20 creates', async () => {
    for (let i = 0; i < 20; i += 1) {
      const answer = await team().create('b/web', [{ port: 80 }]);
      expectAccepted(answer);
      expectForeign(numbers(answer.service));
      await world().remove('b/web');
    }
  });

  test('a create, a PUT and an apply of several blank ports', async () => {
    const one = [{ name: 'one', port: 1 }];
    expectForeign(numbers((await team().create('b/web', one)).service));
    const put = await team().put('b/web', ({ spec }) => spec.ports.push({ name: 'two', port: 2 }));
    expectAccepted(put);
    expectForeign(numbers(put.service));
    const three = [...one, { name: 'two', port: 2 }, { name: 'three', port: 3 }];
    const applied = await team().apply('b/web', three, 'force=true');
    expectAccepted(applied);
    expectForeign(numbers(applied.service));
    expect(applied.service.spec.ports).toHaveLength(3);
  });

  test('a blank port beside a named one, and another added to it', async () => {
    const named = { name: 'named', port: 80, nodePort: OWN };
    const created = await team().create('b/web', [named, { name: 'blank', port: 81 }]);
    expectAccepted(created);
    expectForeign(numbers(created.service).slice(1));
    const more = { spec: { ports: [{ name: 'more', port: 82 }] } };
    const patched = await team().patch('b/web', 'strategic', more);
    expectAccepted(patched);
    expect(patched.service.spec.ports).toHaveLength(3);
  });

  test('what is written as 0', async () => {
    const answer = await team().create('b/web', [{ port: 80, nodePort: 0 }]);
    expectAccepted(answer);
    expectForeign(numbers(answer.service));
  });

  test('a LoadBalancer with its healthCheckNodePort', async () => {
    const answer = await team().create('b/web', [{ port: 80 }], {
      type: 'LoadBalancer',
      spec: { externalTrafficPolicy: 'Local' },
    });
    expectAccepted(answer);
    expectForeign([...numbers(answer.service), answer.service.spec.healthCheckNodePort ?? 0]);
  });

  test('when a ClusterIP Service becomes NodePort', async () => {
    expectAccepted(await team().create('b/web', [{ port: 80 }], { type: 'ClusterIP' }));
    const answer = await team().patch('b/web', 'merge', { spec: { type: 'NodePort' } });
    expectAccepted(answer);
    expectForeign(numbers(answer.service));
  });

  test('when it was NodePort earlier, with a number of its own', async () => {
    expectAccepted(await team().create('b/web', [{ name: 'http', port: 80, nodePort: OWN }]));
    for (let i = 0; i < 5; i += 1) {
      expectAccepted(await team().patch('b/web', 'merge', { spec: { type: 'ClusterIP' } }));
      const answer = await team().patch('b/web', 'merge', { spec: { type: 'NodePort' } });
      expectAccepted(answer);
      expectForeign(numbers(answer.service));
    }
  });

  test('when its healthCheckNodePort was named earlier', async () => {
    const created = await team().create('b/web', [{ port: 80 }], {
      type: 'LoadBalancer',
      spec: { externalTrafficPolicy: 'Local', healthCheckNodePort: OWN },
    });
    expectAccepted(created);
    for (const externalTrafficPolicy of ['Cluster', 'Local'])
      expectAccepted(await team().patch('b/web', 'merge', { spec: { externalTrafficPolicy } }));
    const { spec } = await world().get('b/web');
    expectForeign([spec.healthCheckNodePort ?? 0]);
  });

  test('a limit: in a server-side apply, 0 counts as named, and is refused where the pick is foreign', async () => {
    const answer = await team().apply('b/web', [{ port: 80, nodePort: 0 }]);
    expect(answer.status).toBe(403);
    expect(answer.message).toContain('belongs to the PortRange foreign');
  });
});

describe('A dry run passes', () => {
  test('with a blank port, for which it shows the dummy number', async () => {
    const answer = await team().create('b/web', [{ port: 80 }], {}, 'dryRun=All');
    expectAccepted(answer);
    expect(numbers(answer.service)).toEqual([DUMMY]);
  });

  test('with a foreign number, too, which is refused when it is meant', async () => {
    const foreign = [{ name: 'http', port: 80, nodePort: FOREIGN.from }];
    expectAccepted(await team().create('b/web', foreign, {}, 'dryRun=All'));
    expectAccepted(await team().create('b/web', [{ name: 'http', port: 80, nodePort: OWN }]));
    const spec = { ports: foreign };
    expectAccepted(await team().patch('b/web', 'merge', { spec }, 'dryRun=All'));
    expectRefused(await team().patch('b/web', 'merge', { spec }), FOREIGN.from, 'foreign');
  });
});

test("The controller's own JSON patch passes where a team's, of the same number, is refused", async () => {
  expectAccepted(await team().create('b/web', [{ port: 80 }]));
  const patch = [{ op: 'replace', path: '/spec/ports/0/nodePort', value: FOREIGN.from }];
  expectRefused(await team().patch('b/web', 'json', patch), FOREIGN.from, 'foreign');
  expectAccepted(await world().as('controller').patch('b/web', 'json', patch));
  expect(numbers(await world().get('b/web'))).toEqual([FOREIGN.from]);
  const label = [{ op: 'add', path: '/metadata/labels', value: { x: 'y' } }];
  expectAccepted(await team().patch('b/web', 'json', label));
});

test('A write to the status passes', async () => {
  const status = { status: { conditions: [] } };
  const { status: code } = await world().admin.raw('PATCH', '/api/v1/namespaces/b/services/old/status', {
    body: status,
    headers: { 'content-type': 'application/merge-patch+json' },
  });
  expect(code).toBe(200);
});

test('No decision so far has ended in an error', async () => {
  expect(await world().errors()).toEqual([]);
});
