import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import {
  conditionOf,
  type PortRange,
  RANGES,
  type Service,
  service as serviceObject,
} from '../support/objects.ts';
import { youngerThan } from '../support/seconds.ts';
import { useWorld } from '../support/world.ts';

const world = useWorld(async (w) => {
  await w.namespace('a-dev', { team: 'a' });
  await w.start();
});

async function rangeOf(name: string, from: number, to: number, spec: object = {}): Promise<PortRange> {
  const created = await world().range(name, from, to, spec);
  await world().rangeShows(name, { observedGeneration: 1 });
  return created;
}

async function removeRange(name: string): Promise<void> {
  await world().kubectl(`delete npr ${name} --timeout=10s`);
}

async function served(key: string, range: string, message: string): Promise<void> {
  await world().service(key, { range });
  await world().shows(key, 'Assigned', message);
}

async function overlapping(range: string): Promise<string> {
  const { status } = await world().client.get<PortRange>(`${RANGES}/${range}`);
  const found = status?.conditions?.find(({ type }) => type === 'Overlapping');
  return `${found?.status}: ${found?.message}`;
}

/** How often our writes changed the Service's spec. */
async function specWrites(name: string): Promise<number> {
  const writes = await world().writes();
  return writes.filter((write) => write.resource === 'services' && write.name === name).length;
}

describe('two PortRanges overlap', () => {
  test('the older keeps the shared numbers; the younger is Overlapping, names it and does without them', async () => {
    const { rangeShows } = world();
    await youngerThan(await rangeOf('zz-older', 30100, 30109));
    await rangeOf('aa-younger', 30105, 30114);
    await rangeShows('aa-younger', { capacity: 5, effective: [{ from: 30110, to: 30114 }] });
    await eventually(async () =>
      expect(await overlapping('aa-younger')).toBe('True: loses 30105-30109 to the older PortRange zz-older'),
    );
    await rangeShows('zz-older', { capacity: 10 });
    await eventually(async () =>
      expect(await overlapping('zz-older')).toBe('False: keeps the ports it shares with aa-younger'),
    );
    await served('a-dev/first', 'aa-younger', 'holds http 30110 from aa-younger');
  });

  test('nothing that is held moves when an overlap comes and goes', async () => {
    const { editRange, shows, rangeShows } = world();
    await editRange('zz-older', { ranges: [{ from: 30100, to: 30112 }] });
    await shows(
      'a-dev/first',
      'HeldOutOfRange',
      'holds http 30110 outside aa-younger: 30110 belongs to the older PortRange zz-older',
    );
    await rangeShows('aa-younger', { capacity: 2, allocated: 0, outOfRange: 1 });
    await rangeShows('zz-older', { capacity: 13, allocated: 0, foreign: 1 });
    await editRange('zz-older', { ranges: [{ from: 30100, to: 30109 }] });
    await shows('a-dev/first', 'Assigned', 'holds http 30110 from aa-younger');
    expect(await specWrites('first')).toBe(1);
  });

  test('when the older goes the younger gets its numbers, and serves who waits', async () => {
    const { service, shows, rangeShows } = world();
    await youngerThan(await rangeOf('older', 30120, 30124));
    await served('a-dev/holds', 'older', 'holds http 30120 from older');
    await rangeOf('younger', 30120, 30124);
    await service('a-dev/waits', { range: 'younger' });
    await shows('a-dev/waits', 'RangeExhausted');
    await rangeShows('younger', { capacity: 0, usedPercent: 100, pending: 1 });
    await removeRange('older');
    await shows('a-dev/waits', 'Assigned', 'holds http 30121 from younger');
    await shows('a-dev/holds', 'HeldOutOfRange', /^holds http 30120 outside older: .* does not exist$/);
    await rangeShows('younger', { capacity: 5, allocated: 1, foreign: 1, pending: 0 });
    expect(await overlapping('younger')).toBe('False: no older PortRange has any of its ports');
  });

  test('the older, created again, is the younger; its holders hold from it where it can give', async () => {
    const { rangeShows, shows } = world();
    const younger = await world().client.get<PortRange>(`${RANGES}/younger`);
    await youngerThan(younger);
    await rangeOf('older', 30120, 30129);
    await rangeShows('older', { capacity: 5, outOfRange: 1, allocated: 0 });
    await shows(
      'a-dev/holds',
      'HeldOutOfRange',
      'holds http 30120 outside older: 30120 belongs to the older PortRange younger',
    );
    await shows('a-dev/waits', 'Assigned', 'holds http 30121 from younger');
  });

  test('of the same second: the name decides', async () => {
    const { rangeShows } = world();
    let [z, a]: string[] = ['z', 'a'];
    for (let i = 0; z !== a; i += 1) {
      if (i > 0) await Promise.all([removeRange('tie-z'), removeRange('tie-a')]);
      // Whichever the apiserver has first.
      const made = await Promise.all([
        world().range('tie-z', 30130, 30134),
        world().range('tie-a', 30130, 30134),
      ]);
      [z, a] = made.map(({ metadata }) => metadata.creationTimestamp);
    }
    await rangeShows('tie-z', { capacity: 0 });
    await rangeShows('tie-a', { capacity: 5 });
    expect(await overlapping('tie-z')).toBe('True: loses 30130-30134 to the older PortRange tie-a');
  });
});

