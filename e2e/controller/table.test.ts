import { describe, expect, test } from 'vitest';
import { ALONE, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { type ConfigMap, type Entry, TABLE } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

const BLOCK = 'nodeport-table-30000';
const OTHER = 'nodeport-table-30250';
const HEALS = 'nodeport_manager_table_heals_total';

let controller: ControllerProcess;

/** Two Services in one block, and one in another. */
const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  controller = await w.start();
  await w.range('low', 30100, 30109);
  await w.range('high', 30300, 30309);
  await w.rangeShows('low', { capacity: 10 });
  await w.rangeShows('high', { capacity: 10 });
  for (const [key, range] of [
    ['a-dev/one', 'low'],
    ['a-dev/two', 'low'],
    ['a-dev/three', 'high'],
  ] as const) {
    await w.service(key, { range });
    await w.shows(key, 'Assigned');
  }
});

const read = (name = BLOCK): Promise<ConfigMap> => world().client.get(`${TABLE}/${name}`);

/** As JSON without what a rebuilt entry may say otherwise. */
function entriesOf({ data = {} }: ConfigMap): Record<string, Omit<Entry, 'since' | 'previous'>> {
  return Object.fromEntries(
    Object.entries(data).map(([key, text]) => {
      const { since: _, previous: __, ...rest }: Entry = JSON.parse(text);
      return [key, rest];
    }),
  );
}

async function remove(name: string): Promise<void> {
  await world().client.delete(`${TABLE}/${name}`);
}

/** JSON merge patch of the block's data, as a person would do it. */
async function edit(data: Record<string, string | null>, name = BLOCK): Promise<ConfigMap> {
  return world().client.patch(`${TABLE}/${name}`, 'merge', { data });
}

async function heals(kind: string): Promise<number> {
  return (await controller.metrics()).get(`${HEALS}{kind="${kind}"}`) ?? Number.NaN;
}

async function restart(between: () => Promise<void>): Promise<void> {
  await controller.kill('SIGTERM');
  await between();
  controller = await world().start();
}

async function expectSamePorts(): Promise<void> {
  const { port, checker, shows } = world();
  await shows('a-dev/one', 'Assigned', 'holds http 30100 from low');
  await shows('a-dev/two', 'Assigned', 'holds http 30101 from low');
  await shows('a-dev/three', 'Assigned', 'holds http 30300 from high');
  expect([await port('a-dev/one'), await port('a-dev/two'), await port('a-dev/three')]).toEqual([
    30100, 30101, 30300,
  ]);
  await checker.untilTableIsTrue();
}

describe('the table, deleted', () => {
  test('while the controller runs, is rebuilt with the same entries', async () => {
    const before = await read();
    await remove(BLOCK);
    await eventually(async () => expect((await read()).data).toEqual(before.data));
    expect(await heals('deleted')).toBe(1);
  });

  test('while it is down, is rebuilt from the conditions: nobody moves', async () => {
    const before = [await read(), await read(OTHER)].map(entriesOf);
    await restart(async () => {
      await remove(BLOCK);
      await remove(OTHER);
    });
    await expectSamePorts();
    expect([await read(), await read(OTHER)].map(entriesOf)).toEqual(before);
  });
});

describe('a block that cannot be read', () => {
  const bad = '{"state":"Held","service":';
  const copies = async (): Promise<ConfigMap[]> => {
    const { items } = await world().client.list<ConfigMap>(TABLE);
    return items.filter(({ metadata }) => metadata.name.startsWith(`${BLOCK}-corrupt-`));
  };

  test('while it runs: its raw text is copied aside, it is rebuilt, a metric says so', async () => {
    const before = await read();
    const broken = await edit({ 30100: bad });
    await eventually(async () => expect((await read()).data).toEqual(before.data));
    expect(await copies()).toMatchObject([
      {
        metadata: { name: `${BLOCK}-corrupt-${broken.metadata.resourceVersion}` },
        data: { ...before.data, 30100: bad },
      },
    ]);
    expect(await heals('corrupt')).toBe(1);
  });

  test('at start: the same, nobody moves, and the entries that parse are kept', async () => {
    const before = await read();
    let broken: ConfigMap | undefined;
    await restart(async () => {
      broken = await edit({ 30100: bad, 30105: 'no JSON at all' });
    });
    await expectSamePorts();
    expect(entriesOf(await read())).toEqual(entriesOf(before));
    expect((await read()).data?.['30101']).toBe(before.data?.['30101']);
    const names = (await copies()).map(({ metadata }) => metadata.name);
    expect(names).toContain(`${BLOCK}-corrupt-${broken?.metadata.resourceVersion}`);
    expect(await heals('corrupt')).toBe(1);
    const warned = (await controller.logs()).filter(
      ({ level, block }) => level === 'warn' && block === BLOCK,
    );
    expect(warned.map(({ msg }) => msg)).toEqual(['table block could not be read: copied aside and rebuilt']);
  });

  test('does not hold up the others', async () => {
    const { service, shows } = world();
    await edit({ 30100: bad });
    await service('a-dev/four', { range: 'high' });
    await shows('a-dev/four', 'Assigned', 'holds http 30301 from high');
    await service('a-dev/five', { range: 'low' });
    await shows('a-dev/five', 'Assigned', 'holds http 30102 from low');
    await eventually(async () =>
      expect(Object.keys(entriesOf(await read()))).toEqual(['30100', '30101', '30102']),
    );
  });
});

