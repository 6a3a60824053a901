import { beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient } from '../cluster/client.ts';
import { ALONE, type ControllerProcess, type LogLine } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import {
  CONDITION,
  conditionOf,
  portRange,
  PORTS_ANNOTATION,
  RANGE_ANNOTATION,
  RANGES,
  service as serviceObject,
  type Service,
  type ServiceOptions,
  servicesPath,
  TABLE,
} from '../support/objects.ts';
import { refusalOf, useWorld } from '../support/world.ts';

const RBAC = '/apis/rbac.authorization.k8s.io/v1';
/** What the victim holds. */
const VICTIMS = 30200;

let controller: ControllerProcess;
/** May do anything to the Services of the namespace `a`, status and managedFields included. */
let team: Client;

const world = useWorld(async (w) => {
  for (const name of ['a', 'b']) await w.namespace(name);
  await w.client.create(`${RBAC}/namespaces/a/roles`, {
    metadata: { name: 'team' },
    rules: [{ apiGroups: [''], resources: ['services', 'services/status'], verbs: ['*'] }],
  });
  await w.client.create(`${RBAC}/namespaces/a/rolebindings`, {
    metadata: { name: 'team' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'team' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'team-a' }],
  });
  team = createClient(w.cluster, 'team-a');
  await w.range('mine', 30100, 30149, { namespaces: ['a'], cooldown: '0s' });
  await w.range('theirs', 30200, 30249, { namespaces: ['b'] });
  controller = await w.start(...ALONE);
  await w.service('b/web', { range: 'theirs' });
  await w.shows('b/web', 'Assigned', `holds http ${VICTIMS} from theirs`);
});

const create = (key: string, options: ServiceOptions = {}): Promise<Service> =>
  team.create(`/api/v1/namespaces/${key.split('/')[0]}/services`, serviceObject(key, options));

/** Writes a condition of ours as the team. */
async function forge(key: string, message: string): Promise<void> {
  const condition = {
    type: CONDITION,
    status: 'True',
    reason: 'Assigned',
    message,
    lastTransitionTime: '2020-01-01T00:00:00Z',
  };
  await team.patch(`${servicesPath(key)}/status`, 'strategic', { status: { conditions: [condition] } });
}

/** The victim is as it was, and everybody is served as before. */
async function nothingHappened(): Promise<void> {
  const { service, shows, remove, get, checker } = world();
  await service('b/other', { range: 'theirs' });
  await shows('b/other', 'Assigned');
  await remove('b/other');
  await create('a/other', { range: 'mine' });
  await shows('a/other', 'Assigned');
  await remove('a/other');
  const victim = await get('b/web');
  expect(victim.spec.ports[0]?.nodePort).toBe(VICTIMS);
  expect(conditionOf(victim)?.message).toBe(`holds http ${VICTIMS} from theirs`);
  await checker.untilTableIsTrue();
  const errors = (await controller.logs()).filter(({ level }) => level === 'error');
  expect(errors).toEqual([]);
}

