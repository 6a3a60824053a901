import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { conditionOf, numbersOf, RANGES } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

const world = useWorld(async (w) => {
  await w.namespace('a-dev', { team: 'a' });
  await w.namespace('b-dev', { team: 'b' });
  await w.start();
});

async function rangeOf(name: string, from: number, to: number, spec: object = {}): Promise<void> {
  await world().range(name, from, to, spec);
  await world().rangeShows(name, { observedGeneration: 1 });
}

async function served(key: string, range: string): Promise<number> {
  await world().service(key, { range });
  const { spec } = await world().shows(key, 'Assigned');
  return spec.ports[0]?.nodePort ?? 0;
}

describe('admission', () => {
  test('by name: a namespace that the range does not name is NotAdmitted', async () => {
    const { service, shows } = world();
    await rangeOf('named', 30100, 30109, { namespaces: ['a-dev'] });
    await served('a-dev/named', 'named');
    await service('b-dev/named', { range: 'named' });
    await shows(
      'b-dev/named',
      'NotAdmitted',
      /^PortRange named does not admit namespace b-dev; temporarily on/,
    );
    await world().rangeShows('named', { pending: 1 });
  });

  test('by label: a label that comes later serves the Service that waits', async () => {
    const { service, shows, kubectl } = world();
    await rangeOf('labelled', 30110, 30119, { namespaceSelector: { matchLabels: { tier: 'edge' } } });
    await service('b-dev/labelled', { range: 'labelled' });
    await shows('b-dev/labelled', 'NotAdmitted');
    await kubectl('label namespace b-dev tier=edge');
    await shows('b-dev/labelled', 'Assigned', 'holds http 30110 from labelled');
  });

  test('that ends leaves the holder its port, and shows it', async () => {
    const { shows, kubectl } = world();
    await kubectl('label namespace b-dev tier-');
    await shows(
      'b-dev/labelled',
      'HeldOutOfRange',
      'holds http 30110 outside labelled: labelled does not admit namespace b-dev',
    );
  });

  test('a namespace that appears later is served by its labels', async () => {
    const { namespace, service, shows } = world();
    await namespace('c-dev', { tier: 'edge' });
    await service('c-dev/web', { range: 'labelled' });
    await shows('c-dev/web', 'Assigned', 'holds http 30111 from labelled');
  });
});

describe('requests that cannot be served', () => {
  test('RangeNotFound, until the range is created', async () => {
    const { service, shows } = world();
    await service('a-dev/early', { range: 'later' });
    await shows('a-dev/early', 'RangeNotFound', /^PortRange "later" does not exist; temporarily on \d+$/);
    await rangeOf('later', 30120, 30129);
    await shows('a-dev/early', 'Assigned', 'holds http 30120 from later');
  });

  test('InvalidRequest quotes the offending text, escaped and cut', async () => {
    const { service, shows, ask } = world();
    await service('a-dev/bad', { range: 'Team\u202e"A"\n\u001b[31m' });
    const { spec } = await shows('a-dev/bad', 'InvalidRequest');
    await shows('a-dev/bad', 'InvalidRequest', /"Team\\u202e\\"A\\"\\n\\u001b\[31m"/);
    expect(spec.ports[0]?.nodePort).toBeGreaterThan(0);
    await ask('a-dev/bad', 'x'.repeat(500));
    await shows('a-dev/bad', 'InvalidRequest', /x{80}…/);
    await ask('a-dev/bad', '');
    await shows('a-dev/bad', 'InvalidRequest', /is empty/);
    await ask('a-dev/bad', 'later');
    await shows('a-dev/bad', 'Assigned', 'holds http 30121 from later');
  });

  test('a holder with a bad request keeps what it has, and says both', async () => {
    const { ask, shows, get } = world();
    const before = numbersOf(await get('a-dev/bad'));
    await ask('a-dev/bad', '!');
    await shows('a-dev/bad', 'InvalidRequest', /^holds http 30121 from later; .*"!"/);
    expect(numbersOf(await get('a-dev/bad'))).toEqual(before);
    await ask('a-dev/bad', 'later');
    await shows('a-dev/bad', 'Assigned', 'holds http 30121 from later');
  });

  test('NoNodePorts for a ClusterIP Service, which is served when its type changes', async () => {
    const { service, shows, edit } = world();
    await service('a-dev/cluster-ip', { range: 'later', type: 'ClusterIP' });
    await shows('a-dev/cluster-ip', 'NoNodePorts', 'a Service of type "ClusterIP" has no node ports');
    await edit('a-dev/cluster-ip', { type: 'NodePort' });
    await shows('a-dev/cluster-ip', 'Assigned', 'holds http 30122 from later');
  });
});

