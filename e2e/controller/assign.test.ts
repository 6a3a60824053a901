import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { ControllerProcess, Series } from '../support/controller.ts';
import { conditionOf, type ConfigMap, type Entry, RANGES, service, TABLE } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  controller = await w.start();
});

const READY_COLUMNS = ['NAME', 'PORTS', 'CAPACITY', 'ALLOCATED', 'FREE', 'USED%', 'PENDING', 'READY', 'AGE'];

async function metric(name: string): Promise<number | undefined> {
  return (await controller.metrics()).get(name);
}

function names(series: Series): Set<string> {
  return new Set([...series.keys()].map((name) => name.replace(/\{.*/, '')));
}

describe('a PortRange and a Service that asks for it', () => {
  let uid: string;

  test('the Service gets a port of the segment, and kubectl wait sees it', async () => {
    const { range, rangeShows, service, kubectl, get } = world();
    await range('team-a', 30100, 30199, { namespaces: ['a-dev'], excluded: [{ from: 30100, to: 30101 }] });
    await rangeShows('team-a', { capacity: 98 });
    ({ uid } = (await service('a-dev/web', { range: 'team-a' })).metadata);
    const waited = await kubectl(
      'wait --for=condition=nodeport-manager.io/Allocated svc/web -n a-dev --timeout=30s',
    );
    expect(waited).toBe('service/web condition met\n');
    const web = await get('a-dev/web');
    expect(web.spec.ports[0]?.nodePort).toBe(30102);
    expect(conditionOf(web)).toEqual({
      type: 'nodeport-manager.io/Allocated',
      status: 'True',
      reason: 'Assigned',
      message: 'holds http 30102 from team-a',
      lastTransitionTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    });
  });

  test('the number is a key in exactly one object of the table, in the documented form', async () => {
    const block = await world().client.get<ConfigMap>(`${TABLE}/nodeport-table-30000`);
    expect(block.metadata.labels).toEqual({
      'app.kubernetes.io/managed-by': 'nodeport-manager',
      'nodeport-manager.io/table': 'true',
    });
    expect(block.metadata.annotations).toEqual({
      'nodeport-manager.io/table-version': '1',
      'nodeport-manager.io/epoch': expect.stringMatching(/^\d+\/\S+_[0-9a-f-]{36}$/),
    });
    expect(Object.keys(block.data ?? {})).toEqual(['30102']);
    const entry: Entry = JSON.parse(block.data?.['30102'] ?? '');
    expect(entry).toEqual({
      state: 'Held',
      service: 'a-dev/web',
      uid,
      ports: ['http:80/TCP'],
      range: 'team-a',
      request: 'range=team-a',
      since: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
  });

  test('our condition is the only thing that is written beside nodePort, with our field manager', async () => {
    const { metadata } = await world().get('a-dev/web');
    const ours = metadata.managedFields?.filter(({ manager }) => manager === 'nodeport-manager') ?? [];
    const fields = ours.map(({ fieldsV1 }) => fieldsV1);
    expect(fields).toContainEqual({
      'f:spec': { 'f:ports': { 'k:{"port":80,"protocol":"TCP"}': { 'f:nodePort': {} } } },
    });
    expect(ours.filter(({ subresource }) => subresource === 'status')).toHaveLength(1);
    expect(ours).toHaveLength(2);
  });

  test('one event says so, on the Service', async () => {
    await eventually(async () => {
      const { items } = await world().client.list<Record<string, unknown>>(
        '/apis/events.k8s.io/v1/namespaces/a-dev/events',
      );
      expect(items).toMatchObject([
        {
          type: 'Normal',
          reason: 'Assigned',
          note: 'holds http 30102 from team-a',
          reportingController: 'nodeport-manager.io/controller',
          regarding: { apiVersion: 'v1', kind: 'Service', namespace: 'a-dev', name: 'web', uid },
        },
      ]);
    });
  });

  test('each step of its number is one log line, with who, what, why and which check decided', async () => {
    const lines = (await controller.logs()).filter(({ audit }) => audit !== undefined);
    const every = {
      level: 'info',
      service: 'a-dev/web',
      uid,
      port: 30102,
      names: ['http:80/TCP'],
      to: 30102,
      range: 'team-a',
      request: 'range=team-a',
      check: 'findsPorts',
    };
    expect(lines).toMatchObject([
      { ...every, audit: 'reserved' },
      { ...every, audit: 'assigned', reason: 'Assigned', message: 'holds http 30102 from team-a' },
    ]);
  });

  test('the status of the PortRange counts it, and the printer columns show it', async () => {
    const { rangeShows, kubectl } = world();
    await rangeShows('team-a', {
      observedGeneration: 1,
      ports: '30100-30199',
      effective: [{ from: 30102, to: 30199 }],
      capacity: 98,
      allocated: 1,
      free: 97,
      foreign: 0,
      coolingDown: 0,
      usedPercent: 1,
      outOfRange: 0,
      pending: 0,
    });
    const [head = '', row = ''] = (await kubectl('get npr')).trim().split('\n');
    expect(head.split(/ +/)).toEqual(READY_COLUMNS);
    expect(row).toMatch(/^team-a +30100-30199 +98 +1 +97 +1 +0 +True +\d+s$/);
    const ready = await kubectl('wait --for=condition=Ready npr/team-a --timeout=10s');
    expect(ready).toContain('condition met');
  });

  test('the metrics count it', async () => {
    const series = await controller.metrics();
    const of = (name: string) => series.get(`nodeport_manager_${name}{range="team-a"}`);
    expect(of('range_capacity_ports')).toBe(98);
    expect(of('range_allocated_ports')).toBe(1);
    expect(of('range_free_ports')).toBe(97);
    expect(of('range_foreign_ports')).toBe(0);
    expect(of('range_cooling_down_ports')).toBe(0);
    expect(of('range_out_of_range_ports')).toBe(0);
    expect(of('range_usage_ratio')).toBeCloseTo(1 / 98);
    expect(series.get('nodeport_manager_allocations_total{outcome="assigned",range="team-a"}')).toBe(1);
    expect(series.get('nodeport_manager_allocation_duration_seconds_count')).toBe(1);
    expect(series.get('nodeport_manager_table_bytes{block="nodeport-table-30000"}')).toBeGreaterThan(100);
    expect(series.get('nodeport_manager_table_writes_total{result="ok"}')).toBeGreaterThan(0);
    expect(series.get('nodeport_manager_table_writes_total{result="error"}')).toBe(0);
    expect(series.get('nodeport_manager_events_dropped_total')).toBe(0);
    expect(series.get('nodeport_manager_last_sync_timestamp_seconds')).toBeGreaterThan(1.7e9);
  });

  test('an idle cluster pays three writes for it: table, Service, status', async () => {
    const writes = (await world().writes()).filter(
      ({ resource }) => !resource.startsWith('portranges') && resource !== 'events',
    );
    expect(writes.map(({ verb, resource }) => `${verb} ${resource}`)).toEqual([
      'create configmaps',
      'patch services',
      'patch services/status',
    ]);
  });
});

describe('every form of node port', () => {
  test('several ports get several numbers; TCP and UDP on one port share one', async () => {
    const { service, shows } = world();
    const ports = [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP' },
    ];
    await service('a-dev/dns', { range: 'team-a', ports });
    const { spec } = await shows('a-dev/dns', 'Assigned', 'holds http 30103, dns 30104 from team-a');
    expect(spec.ports.map(({ nodePort }) => nodePort)).toEqual([30103, 30104, 30104]);
  });

  test('a port that is added later gets a number and unsettles none of the others', async () => {
    const { edit, get, shows } = world();
    const { spec } = await get('a-dev/web');
    await edit('a-dev/web', { ports: [...spec.ports, { name: 'https', port: 443 }] });
    const after = await shows('a-dev/web', 'Assigned', 'holds http 30102, https 30105 from team-a');
    expect(after.spec.ports.map(({ nodePort }) => nodePort)).toEqual([30102, 30105]);
  });

  test('a LoadBalancer is served, its healthCheckNodePort is respected and counted as foreign', async () => {
    const { service, shows, rangeShows } = world();
    const spec = { externalTrafficPolicy: 'Local', healthCheckNodePort: 30106 };
    await service('a-dev/lb', { range: 'team-a', type: 'LoadBalancer', spec });
    const lb = await shows('a-dev/lb', 'Assigned', 'holds http 30107 from team-a');
    expect(lb.spec.healthCheckNodePort).toBe(30106);
    await rangeShows('team-a', { allocated: 5, foreign: 1 });
  });

  test('allocateLoadBalancerNodePorts: false is honoured', async () => {
    const { service, shows } = world();
    const spec = { allocateLoadBalancerNodePorts: false };
    await service('a-dev/bare', { range: 'team-a', type: 'LoadBalancer', spec });
    const bare = await shows('a-dev/bare', 'NoNodePorts');
    expect(bare.spec.ports[0]?.nodePort).toBeUndefined();
  });
});

describe('what never comes to be', () => {
  test('tiggoins: dry runs and refused creates leave nothing behind, however many', async () => {
    const { client, service: create, shows, rangeShows, checker } = world();
    const before = [...checker.table().keys()];
    const post = (query: string, body: object): Promise<{ status: number }> =>
      client.raw('POST', `/api/v1/namespaces/a-dev/services${query}`, {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      });
    for (let i = 0; i < 10; i += 1) {
      const dry = await post('?dryRun=All', service(`a-dev/dry-${i}`, { range: 'team-a' }));
      const ports = [
        { name: 'free', port: 80 },
        { name: 'taken', port: 81, nodePort: 30102 },
      ];
      const refused = await post('', service(`a-dev/refused-${i}`, { range: 'team-a', ports }));
      expect([dry.status, refused.status]).toEqual([201, 422]);
    }
    await create('a-dev/after', { range: 'team-a' });
    await shows('a-dev/after', 'Assigned', 'holds http 30108 from team-a');
    await rangeShows('team-a', { allocated: 6, foreign: 1 });
    await checker.untilTableIsTrue();
    expect([...checker.table().keys()]).toEqual([...before, 30108]);
  });
});

describe('metrics', () => {
  test('every series exists', async () => {
    await world().service('a-dev/waits', { range: 'nobody' });
    await world().shows('a-dev/waits', 'RangeNotFound');
    const all = names(await controller.metrics());
    for (const name of EVERY_SERIES) expect(all, name).toContain(name);
  });

  test('a label names a PortRange that exists, or is empty', async () => {
    expect(await metric('nodeport_manager_pending_services{range="",reason="RangeNotFound"}')).toBe(1);
    const series = await controller.metrics();
    const labels = new Set([...series.keys()].flatMap((name) => /range="([^"]*)"/.exec(name)?.[1] ?? []));
    expect([...labels].toSorted()).toEqual(['', 'team-a']);
  });

  test("a range's series disappear with it", async () => {
    const { range, service, shows, client } = world();
    await range('passing', 30900, 30909);
    await service('a-dev/passes', { range: 'passing' });
    await shows('a-dev/passes', 'Assigned');
    expect(await metric('nodeport_manager_range_free_ports{range="passing"}')).toBe(9);
    expect(await metric('nodeport_manager_allocations_total{outcome="assigned",range="passing"}')).toBe(1);
    await client.delete(`${RANGES}/passing`);
    await eventually(async () => {
      const series = await controller.metrics();
      expect([...series.keys()].filter((name) => name.includes('range="passing"'))).toEqual([]);
    });
  });

  test('a restart keeps no stale gauges and counts no grant again', async () => {
    const { start, client } = world();
    await controller.kill('SIGTERM');
    await client.delete(`${RANGES}/team-a`);
    controller = await start();
    await world().shows('a-dev/web', 'HeldOutOfRange');
    const series = await controller.metrics();
    expect([...series.keys()].filter((name) => name.includes('range="team-a"'))).toEqual([]);
    const grants = [...series].filter(([name]) => name.includes('allocations_total{outcome="a'));
    expect(grants.map(([, value]) => value)).toEqual([0, 0]);
  });
});

const EVERY_SERIES = [
  ...['capacity_ports', 'allocated_ports', 'foreign_ports', 'cooling_down_ports', 'free_ports'].map(
    (name) => `nodeport_manager_range_${name}`,
  ),
  'nodeport_manager_range_out_of_range_ports',
  'nodeport_manager_range_usage_ratio',
  'nodeport_manager_pending_services',
  'nodeport_manager_allocations_total',
  'nodeport_manager_allocation_duration_seconds_bucket',
  'nodeport_manager_table_writes_total',
  'nodeport_manager_table_bytes',
  'nodeport_manager_table_heals_total',
  'nodeport_manager_events_dropped_total',
  'nodeport_manager_last_sync_timestamp_seconds',
  'workqueue_adds_total',
  'workqueue_depth',
  'workqueue_queue_duration_seconds_bucket',
  'workqueue_work_duration_seconds_bucket',
  'workqueue_unfinished_work_seconds',
  'workqueue_longest_running_processor_seconds',
  'rest_client_requests_total',
  'rest_client_request_duration_seconds_bucket',
  'reflector_lists_total',
  'reflector_watches_total',
  'process_cpu_seconds_total',
];
