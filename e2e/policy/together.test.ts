import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { refusalOf, useWorld } from '../support/world.ts';

const POLICY = join(import.meta.dirname, '../../config/policy');

let controller: ControllerProcess;

/** The policy and the controller, which writes what the policy reads. */
const world = useWorld(async ({ namespace, range, start }) => {
  await namespace('a');
  await namespace('b');
  controller = await start();
  await range('team-a', 30_100, 30_149, { namespaces: ['a'] });
});

const naming = (nodePort: number) => ({ ports: [{ port: 80, nodePort }] });

/** Why a Service of that namespace may not name that number. */
async function refusal(namespace: string, number: number): Promise<string> {
  const key = `${namespace}/refused`;
  const { status, message } = await refusalOf(
    world()
      .service(key, naming(number))
      .then(() => world().remove(key)),
  );
  expect(status, message).toBe(403);
  return message;
}

describe('Without the policy', () => {
  test('a segment is a convention: anybody may name a number of it, which is then seen as foreign', async () => {
    await world().rangeShows('team-a', { free: 50, foreign: 0 });
    await world().service('b/stranger', naming(30_100));
    await world().rangeShows('team-a', { free: 49, foreign: 1 });
  });
});

describe('With the policy', () => {
  beforeAll(async () => {
    await world().kubectl(`apply --validate=strict -k ${POLICY}`);
    await eventually(() => refusal('b', 30_149));
  });

  test('a Service that is admitted gets numbers of the segment from the controller, at once and when it asks later', async () => {
    await world().service('a/web', { range: 'team-a', ports: [{ name: 'http', port: 80 }] });
    await world().shows('a/web', 'Assigned', 'holds http 30101 from team-a');
    await world().service('a/later');
    await world().ask('a/later', 'team-a');
    await world().shows('a/later', 'Assigned');
    expect(await world().port('a/later')).toBe(30_102);
  });

  test('a number that an admitted Service names is adopted', async () => {
    await world().service('a/named', { range: 'team-a', ...naming(30_120) });
    await world().shows('a/named', 'Adopted');
  });

  test('who is refused leaves the number to those who are admitted', async () => {
    expect(await refusal('b', 30_121)).toContain('node port 30121 belongs to the PortRange team-a');
    await world().service('a/next', naming(30_121));
    await world().rangeShows('team-a', { allocated: 3, foreign: 2, free: 45 });
  });

  test('a random number inside a segment of others passes, and is seen at once as foreign', async () => {
    await world().range('wide', 30_228, 63_999, { namespaces: ['a'] });
    await world().rangeShows('wide', { foreign: 0 });
    await eventually(async () => expect(await refusal('b', 30_228)).toContain('the PortRange wide'));
    await world().service('b/random');
    expect(await world().port('b/random')).toBeGreaterThanOrEqual(30_228);
    await world().rangeShows('wide', { foreign: 1 });
    await world().kubectl('delete npr wide');
  });

  test('where two PortRanges overlap, the older one keeps the shared numbers, and the younger has the rest', async () => {
    await world().range('team-b', 30_140, 30_169, { namespaces: ['b'] });
    await world().rangeShows('team-b', { effective: [{ from: 30_150, to: 30_169 }] });
    await eventually(() => world().service('a/shared', naming(30_145)));
    expect(await refusal('b', 30_146)).toContain('node port 30146 belongs to the PortRange team-a,');
    expect(await refusal('a', 30_150)).toContain('node port 30150 belongs to the PortRange team-b,');
    await world().service('b/rest', naming(30_150));
  });

  test('a holder may be edited when its PortRange admits it no more; what it names anew is refused', async () => {
    await world().editRange('team-a', { namespaces: ['somebody-else'] });
    await world().shows('a/web', 'HeldOutOfRange');
    await eventually(async () => expect(await refusal('a', 30_130)).toContain('the PortRange team-a'));
    const edited = await world().edit('a/web', { selector: { app: 'new' } });
    expect(edited.spec.ports[0]?.nodePort).toBe(30_101);
    const { status } = await refusalOf(world().edit('a/web', naming(30_130)));
    expect(status).toBe(403);
  });

  test('it protects as before when the controller is gone', async () => {
    await controller.kill('SIGTERM');
    expect(await refusal('b', 30_131)).toContain('node port 30131 belongs to the PortRange team-a,');
    await world().service('b/own', naming(30_151));
  });
});