describe('the range', () => {
  test('never gives its excluded numbers', async () => {
    await rangeOf('holes', 30130, 30135, { excluded: [{ from: 30130, to: 30132 }, { from: 30134 }] });
    expect(await served('a-dev/hole-1', 'holes')).toBe(30133);
    expect(await served('a-dev/hole-2', 'holes')).toBe(30135);
    await world().service('a-dev/hole-3', { range: 'holes' });
    await world().shows('a-dev/hole-3', 'RangeExhausted');
  });

  test('excludes a number later: its holder stays', async () => {
    const { editRange, shows } = world();
    await editRange('holes', { excluded: [{ from: 30133, to: 30134 }] });
    await shows('a-dev/hole-1', 'HeldOutOfRange', 'holds http 30133 outside holes: holes excludes 30133');
    await shows('a-dev/hole-3', 'Assigned', 'holds http 30130 from holes');
  });

  test('shrinks: holders stay and show HeldOutOfRange; grows again: Assigned again', async () => {
    const { editRange, shows, rangeShows } = world();
    await rangeOf('shrinks', 30140, 30149);
    expect(await served('a-dev/shrink', 'shrinks')).toBe(30140);
    await editRange('shrinks', { ranges: [{ from: 30145, to: 30149 }] });
    await shows(
      'a-dev/shrink',
      'HeldOutOfRange',
      'holds http 30140 outside shrinks: shrinks (30145-30149) does not contain 30140',
    );
    await rangeShows('shrinks', { capacity: 5, allocated: 0, outOfRange: 1 });
    await editRange('shrinks', { ranges: [{ from: 30140, to: 30149 }] });
    await shows('a-dev/shrink', 'Assigned', 'holds http 30140 from shrinks');
    await rangeShows('shrinks', { allocated: 1, outOfRange: 0 });
  });

  test('is deleted: holders stay and show it; deleting never hangs', async () => {
    const { client, shows, kubectl } = world();
    await kubectl('delete npr shrinks --timeout=10s');
    await shows(
      'a-dev/shrink',
      'HeldOutOfRange',
      'holds http 30140 outside shrinks: PortRange "shrinks" does not exist',
    );
    const { items } = await client.list<{ metadata: { name: string } }>(RANGES);
    expect(items.map(({ metadata }) => metadata.name)).not.toContain('shrinks');
  });

  test('is created again: the holder holds from it again', async () => {
    await rangeOf('shrinks', 30140, 30149);
    await world().shows('a-dev/shrink', 'Assigned', 'holds http 30140 from shrinks');
    expect(await served('a-dev/shrink-2', 'shrinks')).toBe(30141);
  });

  test('is paused: it takes no new ones and keeps its holders; resumed, it serves', async () => {
    const { editRange, service, shows } = world();
    await editRange('shrinks', { paused: true });
    await service('a-dev/paused', { range: 'shrinks' });
    await shows('a-dev/paused', 'RangePaused', /^PortRange shrinks is paused; temporarily on \d+$/);
    await shows('a-dev/shrink', 'Assigned', 'holds http 30140 from shrinks');
    await editRange('shrinks', { paused: false });
    await shows('a-dev/paused', 'Assigned', 'holds http 30142 from shrinks');
  });

  test('overlaps an older one: the younger does without the shared numbers and says so', async () => {
    const { rangeShows } = world();
    await rangeOf('younger', 30145, 30154);
    await rangeShows('younger', {
      capacity: 5,
      effective: [{ from: 30150, to: 30154 }],
      conditions: expect.arrayContaining([
        expect.objectContaining({
          type: 'Overlapping',
          status: 'True',
          message: 'loses 30145-30149 to the older PortRange shrinks',
        }),
      ]),
    });
    expect(await served('a-dev/younger', 'younger')).toBe(30150);
  });
});