describe("With every right on one namespace's Services, a team cannot take", () => {
  test("another's number by asking for it: it waits, and learns who has it", async () => {
    await create('a/asks', { annotations: { [PORTS_ANNOTATION]: `${VICTIMS}` } });
    await world().shows('a/asks', 'RequestOutOfRange');
    await create('a/asks-all', {
      annotations: { [PORTS_ANNOTATION]: `${VICTIMS}`, [RANGE_ANNOTATION]: 'mine' },
    });
    await world().shows('a/asks-all', 'RequestOutOfRange');
    await nothingHappened();
  });

  test("a free number of another's range by naming the range", async () => {
    await create('a/names', { range: 'theirs' });
    await world().shows('a/names', 'NotAdmitted');
    await create('a/lists', { range: 'theirs,nobody,mine' });
    await world().shows('a/lists', 'Assigned', /from mine$/);
    await nothingHappened();
  });

  test("another's number by a condition that says that it holds it", async () => {
    await create('a/forges', { range: 'mine' });
    const { message = '' } = conditionOf(await world().shows('a/forges', 'Assigned')) ?? {};
    await forge('a/forges', `holds http ${VICTIMS} from theirs`);
    await world().shows('a/forges', 'Assigned', message);
    await nothingHappened();
  });

  test('the same while the controller is down and the table is lost, when conditions are what it goes by', async () => {
    await controller.kill('SIGTERM');
    await forge('a/forges', `holds http ${VICTIMS}, x 30201, y 99999 from theirs`);
    await create('a/claims');
    await forge('a/claims', `holds http ${VICTIMS} from theirs`);
    await world().client.delete(`${TABLE}/nodeport-table-30000`);
    controller = await world().start(...ALONE);
    await world().shows('a/forges', 'Assigned', /from mine$/);
    await world().showsNothing('a/claims');
    await nothingHappened();
  });

  test('a word in the condition of a Service that does not ask', async () => {
    await create('a/silent');
    await forge('a/silent', `holds \u001b[31m 1 from ${'x'.repeat(30_000)}`);
    await world().showsNothing('a/silent');
  });

  test("another's number by being it: a Service of the same name, or made again", async () => {
    await create('a/web', { range: 'mine' });
    await world().shows('a/web', 'Assigned', /from mine$/);
    for (let i = 0; i < 3; i += 1) {
      await team.delete(servicesPath('a/web'));
      await create('a/web', { range: 'theirs' });
      await world().shows('a/web', 'NotAdmitted');
    }
    await nothingHappened();
  });

  test("another's number by changing its type, back and forth", async () => {
    await create('a/flips', { range: 'mine' });
    for (let i = 0; i < 10; i += 1) {
      for (const type of ['ClusterIP', 'NodePort', 'LoadBalancer'])
        await team.patch(servicesPath('a/flips'), 'merge', { spec: { type } });
    }
    await world().shows('a/flips', 'Assigned', /from mine$/);
    await nothingHappened();
  });

  test("others' turn by asking 100 times at once: its own range is exhausted, theirs is not", async () => {
    await Promise.all(Array.from({ length: 100 }, (_, i) => create(`a/many-${i}`, { range: 'mine' })));
    await nothingHappenedToOthers();
    await world().rangeShows('mine', { free: 0 });
    await Promise.all(Array.from({ length: 100 }, (_, i) => team.delete(servicesPath(`a/many-${i}`))));
    await nothingHappened();
  });

  async function nothingHappenedToOthers(): Promise<void> {
    await world().service('b/late', { range: 'theirs' });
    await world().shows('b/late', 'Assigned');
    await world().remove('b/late');
  }
});

