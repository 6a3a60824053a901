import { beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import {
  CONDITION,
  conditionOf,
  numbersOf,
  RANGE_ANNOTATION,
  type Service,
  service as serviceObject,
  servicesPath,
} from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

const RBAC = '/apis/rbac.authorization.k8s.io/v1/namespaces/a-dev';

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.client.create(`${RBAC}/roles`, {
    metadata: { name: 'team' },
    rules: [{ apiGroups: [''], resources: ['services', 'services/status'], verbs: ['*'] }],
  });
  await w.client.create(`${RBAC}/rolebindings`, {
    metadata: { name: 'team' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'team' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'team-a' }],
  });
  await w.start();
  await w.range('team-a', 30100, 30199);
  await w.rangeShows('team-a', { capacity: 100 });
});

/** The controller's writes to this Service's spec. */
async function specWrites(name: string): Promise<number> {
  const writes = await world().writes();
  return writes.filter((write) => write.resource === 'services' && write.name === name).length;
}

describe.each([
  ['server-side apply', 'apply --server-side -f -'],
  ['client-side apply', 'apply -f -'],
])('a team that changes a port by %s', (how, command) => {
  const name = how.replace(/ /, '-').replace(/ .*/, '');
  const key = `a-dev/${name}`;
  const apply = (port: number): Promise<string> => {
    const ports = [{ name: 'http', port, protocol: 'TCP' }];
    const input = JSON.stringify(serviceObject(key, { range: 'team-a', ports }));
    return world().kubectl(command, { user: 'team-a', input });
  };
  let number: number;

  beforeAll(async () => {
    await apply(80);
    const { spec } = await world().shows(key, 'Assigned');
    number = spec.ports[0]?.nodePort ?? 0;
    await apply(81);
    await eventually(() => expect(world().checker.service(key)?.spec.ports[0]?.port).toBe(81));
  });

  test('keeps its number; the table follows', async () => {
    const { checker, get } = world();
    await eventually(() => expect(checker.table().get(number)?.ports).toEqual(['http:81/TCP']));
    expect(numbersOf(await get(key))).toEqual([number]);
  });

  test('meets no fight: no further write to its spec, and True all the time', async () => {
    expect(await specWrites(name)).toBe(1);
    const statuses = world()
      .checker.revisions(key)
      .map(({ object }) => conditionOf(object)?.status);
    const first = statuses.indexOf('True');
    expect(new Set(statuses.slice(first))).toEqual(new Set(['True']));
  });

  test('can apply the first again and again', async () => {
    for (const port of [80, 82, 82]) await apply(port);
    expect(numbersOf(await world().get(key))).toEqual([number]);
    await eventually(() => expect(world().checker.table().get(number)?.ports).toEqual(['http:82/TCP']));
    expect(await specWrites(name)).toBe(1);
  });
});

test('a PUT without nodePort keeps the number, and the Service stays a holder', async () => {
  const { service, shows, client, checker } = world();
  await service('a-dev/put', { range: 'team-a' });
  const served = await shows('a-dev/put', 'Assigned');
  const { spec, metadata } = served;
  const ports = spec.ports.map(({ name, port }) => ({ name, port }));
  await client.put(servicesPath('a-dev/put'), { ...served, metadata, spec: { ...spec, ports } });
  await checker.untilTableIsTrue();
  expect(numbersOf(await world().get('a-dev/put'))).toEqual(numbersOf(served));
  expect(await specWrites('put')).toBe(1);
});

describe('conditions', () => {
  const theirs = { type: 'example.com/Ready', status: 'True', reason: 'Fine', message: '' };
  const withTime = { ...theirs, lastTransitionTime: '2026-01-01T00:00:00Z' };
  const put = (condition: object) =>
    world().client.patch<Service>(`${servicesPath('a-dev/shared')}/status`, 'strategic', {
      status: { conditions: [condition] },
    });

  test("of other controllers survive ours, and ours survive theirs, in either's turn", async () => {
    const { service, shows, ask, range, rangeShows } = world();
    await service('a-dev/shared', { range: 'nobody' });
    await shows('a-dev/shared', 'RangeNotFound');
    await put(withTime);
    await ask('a-dev/shared', 'team-a');
    const served = await shows('a-dev/shared', 'Assigned');
    expect(served.status.conditions).toContainEqual(withTime);
    const after = await put({ ...withTime, status: 'False' });
    expect(conditionOf(after)).toEqual(conditionOf(served));
    await range('team-b', 30200, 30209);
    await rangeShows('team-b', { capacity: 10 });
    await ask('a-dev/shared', 'team-b');
    const moved = await shows('a-dev/shared', 'Assigned', / from team-b$/);
    expect(moved.status.conditions?.map(({ type, status }) => `${type} ${status}`).toSorted()).toEqual([
      'example.com/Ready False',
      `${CONDITION} True`,
    ]);
  });

  test('removed by somebody, ours is written again', async () => {
    const { client, shows, checker } = world();
    await client.patch(`${servicesPath('a-dev/shared')}/status`, 'merge', { status: { conditions: null } });
    await eventually(() =>
      expect(
        checker.revisions('a-dev/shared').filter(({ object }) => conditionOf(object) === undefined),
      ).not.toEqual([]),
    );
    await shows('a-dev/shared', 'Assigned', / from team-b$/);
  });
});

