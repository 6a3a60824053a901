import { describe, expect, test } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { putIntoEtcd } from '../support/etcd.ts';
import { eventually } from '../support/eventually.ts';
import { PORTS_ANNOTATION, TABLE } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

const KINDS = [
  'foreign_in_range',
  'out_of_range',
  'port_taken',
  'range_overlap',
  'table_drift',
  'duplicate',
] as const;
type Kind = (typeof KINDS)[number];

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  controller = await w.start();
});

async function value(name: string, kind: Kind): Promise<number | undefined> {
  return (await controller.metrics()).get(`nodeport_manager_${name}{kind="${kind}"}`);
}

/** Waits until so many of this kind last, and so many have been seen in all; the other kinds rest. */
async function expectConflicts(kind: Kind, active: number, total: number): Promise<void> {
  await eventually(async () => {
    expect(await value('active_conflicts', kind)).toBe(active);
    expect(await value('conflicts_total', kind)).toBe(total);
  });
}

/** Waits for exactly one event of this reason on the object, and returns what it says. */
async function told(reason: string, kind: string, name: string, namespace = 'a-dev'): Promise<string> {
  return eventually(async () => {
    const { items } = await world().client.list<{
      type: string;
      reason: string;
      note: string;
      regarding: { kind: string; name: string };
    }>(`/apis/events.k8s.io/v1/namespaces/${namespace}/events`);
    const found = items.filter(
      (e) => e.reason === reason && e.regarding.kind === kind && e.regarding.name === name,
    );
    expect(found, `${reason} on ${kind} ${name}`).toMatchObject([{ type: 'Warning' }]);
    return found[0]?.note ?? '';
  });
}

test('in a cluster without conflicts every kind is there, and 0', async () => {
  await world().range('r', 30100, 30149, { cooldown: '0s' });
  await world().rangeShows('r', { capacity: 50 });
  await world().service('a-dev/web', { range: 'r' });
  await world().shows('a-dev/web', 'Assigned');
  for (const kind of KINDS) await expectConflicts(kind, 0, 0);
});

describe('foreign_in_range', () => {
  test('a Service set by hand to a number of the segment', async () => {
    await world().service('a-dev/hand', { ports: [{ port: 80, nodePort: 30120 }] });
    await expectConflicts('foreign_in_range', 1, 1);
    const says =
      'a-dev/hand holds 30120 of PortRange r without having it from there: let it ask for the range, or move it';
    expect(await told('ForeignInRange', 'Service', 'hand')).toBe(says);
    expect(await told('ForeignInRange', 'PortRange', 'r', 'default')).toBe(says);
  });

  test('is solved when the Service asks for the range', async () => {
    await world().ask('a-dev/hand', 'r');
    await world().shows('a-dev/hand', 'Adopted');
    await expectConflicts('foreign_in_range', 0, 1);
  });

  test('a healthCheckNodePort there, until its Service is gone', async () => {
    const { service, remove } = world();
    const spec = { externalTrafficPolicy: 'Local', healthCheckNodePort: 30121 };
    const ports = [{ port: 80, nodePort: 30200 }];
    await service('a-dev/health', { type: 'LoadBalancer', ports, spec });
    await expectConflicts('foreign_in_range', 1, 2);
    expect(await told('ForeignInRange', 'Service', 'health')).toMatch(
      /^a-dev\/health has 30121 of PortRange r as its healthCheckNodePort, which cannot be changed: exclude/,
    );
    await remove('a-dev/health');
    await expectConflicts('foreign_in_range', 0, 2);
  });

  test('found when a PortRange comes over what is there', async () => {
    const { service, range, kubectl } = world();
    await service('a-dev/before', { ports: [{ port: 80, nodePort: 30155 }] });
    await range('over', 30155, 30159);
    await expectConflicts('foreign_in_range', 1, 3);
    await kubectl('delete npr over --timeout=10s');
    await expectConflicts('foreign_in_range', 0, 3);
  });
});

describe('out_of_range', () => {
  test('a holder whose range was cut away under it, until the range is mended', async () => {
    const { editRange, shows } = world();
    await editRange('r', { ranges: [{ from: 30110, to: 30149 }] });
    await shows('a-dev/web', 'HeldOutOfRange');
    await expectConflicts('out_of_range', 1, 1);
    expect(await told('OutOfRange', 'Service', 'web')).toBe(
      'a-dev/web holds 30100, which PortRange r would not give now: it stays; to move it, ask for a range that can give it another',
    );
    await editRange('r', { ranges: [{ from: 30100, to: 30149 }] });
    await expectConflicts('out_of_range', 0, 1);
  });

  test('a holder whose range is gone, until the Service moves to another', async () => {
    const { range, service, shows, kubectl, ask } = world();
    await range('goes', 30160, 30169);
    await service('a-dev/stays', { range: 'goes' });
    await shows('a-dev/stays', 'Assigned', 'holds http 30160 from goes');
    await kubectl('delete npr goes --timeout=10s');
    await expectConflicts('out_of_range', 1, 2);
    await ask('a-dev/stays', 'r');
    await shows('a-dev/stays', 'Assigned', 'holds http 30101 from r');
    await expectConflicts('out_of_range', 0, 2);
  });
});