describe('What a team writes into managedFields', () => {
  const failures = async (): Promise<LogLine[]> =>
    (await controller.logs()).filter(
      ({ msg, error }) => msg === 'list or watch failed' && !String(error).includes('the server closed'),
    );
  // A CRD that is made a moment ago may answer the first list with 429.
  let before = 0;
  beforeAll(async () => {
    before = (await failures()).length;
  });

  const keys = [
    'k:null',
    'k:1',
    'k:[]',
    'k:{}',
    'k:{"port":null}',
    'k:{"port":80,"protocol":null}',
    'k:{"port":80,"protocol":{"toString":1}}',
    'k:{"port":{"valueOf":1},"protocol":"TCP"}',
    'k:{"port":80,"protocol":"__proto__"}',
    'k:{"port":1e400,"protocol":"TCP"}',
    'k:{',
    'k:',
    'v:80',
    'i:0',
  ];

  test.each(keys)('%s hides nothing: the Service is seen, and served', async (key) => {
    const name = `a/fields-${keys.indexOf(key)}`;
    const { metadata } = await create(name);
    const fieldsV1 = { 'f:spec': { 'f:ports': { [key]: { 'f:nodePort': {} } } } };
    const hostile = {
      manager: 'team',
      operation: 'Update',
      apiVersion: 'v1',
      fieldsType: 'FieldsV1',
      fieldsV1,
    };
    const managedFields = [...(metadata.managedFields ?? []), { ...hostile, time: '2020-01-01T00:00:00Z' }];
    // What the apiserver does not accept, it drops or refuses; what it accepts, we must bear.
    await team.raw('PATCH', servicesPath(name), {
      body: { metadata: { managedFields, annotations: { [RANGE_ANNOTATION]: 'mine' } } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    await team.patch(servicesPath(name), 'merge', {
      metadata: { annotations: { [RANGE_ANNOTATION]: 'mine' } },
    });
    await world().shows(name, 'Assigned', /from mine$/);
    await world().remove(name);
  });

  test('under our name only concerns itself: its own number is taken for one that may move', async () => {
    await team.create(
      '/api/v1/namespaces/a/services?fieldManager=nodeport-manager',
      serviceObject('a/poses', { range: 'mine', ports: [{ name: 'http', port: 80, nodePort: 30240 }] }),
    );
    await world().shows('a/poses', 'Assigned', /from mine$/);
    await nothingHappened();
  });

  test('as a manager with a long or strange name is quoted', async () => {
    await team.create(
      `/api/v1/namespaces/a/services?fieldManager=${encodeURIComponent('<b>"\\{}$(id)é')}`,
      serviceObject('a/managed', { range: 'mine', ports: [{ name: 'http', port: 80, nodePort: 33000 }] }),
    );
    await world().shows('a/managed', 'HeldOutOfRange', /pinned by "<b>\\"\\\\{}\$\(id\)é"$/);
    await nothingHappened();
  });

  test('has disturbed no list and no watch', async () => {
    expect((await failures()).slice(before)).toEqual([]);
  });
});

describe('Names that mean something in JavaScript are names', () => {
  let made = 0;

  test('of a PortRange, a namespace, a Service, its port, and labels', async () => {
    const { namespace, range, rangeShows, service, shows } = world();
    await namespace('constructor');
    const serviceSelector = { matchLabels: { constructor: 'toString' } };
    await range('constructor', 30300, 30301, { namespaces: ['constructor'], serviceSelector });
    await rangeShows('constructor', { observedGeneration: 1 });
    const ports = [{ name: 'constructor', port: 80 }];
    const labels = { constructor: 'toString' };
    const annotations = { [PORTS_ANNOTATION]: 'constructor=30301' };
    await service('constructor/constructor', { range: 'constructor', ports, labels, annotations });
    await shows('constructor/constructor', 'Assigned', 'holds constructor 30301 from constructor');
    await service('constructor/without', { range: 'constructor' });
    await shows('constructor/without', 'NotAdmitted');
    expect(await controller.metrics()).toSatisfy((series: ReadonlyMap<string, number>) =>
      series.has('nodeport_manager_range_allocated_ports{range="constructor"}'),
    );
  });

  test.each([
    ['tostring', 'RangeNotFound'],
    ['valueof,constructor', 'RangeNotFound'],
    ['constructor,valueof', 'NotAdmitted'],
    ['__proto__', 'InvalidRequest'],
    ['toString', 'InvalidRequest'],
    ['{"__proto__":{"admin":true}}', 'InvalidRequest'],
  ])('range %s: %s', async (range, reason) => {
    const key = `a/js-range-${(made += 1)}`;
    await create(key, { range });
    await world().shows(key, reason);
  });

  test.each(['__proto__=30101', 'toString=30101', '{"http":30101}'])('ports %s', async (ports) => {
    const key = `a/js-ports-${(made += 1)}`;
    await create(key, { range: 'mine', annotations: { [PORTS_ANNOTATION]: ports } });
    await world().shows(key, 'InvalidRequest');
  });

  test('also as a key in the table, which somebody with rights there has put in: it is mended', async () => {
    const block = `${TABLE}/nodeport-table-30000`;
    const entry = '{"state":"Held","service":"a/x","uid":"__proto__","ports":[],"range":"constructor"}';
    const body = `{"data":{"__proto__":${JSON.stringify(entry)},"constructor":"{\\"__proto__\\":1}"}}`;
    await world().client.raw('PATCH', block, {
      body,
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    await eventually(async () => {
      const { data } = await world().client.get<{ data: Record<string, string> }>(block);
      expect(Object.keys(data).filter((key) => !/^\d+$/.test(key))).toEqual([]);
    });
    await nothingHappened();
  });
});

describe('Without being given the right to, a team', () => {
  beforeAll(async () => {
    const bind = (user: string, role: string) =>
      world().client.create(`${RBAC}/clusterrolebindings`, {
        metadata: { name: `${user}-${role}` },
        roleRef: {
          apiGroup: 'rbac.authorization.k8s.io',
          kind: 'ClusterRole',
          name: `nodeport-manager-portrange-${role}`,
        },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
      });
    await bind('team-b', 'viewer');
    await bind('team-c', 'editor');
  });

  /** The status of each answer to: list, create, patch, patch of the status, delete. */
  async function triesOf(user: 'team-a' | 'team-b' | 'team-c'): Promise<number[]> {
    const client = createClient(world().cluster, user);
    const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
    const mine = `${RANGES}/by-${user}`;
    const answers = [
      await client.raw('GET', RANGES),
      await client.raw('POST', RANGES, { body: portRange(`by-${user}`, 31000, 31009) }),
      await client.raw('PATCH', `${RANGES}/theirs`, { ...merge, body: { spec: { priority: 1 } } }),
      await client.raw('PATCH', `${RANGES}/theirs/status`, { ...merge, body: { status: { effective: [] } } }),
      await client.raw('DELETE', mine),
    ];
    await client.close();
    return answers.map(({ status }) => status);
  }

  test('neither sees nor makes PortRanges', async () => {
    expect(await triesOf('team-a')).toEqual([403, 403, 403, 403, 403]);
  });

  test('as a viewer sees them', async () => {
    expect(await triesOf('team-b')).toEqual([200, 403, 403, 403, 403]);
  });

  test('as an editor writes them, but not what the policy protects by: their status', async () => {
    expect(await triesOf('team-c')).toEqual([200, 201, 200, 403, 200]);
  });

  test('touches neither the table nor the Lease, nor the defaults of a namespace', async () => {
    const paths = [
      TABLE,
      `${TABLE}/nodeport-table-30000`,
      '/apis/coordination.k8s.io/v1/namespaces/nodeport-manager-system/leases',
      '/api/v1/namespaces/a',
    ];
    for (const path of paths) {
      expect((await refusalOf(team.get(path))).status, path).toBe(403);
      expect((await refusalOf(team.patch(path, 'merge', {}))).status, path).toBeGreaterThanOrEqual(403);
    }
    expect((await refusalOf(team.create(TABLE, {}))).status).toBe(403);
  });
});

test('After all this, no label of a metric has a word of a team, and every line of the log is one printable line', async () => {
  const series = [...(await controller.metrics()).keys()].filter((name) =>
    name.startsWith('nodeport_manager_'),
  );
  const values = (label: string): (string | undefined)[] =>
    series.flatMap((name) =>
      [...name.matchAll(new RegExp(`\\b${label}="([^"]*)"`, 'g'))].map(([, value]) => value),
    );
  expect(['', 'constructor', 'mine', 'theirs']).toEqual(expect.arrayContaining(values('range')));
  const labels = new Set(series.flatMap((name) => [...name.matchAll(/(\w+)="/g)].map(([, label]) => label)));
  expect(['block', 'kind', 'le', 'name', 'outcome', 'range', 'reason', 'result']).toEqual(
    expect.arrayContaining([...labels]),
  );
  const output = await controller.output();
  expect(output.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  for (const line of output.trimEnd().split('\n'))
    expect(JSON.parse(line)).toMatchObject({ level: expect.any(String) as string });
});
