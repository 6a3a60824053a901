import { describe, expect, test } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { type Condition, PORTS_ANNOTATION, type PortRange, RANGES } from '../support/objects.ts';
import { youngerThan } from '../support/seconds.ts';
import { useWorld } from '../support/world.ts';

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  controller = await w.start('--service-node-port-range=30100-63999');
});

async function get(name: string): Promise<PortRange> {
  return world().client.get(`${RANGES}/${name}`);
}

async function conditions(name: string): Promise<Map<string, Condition>> {
  const { status } = await get(name);
  return new Map((status?.conditions ?? []).map((condition) => [condition.type, condition]));
}

/** `Warning RangeExhausted none of …`, of the events on the PortRange, which are in the namespace default. */
async function events(name: string): Promise<string[]> {
  const { items } = await world().client.list<{
    type: string;
    reason: string;
    note: string;
    regarding: { kind: string; name: string; uid: string };
    series?: { count: number };
  }>('/apis/events.k8s.io/v1/namespaces/default/events');
  const { uid } = (await get(name)).metadata;
  return items
    .filter(({ regarding }) => regarding.kind === 'PortRange' && regarding.uid === uid)
    .map(
      ({ type, reason, note, series }) => `${type} ${reason} ${note}${series === undefined ? '' : ' again'}`,
    );
}

async function metrics(name: string): Promise<Record<string, number | undefined>> {
  const series = await controller.metrics();
  const of = (what: string) => series.get(`nodeport_manager_range_${what}{range="${name}"}`);
  return {
    capacity: of('capacity_ports'),
    allocated: of('allocated_ports'),
    foreign: of('foreign_ports'),
    coolingDown: of('cooling_down_ports'),
    free: of('free_ports'),
    explicitOnlyFree: of('explicit_only_free_ports'),
    outOfRange: of('out_of_range_ports'),
    usedRatio: of('usage_ratio'),
  };
}