test('port_taken: a Service that asks for a number which somebody holds, until that one goes', async () => {
  const { service, shows, remove } = world();
  await service('a-dev/wants', { range: 'r', annotations: { [PORTS_ANNOTATION]: '30100' } });
  await shows('a-dev/wants', 'PortTaken');
  await expectConflicts('port_taken', 1, 1);
  expect(await told('PortTaken', 'Service', 'wants')).toMatch(
    /^30100 is held by a-dev\/web; temporarily on \d+$/,
  );
  await remove('a-dev/web');
  await shows('a-dev/wants', 'Assigned', 'holds http 30100 from r');
  await expectConflicts('port_taken', 0, 1);
});

test('range_overlap: told to both, until they are apart', async () => {
  const { range, editRange, rangeShows } = world();
  await range('s', 30145, 30154);
  await rangeShows('s', { capacity: 5 });
  await expectConflicts('range_overlap', 1, 1);
  const says =
    's does without 30145-30149, which the older PortRange r has: declare the ports in one of them';
  expect(await told('RangeOverlap', 'PortRange', 's', 'default')).toBe(says);
  expect(await told('RangeOverlap', 'PortRange', 'r', 'default')).toBe(says);
  await editRange('s', { ranges: [{ from: 30150, to: 30154 }] });
  await expectConflicts('range_overlap', 0, 1);
});

describe('table_drift', () => {
  const SYSTEM = 'nodeport-manager-system';
  const WRITES = '["get","list","watch","create","update"]';
  const edit = async (data: Record<string, string | null>): Promise<void> =>
    void (await world().client.patch(`${TABLE}/nodeport-table-30000`, 'merge', { data }));
  const verbs = (list: string): Promise<string> =>
    world().kubectl(
      `patch role nodeport-manager-table -n ${SYSTEM} --type=json -p [{"op":"replace","path":"/rules/0/verbs","value":${list}}]`,
    );

  test('an entry edited by hand is mended at once, counted and told on the ConfigMap', async () => {
    await edit({ 30149: 'no entry at all' });
    await expectConflicts('table_drift', 0, 1);
    await edit({ 30100: null });
    await expectConflicts('table_drift', 0, 2);
    expect(await told('TableDrift', 'ConfigMap', 'nodeport-table-30000', SYSTEM)).toBe(
      'nodeport-table-30000 was deleted, edited or damaged: it is written again from what Services hold',
    );
    await world().checker.untilTableIsTrue();
  });

  test('lasts while it cannot be mended', async () => {
    await verbs('["get","list","watch"]');
    await edit({ 30100: null });
    await expectConflicts('table_drift', 1, 3);
    await verbs(WRITES);
    await expectConflicts('table_drift', 0, 3);
    await world().checker.untilTableIsTrue();
  });

  test('while the table cannot be opened at start, nobody whose entry is lost is taken for a stranger', async () => {
    const { client, launch, rangeShows, checker } = world();
    await rangeShows('r', { foreign: 0 });
    await controller.kill('SIGTERM');
    await verbs('["get","list","watch"]');
    await client.patch(`${TABLE}/nodeport-table-30000`, 'merge', { data: null });
    controller = await launch();
    await eventually(async () => {
      const tries = (await controller.logs()).filter(({ block }) => block === 'nodeport-table-30000');
      expect(tries.length).toBeGreaterThan(3);
    });
    await verbs(WRITES);
    await controller.ready();
    await checker.untilTableIsTrue();
    await expectConflicts('foreign_in_range', 0, 0);
    await rangeShows('r', { foreign: 0 });
  });
});

test('kubernetes #64466, duplicate: two Services on one number, which no apiserver should allow; told to both', async () => {
  const { service, get, cluster, remove } = world();
  await service('a-dev/twin-1', { ports: [{ port: 80, nodePort: 30210 }] });
  await service('a-dev/twin-2', { ports: [{ port: 80, nodePort: 30211 }] });
  const { metadata, spec, ...rest } = await get('a-dev/twin-2');
  const { resourceVersion: _, managedFields: __, ...bare } = metadata;
  await putIntoEtcd(cluster, '/registry/services/specs/a-dev/twin-2', {
    apiVersion: 'v1',
    kind: 'Service',
    ...rest,
    metadata: bare,
    spec: { ...spec, ports: spec.ports.map((port) => ({ ...port, nodePort: 30210 })) },
  });
  await expectConflicts('duplicate', 1, 1);
  const says = '30210 is used by a-dev/twin-1 and a-dev/twin-2: change or delete one of them';
  expect(await told('Duplicate', 'Service', 'twin-1')).toBe(says);
  expect(await told('Duplicate', 'Service', 'twin-2')).toBe(says);
  await remove('a-dev/twin-2');
  await expectConflicts('duplicate', 0, 1);
});

test('in the end nothing is in conflict', async () => {
  for (const kind of KINDS)
    await eventually(async () => expect(await value('active_conflicts', kind), kind).toBe(0));
});