describe('HeldOutOfRange says why its range would not give the number now', () => {
  const says = async (key: string, message: string): Promise<Service> =>
    world().shows(key, 'HeldOutOfRange', message);

  test('pinned by another manager', async () => {
    await rangeOf('why', 30140, 30149);
    const pinned = serviceObject('a-dev/pinned', {
      range: 'why',
      ports: [{ name: 'http', port: 80, nodePort: 30227 }],
    });
    await world().client.create('/api/v1/namespaces/a-dev/services?fieldManager=helm', pinned);
    await says(
      'a-dev/pinned',
      'holds http 30227 outside why: why (30140-30149) does not contain 30227, pinned by "helm"',
    );
  });

  test('there before a default', async () => {
    const { namespace, service, kubectl } = world();
    await namespace('old');
    const web = await service('old/web');
    const number = web.spec.ports[0]?.nodePort;
    await youngerThan(web);
    await kubectl('annotate namespace old nodeport-manager.io/range=why');
    await says(
      'old/web',
      `holds http ${number} outside why: why (30140-30149) does not contain ${number}, there before the default`,
    );
  });

  test('excluded since', async () => {
    await served('a-dev/why', 'why', 'holds http 30140 from why');
    await world().editRange('why', { excluded: [{ from: 30140 }] });
    await says('a-dev/why', 'holds http 30140 outside why: why excludes 30140');
  });

  test('no longer admitted', async () => {
    await world().editRange('why', { excluded: null, namespaceSelector: { matchLabels: { team: 'b' } } });
    await says('a-dev/why', 'holds http 30140 outside why: why does not admit namespace a-dev');
    await world().editRange('why', { namespaceSelector: null });
    await world().shows('a-dev/why', 'Assigned', 'holds http 30140 from why');
  });

  test('left by a shrink', async () => {
    await world().editRange('why', { ranges: [{ from: 30141, to: 30149 }] });
    await says('a-dev/why', 'holds http 30140 outside why: why (30141-30149) does not contain 30140');
  });

  test('left by a deleted range', async () => {
    await removeRange('why');
    await says('a-dev/why', 'holds http 30140 outside why: PortRange "why" does not exist');
  });

  test('lost to an overlap', async () => {
    const { range } = world();
    await youngerThan(await range('before', 30140, 30144));
    await range('why', 30140, 30149);
    await says('a-dev/why', 'holds http 30140 outside why: 30140 belongs to the older PortRange before');
    await removeRange('before');
    await world().shows('a-dev/why', 'Assigned', 'holds http 30140 from why');
  });

  test('and nobody has moved in all of this', async () => {
    const { checker } = world();
    expect(await specWrites('why')).toBe(1);
    expect(await specWrites('pinned')).toBe(0);
    expect(await specWrites('web')).toBe(0);
    const numbers = checker.revisions('a-dev/why').map(({ object }) => object.spec.ports[0]?.nodePort);
    expect(new Set(numbers.slice(1))).toEqual(new Set([30140]));
    expect(conditionOf(await world().get('a-dev/why'))?.status).toBe('True');
  });
});

test('a PortRange that shrinks while Services wait for what is cut away serves them from what is left', async () => {
  const { range, service, shows, editRange, rangeShows } = world();
  await range('cut', 30150, 30151);
  await service('a-dev/cut-1', { range: 'cut' });
  await service('a-dev/cut-2', { range: 'cut' });
  await shows('a-dev/cut-2', 'Assigned', 'holds http 30151 from cut');
  await service('a-dev/cut-3', { range: 'cut' });
  await shows('a-dev/cut-3', 'RangeExhausted');
  await editRange('cut', { ranges: [{ from: 30151, to: 30152 }] });
  await shows('a-dev/cut-3', 'Assigned', 'holds http 30152 from cut');
  await rangeShows('cut', { capacity: 2, allocated: 2, outOfRange: 1, free: 0, pending: 0 });
});
