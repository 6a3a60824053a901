import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { conditionOf } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

const SERVED_WITHIN_MS = 1000;
const COOLDOWN_MS = 4000;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.start();
});

/** When the checker's watch first showed the Service with the condition True, on the clock of performance.now(). */
function servedAt(key: string): number {
  const served = world()
    .checker.revisions(key)
    .find(({ object }) => conditionOf(object)?.status === 'True');
  return served?.at ?? Number.NaN;
}

describe('a range of 5 ports, asked by 8 Services', () => {
  const all = [1, 2, 3, 4, 5, 6, 7, 8].map((i) => `a-dev/w-${i}`);

  test('five are served; three wait, each temporarily on its random port', async () => {
    const { range, rangeShows, service, shows } = world();
    await range('small', 31100, 31104, { cooldown: '0s' });
    await rangeShows('small', { capacity: 5 });
    for (const key of all) await service(key, { range: 'small' });
    for (const [i, key] of all.slice(0, 5).entries())
      await shows(key, 'Assigned', `holds http ${31100 + i} from small`);
    for (const key of all.slice(5)) {
      const { spec } = await shows(key, 'RangeExhausted', /^small has too few free ports: 1 needed; /);
      await shows(key, 'RangeExhausted', new RegExp(`; temporarily on ${spec.ports[0]?.nodePort}$`));
    }
  });

  test('the range says that it is exhausted, and who waits', async () => {
    const { client, rangeShows, kubectl } = world();
    await rangeShows('small', { free: 0, pending: 3, usedPercent: 100, allocated: 5 });
    await kubectl('wait --for=condition=Exhausted npr/small --timeout=10s');
    await eventually(async () => {
      const { items } = await client.list<{ reason: string; regarding: { name: string } }>(
        '/apis/events.k8s.io/v1/namespaces/default/events',
      );
      const reasons = items.filter(({ regarding }) => regarding.name === 'small').map(({ reason }) => reason);
      expect(reasons).toEqual(['RangeExhausted']);
    });
  });

  test.each([
    ['w-3', 'w-6', ['w-7', 'w-8']],
    ['w-1', 'w-7', ['w-8']],
    ['w-6', 'w-8', []],
  ])('when %s goes, %s is served within 1 s, and no other', async (gone, next, others) => {
    const { remove, shows, port, checker } = world();
    const freed = await port(`a-dev/${gone}`);
    await remove(`a-dev/${gone}`);
    const releasedAt = performance.now();
    await shows(`a-dev/${next}`, 'Assigned', `holds http ${freed} from small`);
    expect(servedAt(`a-dev/${next}`) - releasedAt).toBeLessThan(SERVED_WITHIN_MS);
    for (const other of others) {
      const waiting = checker.service(`a-dev/${other}`);
      expect(waiting && conditionOf(waiting)?.reason, other).toBe('RangeExhausted');
    }
  });

  test('a newcomer waits behind those who wait, also one that needs more', async () => {
    const { service, shows, remove, editRange } = world();
    const ports = [
      { name: 'http', port: 80 },
      { name: 'https', port: 443 },
    ];
    await service('a-dev/x-first', { range: 'small', ports });
    await shows('a-dev/x-first', 'RangeExhausted', /2 needed/);
    await service('a-dev/x-second', { range: 'small' });
    await shows('a-dev/x-second', 'RangeExhausted');
    await remove('a-dev/w-2');
    await remove('a-dev/w-4');
    // One number alone serves the second; both serve the first when they come together or the range grows.
    await editRange('small', { ranges: [{ from: 31100, to: 31106 }] });
    await shows('a-dev/x-first', 'Assigned');
    await shows('a-dev/x-second', 'Assigned');
    await world().rangeShows('small', { pending: 0 });
  });
});

describe('a number that was released', () => {
  test('is given to nobody else before its cooldown ends, and then to who waits', async () => {
    const { range, rangeShows, service, shows, remove, checker } = world();
    await range('resting', 31200, 31200, { cooldown: `${COOLDOWN_MS / 1000}s` });
    await rangeShows('resting', { capacity: 1 });
    await service('a-dev/old', { range: 'resting' });
    await shows('a-dev/old', 'Assigned', 'holds http 31200 from resting');
    await remove('a-dev/old');
    await service('a-dev/new', { range: 'resting' });
    await shows('a-dev/new', 'RangeExhausted');
    await rangeShows('resting', { coolingDown: 1, free: 0, allocated: 0 });
    const entry = checker.table().get(31200);
    expect(entry).toMatchObject({ state: 'Released', service: 'a-dev/old' });
    const until = Date.parse(entry?.until ?? '');
    await shows('a-dev/new', 'Assigned', 'holds http 31200 from resting');
    const given = performance.timeOrigin + servedAt('a-dev/new');
    expect(given).toBeGreaterThanOrEqual(until);
    expect(given - until).toBeLessThan(SERVED_WITHIN_MS);
    expect(checker.table().get(31200)?.previous).toMatchObject([{ service: 'a-dev/old' }]);
  });

  test('returns at once to the same namespace/name within the cooldown', async () => {
    const { range, rangeShows, service, shows, remove, checker } = world();
    await range('return', 31300, 31309);
    await rangeShows('return', { capacity: 10 });
    await service('a-dev/back', { range: 'return' });
    await shows('a-dev/back', 'Assigned', 'holds http 31300 from return');
    await remove('a-dev/back');
    await eventually(() => expect(checker.table().get(31300)?.state).toBe('Released'));
    await service('a-dev/other', { range: 'return' });
    await shows('a-dev/other', 'Assigned', 'holds http 31301 from return');
    await service('a-dev/back', { range: 'return' });
    await shows('a-dev/back', 'Assigned', 'holds http 31300 from return');
  });

  test('returns also when the Service is re-created before the controller noticed', async () => {
    const { service, shows, remove } = world();
    await remove('a-dev/back');
    await service('a-dev/back', { range: 'return' });
    await shows('a-dev/back', 'Assigned', 'holds http 31300 from return');
  });

  test('returns when the type goes from NodePort to ClusterIP and back within the cooldown', async () => {
    const { edit, shows, checker } = world();
    await edit('a-dev/back', { type: 'ClusterIP' });
    await shows('a-dev/back', 'NoNodePorts', 'a Service of type "ClusterIP" has no node ports');
    await eventually(() => expect(checker.table().get(31300)?.state).toBe('Released'));
    await edit('a-dev/back', { type: 'NodePort' });
    await shows('a-dev/back', 'Assigned', 'holds http 31300 from return');
    await checker.untilTableIsTrue();
  });

  test('is told in an event when its Service lives on', async () => {
    await eventually(async () => {
      const { items } = await world().client.list<{ reason: string; note: string }>(
        '/apis/events.k8s.io/v1/namespaces/a-dev/events',
      );
      const released = items.filter(({ reason }) => reason === 'PortsReleased');
      expect(released.map(({ note }) => note)).toEqual([
        expect.stringMatching(/^released 31300 to return; it rests until /),
      ]);
    });
  });
});