describe('a Service that changes its mind', () => {
  test('moves to another range by its own wish, with Pending before its ports move', async () => {
    const { ask, shows, checker } = world();
    await rangeOf('from', 30160, 30169);
    await rangeOf('to', 30170, 30179);
    expect(await served('a-dev/moves', 'from')).toBe(30160);
    await ask('a-dev/moves', 'to');
    await shows('a-dev/moves', 'Assigned', 'holds http 30170 from to');
    const steps = checker
      .revisions('a-dev/moves')
      .map(({ object }) => [conditionOf(object)?.reason, ...numbersOf(object)]);
    expect(steps.slice(-4)).toEqual([
      ['Assigned', 30160],
      ['Pending', 30160],
      ['Pending', 30170],
      ['Assigned', 30170],
    ]);
    await eventually(() => expect(checker.table().get(30160)?.state).toBe('Released'));
    await checker.untilTableIsTrue();
  });

  test('and asks for a range that cannot serve it: keeps what it holds until it can', async () => {
    const { ask, shows } = world();
    await ask('a-dev/moves', 'not-yet');
    await shows(
      'a-dev/moves',
      'RangeNotFound',
      'holds http 30170 from to; PortRange "not-yet" does not exist',
    );
    await rangeOf('not-yet', 30180, 30189);
    await shows('a-dev/moves', 'Assigned', 'holds http 30180 from not-yet');
  });

  test('and back before anything happened: nothing moves', async () => {
    const { ask, shows } = world();
    await ask('a-dev/moves', 'nowhere');
    await shows('a-dev/moves', 'RangeNotFound', /^holds http 30180 from not-yet; /);
    await ask('a-dev/moves', 'not-yet');
    await shows('a-dev/moves', 'Assigned', 'holds http 30180 from not-yet');
  });

  test.each([
    ['removes the annotation', undefined],
    ['asks for none', 'none'],
  ])('and %s: keeps its ports, loses condition and table entry', async (_, range) => {
    const { ask, showsNothing, checker, rangeShows, shows } = world();
    await ask('a-dev/moves', range);
    const { spec } = await showsNothing('a-dev/moves');
    expect(spec.ports[0]?.nodePort).toBe(30180);
    await eventually(() => expect(checker.table().has(30180)).toBe(false));
    await rangeShows('not-yet', { allocated: 0, foreign: 1 });
    await ask('a-dev/moves', 'not-yet');
    await shows('a-dev/moves', 'Assigned', 'holds http 30180 from not-yet');
  });
});

test('two Services that swap their ranges both get what they ask for', async () => {
  const { ask, shows } = world();
  await rangeOf('one', 30190, 30190, { cooldown: '0s' });
  await rangeOf('two', 30191, 30192, { cooldown: '0s' });
  await served('a-dev/s-1', 'one');
  await served('a-dev/s-2', 'two');
  await Promise.all([ask('a-dev/s-1', 'two'), ask('a-dev/s-2', 'one')]);
  await shows('a-dev/s-1', 'Assigned', 'holds http 30192 from two');
  await shows('a-dev/s-2', 'Assigned', 'holds http 30190 from one');
});
