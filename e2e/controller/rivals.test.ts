import { afterAll, describe, expect, test } from 'vitest';
import { ApiError } from '../cluster/client.ts';
import { type ControllerProcess, PATIENT } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { type HeldWatch, startHeldWatch } from '../support/heldWatch.ts';
import { conditionOf, keyOf, numbersOf, type Service } from '../support/objects.ts';
import { refusalOf, useWorld } from '../support/world.ts';

/** So many that a backoff which doubles with each would outlast every pause of a refused number. */
const REFUSALS = 16;

/** Watches are opened again with a backoff. */
const RECOVERS_WITHIN_MS = 60_000;

let controller: ControllerProcess;
let held: HeldWatch;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.namespace('rival');
  held = await startHeldWatch(w.cluster);
});

afterAll(() => held?.close());

function served(prefix: string): Service[] {
  return world()
    .checker.services()
    .filter((object) => keyOf(object).startsWith(prefix) && conditionOf(object)?.status === 'True');
}

describe('a number that a rival took a moment ago, unseen', () => {
  test('is refused by the apiserver; the Service gets another, the rival keeps its own', async () => {
    const { launch, service, shows, range, writes, port } = world();
    controller = await launch({ kubeconfig: held.kubeconfig });
    await controller.ready();
    await service('a-dev/web', { range: 'unseen' });
    await shows('a-dev/web', 'RangeNotFound');
    held.hold();
    for (const nodePort of [30100, 30101]) {
      await service(`rival/r-${nodePort}`, { ports: [{ port: 80, nodePort }] });
    }
    await range('unseen', 30100, 30109);
    await eventually(async () => {
      const refused = (await writes()).filter(({ name, code }) => name === 'web' && code === 422);
      expect(refused.length).toBeGreaterThan(0);
    });
    held.release();
    await shows('a-dev/web', 'Assigned', 'holds http 30102 from unseen');
    expect([await port('rival/r-30100'), await port('rival/r-30101')]).toEqual([30100, 30101]);
    await world().rangeShows('unseen', { allocated: 1, foreign: 2, free: 7 });
    const warned = (await controller.logs()).find(({ msg }) => msg === 'apiserver refused the port');
    expect(warned).toMatchObject({ audit: 'refused', service: 'a-dev/web', port: 30100 });
  });

  test('all numbers of the range: the Service waits, and is served when the rival goes', async () => {
    const { service, shows, range, remove, writes } = world();
    await service('a-dev/one', { range: 'single' });
    await shows('a-dev/one', 'RangeNotFound');
    held.hold();
    await service('rival/single', { ports: [{ port: 80, nodePort: 30150 }] });
    await range('single', 30150, 30150);
    await eventually(async () => {
      const refused = (await writes()).filter(({ name, code }) => name === 'one' && code === 422);
      expect(refused.length).toBeGreaterThan(0);
    });
    held.release();
    await shows('a-dev/one', 'RangeExhausted');
    await remove('rival/single');
    await shows('a-dev/one', 'Assigned', 'holds http 30150 from single');
  });

  test('many numbers in a row: another is tried at once each time, until one is free', async () => {
    const { service, shows, range, writes } = world();
    await service('a-dev/many', { range: 'many' });
    await shows('a-dev/many', 'RangeNotFound');
    held.hold();
    for (let nodePort = 30120; nodePort < 30120 + REFUSALS; nodePort += 1) {
      await service(`rival/m-${nodePort}`, { ports: [{ port: 80, nodePort }] });
    }
    await range('many', 30120, 30149);
    await shows('a-dev/many', 'Assigned', `holds http ${30120 + REFUSALS} from many`);
    const refused = (await writes()).filter(({ name, code }) => name === 'many' && code === 422);
    expect(refused).toHaveLength(REFUSALS);
    held.release();
  });

  test('a Service that changes while it is decided is decided again, from what it is then', async () => {
    const { service, shows, range, edit, writes } = world();
    await service('a-dev/stale', { range: 'stale' });
    await shows('a-dev/stale', 'RangeNotFound');
    held.hold();
    const ports = [
      { name: 'http', port: 80 },
      { name: 'https', port: 443 },
    ];
    await edit('a-dev/stale', { ports });
    await range('stale', 30160, 30169);
    await eventually(async () => {
      const conflicts = (await writes()).filter(({ name, code }) => name === 'stale' && code === 409);
      expect(conflicts.length).toBeGreaterThan(0);
    });
    held.release();
    await shows('a-dev/stale', 'Assigned', 'holds http 30160, https 30161 from stale');
  });

  test('a Service re-created while its former self is decided', async () => {
    const { service, shows, range, remove } = world();
    await service('a-dev/reborn', { range: 'reborn' });
    await shows('a-dev/reborn', 'RangeNotFound');
    held.hold();
    await remove('a-dev/reborn');
    await service('a-dev/reborn', { range: 'reborn' });
    await range('reborn', 30170, 30179);
    await eventually(() => expect(world().checker.table().get(30170)?.state).toBe('Held'));
    held.release();
    const { metadata } = await shows('a-dev/reborn', 'Assigned', 'holds http 30170 from reborn');
    await eventually(() => expect(world().checker.table().get(30170)?.uid).toBe(metadata.uid));
  });
});