describe('every count', () => {
  const COUNTS = {
    capacity: 16,
    allocated: 4,
    foreign: 3,
    coolingDown: 1,
    free: 5,
    explicitOnlyFree: 3,
    outOfRange: 1,
  };

  test('is right, with one of each: held, foreign, cooling down, by number, out of range, pending', async () => {
    const { range, service, shows, remove, editRange, rangeShows } = world();
    await range('r', 30100, 30119, { cooldown: '1h', excluded: [{ from: 30118, to: 30119 }] });
    // Held: 30100 to 30102, of which 30101 for TCP and UDP.
    const dns = [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP' },
    ];
    await service('a-dev/gone', { range: 'r' });
    await shows('a-dev/gone', 'Assigned', 'holds http 30100 from r');
    await service('a-dev/web', { range: 'r', ports: [{ name: 'http', port: 80 }, ...dns] });
    await shows('a-dev/web', 'Assigned', 'holds http 30101, dns 30102 from r');
    await service('a-dev/cut', { range: 'r', annotations: { [PORTS_ANNOTATION]: '30117' } });
    await shows('a-dev/cut', 'Assigned', 'holds http 30117 from r');
    await service('a-dev/api', { range: 'r' });
    await shows('a-dev/api', 'Assigned', 'holds http 30103 from r');
    // Foreign: set by hand, a health check's of a managed Service, and of another range's request.
    await service('a-dev/hand', { ports: [{ port: 80, nodePort: 30104 }] });
    const spec = { externalTrafficPolicy: 'Local', healthCheckNodePort: 30105 };
    await service('a-dev/lb', { range: 'r', type: 'LoadBalancer', spec });
    await shows('a-dev/lb', 'Assigned', 'holds http 30106 from r');
    await range('other', 30120, 30129);
    await service('a-dev/pinned', { range: 'other', ports: [{ name: 'http', port: 80, nodePort: 30107 }] });
    await shows('a-dev/pinned', 'HeldOutOfRange');
    await remove('a-dev/gone');
    await editRange('r', {
      ranges: [{ from: 30100, to: 30116 }],
      excluded: [{ from: 30116 }],
      explicitOnly: [{ from: 30111, to: 30113 }],
    });
    await service('a-dev/waits', { range: 'r', annotations: { [PORTS_ANNOTATION]: '30104' } });
    await shows('a-dev/waits', 'PortTaken');
    await service('a-dev/bad', { range: 'r', annotations: { [PORTS_ANNOTATION]: '99999' } });
    await shows('a-dev/bad', 'InvalidRequest');
    await rangeShows('r', {
      observedGeneration: 2,
      ports: '30100-30116',
      effective: [{ from: 30100, to: 30115 }],
      ...COUNTS,
      usedPercent: 50,
      pending: 1,
      expanded: [],
    });
    await rangeShows('other', { capacity: 10, allocated: 0, outOfRange: 1 });
  });

  test('adds up: capacity = allocated + foreign + coolingDown + free + explicitOnlyFree', async () => {
    const { status = {} } = await get('r');
    const sum = ['allocated', 'foreign', 'coolingDown', 'free', 'explicitOnlyFree']
      .map((name) => Number(status[name]))
      .reduce((a, b) => a + b);
    expect(sum).toBe(status['capacity']);
  });

  test('is the same in the metrics', async () => {
    expect(await metrics('r')).toEqual({ ...COUNTS, usedRatio: 0.5 });
  });

  test('is in the columns of kubectl get npr', async () => {
    const [head = '', row = ''] = (await world().kubectl('get npr r')).trim().split('\n');
    expect(head).toMatch(/^NAME +PORTS +CAPACITY +ALLOCATED +FREE +USED% +PENDING +READY +AGE$/);
    expect(row).toMatch(/^r +30100-30116 +16 +4 +5 +50 +1 +True +\d+s$/);
  });

  test('is the same after a restart and with the table lost, cooldowns apart', async () => {
    const { start, client, rangeShows } = world();
    const before = await get('r');
    await controller.kill('SIGTERM');
    controller = await start('--service-node-port-range=30100-63999');
    await rangeShows('r', { ...COUNTS, pending: 1 });
    expect((await get('r')).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
    await controller.kill('SIGTERM');
    await client.delete(
      '/api/v1/namespaces/nodeport-manager-system/configmaps?labelSelector=nodeport-manager.io/table',
    );
    controller = await start('--service-node-port-range=30100-63999');
    await rangeShows('r', { ...COUNTS, coolingDown: 0, free: 6, usedPercent: 43, pending: 1 });
  });
});

describe('conditions', () => {
  test('are Ready, Overlapping, Exhausted and WithinNodePortRange, of this generation', async () => {
    const all = await conditions('r');
    expect([...all.keys()]).toEqual(['Ready', 'Overlapping', 'Exhausted', 'WithinNodePortRange']);
    for (const condition of all.values()) {
      expect(condition).toMatchObject({ observedGeneration: 2, reason: expect.stringMatching(/^[A-Z]\w+$/) });
      expect(condition.lastTransitionTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    }
  });

  test('keep their lastTransitionTime until their status changes', async () => {
    const { editRange, rangeShows } = world();
    const before = await conditions('r');
    const { lastTransitionTime = '' } = before.get('Ready') ?? {};
    await youngerThan({ metadata: { creationTimestamp: lastTransitionTime } });
    await editRange('r', { ranges: [{ from: 30100, to: 30117 }], paused: true });
    await rangeShows('r', { observedGeneration: 3, capacity: 17 });
    const after = await conditions('r');
    for (const [type, condition] of after) {
      const { lastTransitionTime: then } = before.get(type) ?? {};
      if (type === 'Ready') expect(condition.lastTransitionTime > (then ?? '')).toBe(true);
      else expect(condition.lastTransitionTime, type).toBe(then);
    }
    await editRange('r', { paused: false });
  });

  test('and the rest of the status, wiped by somebody, are written again', async () => {
    const { client, rangeShows } = world();
    await rangeShows('r', { observedGeneration: 4 });
    await client.patch(`${RANGES}/r/status`, 'merge', { status: { capacity: 0, conditions: null } });
    await rangeShows('r', { capacity: 17 });
    await eventually(async () => expect((await conditions('r')).size).toBe(4));
  });
});

describe('Exhausted', () => {
  test('with the last free number: True, and one event on the PortRange in the namespace default', async () => {
    const { range, service, shows, kubectl } = world();
    await range('small', 30200, 30201, { cooldown: '0s' });
    await service('a-dev/s-1', { range: 'small' });
    await service('a-dev/s-2', { range: 'small' });
    await shows('a-dev/s-2', 'Assigned');
    await kubectl('wait --for=condition=Exhausted npr/small --timeout=10s');
    await eventually(async () =>
      expect(await events('small')).toEqual(['Warning RangeExhausted none of 2 ports is free']),
    );
    expect(await kubectl('get events -n default --field-selector reason=RangeExhausted')).toContain(
      'portrange/small',
    );
  });

  test('ends with a number that becomes free', async () => {
    const { remove, kubectl, rangeShows } = world();
    await remove('a-dev/s-1');
    await kubectl('wait --for=condition=Exhausted=False npr/small --timeout=10s');
    await rangeShows('small', { free: 1, usedPercent: 50 });
  });
});

test('a PortRange deleted and created again begins anew, with what its holders hold', async () => {
  const { kubectl, range, rangeShows } = world();
  await kubectl('delete npr small --timeout=10s');
  await range('small', 30200, 30203);
  await rangeShows('small', { observedGeneration: 1, capacity: 4, allocated: 1, free: 3 });
});

test('nothing is written to a PortRange that is settled', async () => {
  const { writes, service, shows } = world();
  const statusWrites = async (): Promise<number> =>
    (await writes()).filter(({ resource, name }) => resource === 'portranges/status' && name === 'small')
      .length;
  await world().rangeShows('small', { allocated: 1 });
  const before = await statusWrites();
  await service('a-dev/elsewhere', { range: 'other' });
  await shows('a-dev/elsewhere', 'Assigned');
  await world().rangeShows('other', { allocated: 1 });
  expect(await statusWrites()).toBe(before);
});
