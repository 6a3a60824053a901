import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { type PortRange, PORTS_ANNOTATION, RANGES } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

/** The apiserver gives 30100-63999. */
const FLAGZ = join(import.meta.dirname, '../../config/flagz');
const SIZE = 'nodeport_manager_node_port_range_ports';

let controller: ControllerProcess;

/** Each begins with a controller that knows nothing yet. */
const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.range('half', 30000, 30109);
  await w.range('beyond', 29000, 29009);
  await w.range('inside', 30110, 30119);
});

afterEach(() => controller?.kill('SIGTERM'));

async function within(range: string): Promise<string> {
  const { status } = await world().client.get<PortRange>(`${RANGES}/${range}`);
  const found = status?.conditions?.find(({ type }) => type === 'WithinNodePortRange');
  return `${found?.status} ${found?.reason}: ${found?.message}`;
}

async function size(): Promise<number | undefined> {
  return (await controller.metrics()).get(SIZE);
}

/** What each PortRange says once the range of the apiserver is known. */
async function expectKnown(): Promise<void> {
  const { rangeShows } = world();
  await rangeShows('half', { capacity: 10, effective: [{ from: 30100, to: 30109 }] });
  await rangeShows('beyond', { capacity: 0, effective: [], usedPercent: 100, free: 0 });
  await rangeShows('inside', { capacity: 10 });
  expect(await within('half')).toBe('False Beyond: the apiserver cannot give 30000-30099');
  expect(await within('beyond')).toBe('False Beyond: the apiserver cannot give 29000-29009');
  expect(await within('inside')).toBe('True Within: the apiserver can give all of its ports');
  expect(await size()).toBe(63_999 - 30_100 + 1);
}

async function expectUnknown(): Promise<void> {
  const unknown = "Unknown NodePortRangeUnknown: the apiserver's own node port range is not known";
  for (const range of ['half', 'beyond', 'inside']) {
    await eventually(async () => expect(await within(range)).toBe(unknown));
  }
  await world().rangeShows('beyond', { capacity: 10 });
  expect(await size()).toBeUndefined();
}

describe("the apiserver's own range of node ports", () => {
  test('is unknown while nobody has told it', async () => {
    controller = await world().start();
    await expectUnknown();
  });

  test('is learned from a refusal: the Service gets a number that the apiserver can give', async () => {
    const { service, shows, writes, start } = world();
    controller = await start();
    await expectUnknown();
    await service('a-dev/learns', { range: 'half' });
    await shows('a-dev/learns', 'Assigned', 'holds http 30100 from half');
    const refused = (await writes()).filter(({ name, code }) => name === 'learns' && code === 422);
    expect(refused).toHaveLength(1);
    await expectKnown();
    const line = (await controller.logs()).find(({ source }) => source === 'a refusal');
    expect(line).toMatchObject({ level: 'info', range: '30100-63999' });
  });

  test('known, a PortRange outside of it refuses without asking the apiserver', async () => {
    const { service, shows, writes, start } = world();
    controller = await start('--service-node-port-range=30100-63999');
    await expectKnown();
    await service('a-dev/beyond', { range: 'beyond' });
    await shows('a-dev/beyond', 'RangeExhausted', /^beyond has too few free ports: 1 needed; temporarily on/);
    const annotations = { [PORTS_ANNOTATION]: '30050' };
    await service('a-dev/wants', { range: 'half', annotations });
    await shows(
      'a-dev/wants',
      'RequestOutOfRange',
      /^30050 lies outside the node port range of the apiserver; temporarily on/,
    );
    const tried = (await writes()).filter(
      ({ name, resource }) => resource === 'services' && name !== 'learns',
    );
    expect(tried).toEqual([]);
  });

  test('is told by NODEPORT_MANAGER_SERVICE_NODE_PORT_RANGE or its flag, which nothing overrides', async () => {
    const { rangeShows, start } = world();
    controller = await start('--service-node-port-range=30100-30104');
    await rangeShows('half', { capacity: 5 });
    expect(await within('inside')).toBe('False Beyond: the apiserver cannot give 30110-30119');
    expect(await size()).toBe(5);
  });

  test('is read from /flagz where config/flagz allows it', async () => {
    const { kubectl, start } = world();
    await kubectl(`apply -k ${FLAGZ}`);
    controller = await start();
    await expectKnown();
    const line = (await controller.logs()).find(({ source }) => source === '/flagz');
    expect(line).toMatchObject({ level: 'info', range: '30100-63999' });
    await kubectl(`delete -k ${FLAGZ}`);
  });

  test('is read from /flagz with the next resync, when that is allowed later', async () => {
    const { kubectl, start, remove } = world();
    // From whose refusals it would be learned.
    for (const name of ['learns', 'beyond', 'wants']) await remove(`a-dev/${name}`);
    controller = await start('--resync-period=1s');
    await expectUnknown();
    await kubectl(`apply -k ${FLAGZ}`);
    await expectKnown();
  });
});