test('stopped in its tracks and continued: what changed meanwhile is seen before it is relied on', async () => {
  const { service, shows, range, rangeShows, port } = world();
  await controller.kill('SIGTERM');
  controller = await world().start(...PATIENT);
  await range('paused', 30180, 30189);
  await rangeShows('paused', { capacity: 10 });
  controller.signal('SIGSTOP');
  await service('a-dev/before', { range: 'paused' });
  await service('rival/taken', { ports: [{ port: 80, nodePort: 30180 }] });
  await service('a-dev/after', { range: 'paused' });
  controller.signal('SIGCONT');
  await shows('a-dev/before', 'Assigned');
  await shows('a-dev/after', 'Assigned');
  expect(await port('rival/taken')).toBe(30180);
});

test('rivals that take numbers of the range by hand all the while: everybody gets another, no theft', async () => {
  const { service, range, rangeShows, checker } = world();
  const [first, last] = [30200, 30299];
  await range('contested', first, last);
  await rangeShows('contested', { capacity: 100 });
  const rivals = Array.from({ length: 40 }, async (_, i) => {
    try {
      await service(`rival/c-${i}`, { ports: [{ port: 80, nodePort: first + i }] });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 422) throw error;
    }
  });
  const asking = Array.from({ length: 40 }, (_, i) => service(`a-dev/c-${i}`, { range: 'contested' }));
  await Promise.all([...rivals, ...asking]);
  await eventually(() => expect(served('a-dev/c-')).toHaveLength(40));
  for (const object of served('a-dev/c-')) {
    for (const number of numbersOf(object)) expect(number).toBeGreaterThanOrEqual(first);
    for (const number of numbersOf(object)) expect(number).toBeLessThanOrEqual(last);
  }
  await checker.untilTableIsTrue();
});

describe('the apiserver', () => {
  const ask = (keys: string[]): Promise<unknown> =>
    Promise.all(keys.map((key) => world().service(key, { range: 'outage' })));
  const keys = (prefix: string): string[] => Array.from({ length: 20 }, (_, i) => `a-dev/${prefix}-${i}`);

  test('killed in the middle of work and started again: everybody is served, no number twice', async () => {
    const { cluster, range, rangeShows, checker, service } = world();
    await range('outage', 30400, 30499);
    await rangeShows('outage', { capacity: 100 });
    await ask(keys('down'));
    await eventually(() => expect(served('a-dev/down-').length).toBeGreaterThan(2));
    await cluster.restartApiserver();
    await service('a-dev/down-after', { range: 'outage' });
    await eventually(() => expect(served('a-dev/down-')).toHaveLength(21), RECOVERS_WITHIN_MS);
    await checker.untilTableIsTrue();
    expect(controller.running()).toBe(true);
    await eventually(async () => expect((await controller.readyz()).status).toBe(200));
  });

  test('stopped for a while: the controller stays alive and goes on by itself', async () => {
    const { cluster, checker, start } = world();
    // A new one: its backoffs have not grown in the outage before.
    await controller.kill('SIGTERM');
    controller = await start(...PATIENT);
    await cluster.stopApiserver();
    const since = (await controller.logs()).length;
    await eventually(async () => {
      const failed = (await controller.logs())
        .slice(since)
        .filter(({ msg }) => msg === 'list or watch failed');
      expect(new Set(failed.map(({ name }) => name))).toEqual(
        new Set(['services', 'namespaces', 'portranges', 'table']),
      );
    });
    // Ready: its caches are younger than their watches' bookmarks, and an outage is no reason to restart it.
    expect((await controller.readyz()).status).toBe(200);
    expect((await controller.healthz()).status).toBe(200);
    await cluster.startApiserver();
    await ask(keys('up'));
    await eventually(() => expect(served('a-dev/up-')).toHaveLength(20), RECOVERS_WITHIN_MS);
    await checker.untilTableIsTrue();
  });
});

test('who names a number that another Service holds is refused by the apiserver itself', async () => {
  const [number = 0] = numbersOf((await world().shows('a-dev/web', 'Assigned')) satisfies Service);
  const taking = world().service('rival/thief', { ports: [{ port: 80, nodePort: number }] });
  expect((await refusalOf(taking)).status).toBe(422);
});