describe('Services that nobody put under management', () => {
  test('keep the numbers set by hand, also in the range, and are never written', async () => {
    const { service, shows, client, rangeShows } = world();
    const { metadata } = await service('a-dev/manual', { ports: [{ port: 80, nodePort: 30300 }] });
    await world().range('manual', 30300, 30309);
    await rangeShows('manual', { capacity: 10, foreign: 1, free: 9, allocated: 0 });
    await service('a-dev/beside', { range: 'manual' });
    await shows('a-dev/beside', 'Assigned', 'holds http 30301 from manual');
    const now = await client.get<Service>(servicesPath('a-dev/manual'));
    expect(now.metadata.resourceVersion).toBe(metadata.resourceVersion);
    expect(now.status.conditions).toBeUndefined();
  });

  test('opt out with range: none', async () => {
    const { service, shows, checker, writes } = world();
    await service('a-dev/none', { range: 'none' });
    await service('a-dev/marker', { range: 'manual' });
    await shows('a-dev/marker', 'Assigned');
    expect((await writes()).filter(({ name }) => name === 'none')).toEqual([]);
    expect(checker.revisions('a-dev/none')).toHaveLength(1);
  });

  test('keep their healthCheckNodePort, which is counted as foreign', async () => {
    const { service, shows, rangeShows, range } = world();
    const spec = { externalTrafficPolicy: 'Local', healthCheckNodePort: 30320 };
    await service('a-dev/health', {
      type: 'LoadBalancer',
      ports: [{ port: 80, nodePort: 30321 }],
      spec,
    });
    await range('health', 30320, 30323);
    await rangeShows('health', { foreign: 2, free: 2 });
    await service('a-dev/by-health', { range: 'health' });
    await shows('a-dev/by-health', 'Assigned', 'holds http 30322 from health');
  });
});

describe('a number that another manager owns', () => {
  const claim = (key: string, nodePort: number, range: string): Promise<Service> =>
    world().client.create(
      `/api/v1/namespaces/a-dev/services?fieldManager=helm`,
      serviceObject(key, { range, ports: [{ name: 'http', port: 80, nodePort }] }),
    );

  test('is adopted where the range allows it', async () => {
    const { shows, checker } = world();
    await claim('a-dev/inside', 30150, 'team-a');
    await shows('a-dev/inside', 'Adopted', 'holds http 30150 from team-a');
    await checker.untilTableIsTrue();
    expect(await specWrites('inside')).toBe(0);
  });

  test('is HeldOutOfRange elsewhere, and never rewritten', async () => {
    const { shows, rangeShows } = world();
    await claim('a-dev/outside', 31999, 'team-a');
    await shows(
      'a-dev/outside',
      'HeldOutOfRange',
      'holds http 31999 outside team-a: team-a (30100-30199) does not contain 31999, pinned by "helm"',
    );
    await rangeShows('team-a', { outOfRange: 1 });
    expect(await specWrites('outside')).toBe(0);
  });

  test('also when it is pinned later, over a number that was assigned', async () => {
    const { service, shows, client, checker } = world();
    await service('a-dev/later', { range: 'team-a' });
    const served = await shows('a-dev/later', 'Assigned');
    const [number] = numbersOf(served);
    const ports = [{ port: 80, nodePort: 31998 }];
    await client.patch(servicesPath('a-dev/later'), 'strategic', { spec: { ports } }, 'fieldManager=helm');
    await shows('a-dev/later', 'HeldOutOfRange', /^holds http 31998 outside team-a: .*pinned by "helm"$/);
    await eventually(() => expect(checker.table().get(number ?? 0)?.state).toBe('Released'));
    expect(await specWrites('later')).toBe(1);
  });
});

test('a number that the apiserver picked at random is adopted where it fits', async () => {
  const { service, range, rangeShows, ask, shows } = world();
  const { spec } = await service('a-dev/random', {});
  const number = spec.ports[0]?.nodePort ?? 0;
  await range('around', number, number + 1);
  await rangeShows('around', { foreign: 1 });
  await ask('a-dev/random', 'around');
  await shows('a-dev/random', 'Adopted', `holds http ${number} from around`);
  expect(await specWrites('random')).toBe(0);
  expect((await world().get('a-dev/random')).metadata.annotations?.[RANGE_ANNOTATION]).toBe('around');
});