describe('an entry edited by hand that contradicts a Service loses', () => {
  test('while it runs', async () => {
    const before = await read();
    const entry: Entry = JSON.parse(before.data?.['30100'] ?? '');
    const other = { ...entry, service: 'a-dev/stranger', uid: 'stranger' };
    await edit({ 30100: JSON.stringify(other) });
    await eventually(async () => expect((await read()).data).toEqual(before.data));
    expect(await heals('edited')).toBeGreaterThan(0);
    await edit({ 30100: null, 30107: JSON.stringify(other) });
    await eventually(async () => expect((await read()).data).toEqual(before.data));
    await expectSamePorts();
  });

  test('at start: given to a stranger, released, or missing, its Service has it', async () => {
    const before = await read();
    const first: Entry = JSON.parse(before.data?.['30100'] ?? '');
    const second: Entry = JSON.parse(before.data?.['30101'] ?? '');
    await restart(async () => {
      await edit({
        30100: JSON.stringify({ ...first, service: 'a-dev/stranger', uid: 'stranger' }),
        30101: JSON.stringify({ ...second, state: 'Released', until: '2099-01-01T00:00:00Z' }),
        30102: null,
        30108: JSON.stringify({ ...first, service: 'a-dev/ghost', uid: 'ghost' }),
      });
    });
    await expectSamePorts();
    await eventually(async () => {
      const now = entriesOf(await read());
      expect(now['30100']).toMatchObject({ state: 'Held', service: 'a-dev/one' });
      expect(now['30101']).toMatchObject({ state: 'Held', service: 'a-dev/two' });
      expect(now['30102']).toMatchObject({ state: 'Held', service: 'a-dev/five' });
      expect(now['30108']).toMatchObject({ state: 'Released', service: 'a-dev/ghost' });
    });
  });
});

describe('a block of a newer version', () => {
  const version = (value: string) =>
    world().client.patch<ConfigMap>(`${TABLE}/${OTHER}`, 'merge', {
      metadata: { annotations: { 'nodeport-manager.io/table-version': value } },
    });

  test('is never written, nothing is allocated in it, and /readyz says so', async () => {
    const { service, shows, launch } = world();
    let newer: ConfigMap | undefined;
    await controller.kill('SIGTERM');
    newer = await version('2');
    controller = await launch();
    await eventually(async () =>
      expect(await controller.readyz()).toEqual({
        status: 503,
        body: `not ready: table block ${OTHER} was written by a newer version\n`,
      }),
    );
    await service('a-dev/six', { range: 'high' });
    await shows('a-dev/six', 'RangeExhausted');
    await service('a-dev/seven', { range: 'low' });
    await shows('a-dev/seven', 'Assigned');
    expect((await read(OTHER)).metadata.resourceVersion).toBe(newer.metadata.resourceVersion);
    expect((await controller.healthz()).status).toBe(200);
  });

  test('of our version again, serves who waited after the next start', async () => {
    await restart(async () => void (await version('1')));
    await world().shows('a-dev/six', 'Assigned', 'holds http 30302 from high');
    await expectSamePorts();
  });

  test('that appears while it runs stops the controller', async () => {
    await version('2');
    expect(await controller.exited).toBe(1);
    await version('1');
    controller = await world().start();
    await expectSamePorts();
  });
});

test('two without leader election: the former meets the stamp of the other and exits 1', async () => {
  await controller.kill('SIGTERM');
  const former = await world().start(...ALONE);
  controller = await world().start(...ALONE);
  expect(await former.exited).toBe(1);
  const fatal = (await former.logs()).find(({ level }) => level === 'error');
  expect(fatal).toMatchObject({
    msg: 'fatal: stopping',
    reason: expect.stringMatching(/^table block \S+ carries the stamp \d+\/\S+: another leader is at work$/),
  });
  await world().service('a-dev/eight', { range: 'low' });
  await world().shows('a-dev/eight', 'Assigned');
  await expectSamePorts();
});
