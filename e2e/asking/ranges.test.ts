import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { type PortRange, RANGES, type Service } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import { asks, portsOf, scene, secondAfter } from './asking.ts';

const world = useWorld(async (w) => {
  for (const name of ['lists', 'autos', 'ages', 'nobody']) await w.namespace(name);
  await w.start();
});

const { range, served, annotate, writesTo } = scene(world);

describe('a list of ranges', () => {
  const only = { namespaces: ['lists'] };

  test('is served from the first that can, in the order of the list', async () => {
    const { shows } = world();
    await range('first', 30100, 30100, only);
    await range('second', 30101, 30102, only);
    await served('lists/a', { range: 'first,second' });
    await shows('lists/a', 'Assigned', 'holds http 30100 from first');
    await served('lists/b', { range: 'first, second' });
    await shows('lists/b', 'Assigned', 'holds http 30101 from second');
    await range('third', 30103, 30103, only);
    await served('lists/c', { range: 'third,second' });
    await shows('lists/c', 'Assigned', 'holds http 30103 from third');
    await served('lists/d', { range: 'second,third' });
    await shows('lists/d', 'Assigned', 'holds http 30102 from second');
  });

  test('when every candidate refuses, the reason is that of the first, and the message names each', async () => {
    const { service, shows } = world();
    await range('stopped', 30104, 30104, { ...only, paused: true });
    await range('others', 30105, 30105, { namespaces: ['autos'] });
    const web = await service('lists/e', { range: 'no-such,stopped,others,first' });
    await shows(
      'lists/e',
      'RangeNotFound',
      `PortRange "no-such" does not exist; PortRange stopped is paused; PortRange others does not admit namespace lists; first has too few free ports: 1 needed; temporarily on ${portsOf(web)[0]}`,
    );
    await annotate('lists/e', { range: 'first,no-such' });
    await shows(
      'lists/e',
      'RangeExhausted',
      `first has too few free ports: 1 needed; PortRange "no-such" does not exist; temporarily on ${portsOf(web)[0]}`,
    );
  });

  test('of more than five that refuse, the others are counted', async () => {
    await annotate('lists/e', { range: 'n-1,n-2,n-3,n-4,n-5,n-6,n-7' });
    const named = [1, 2, 3, 4, 5].map((i) => `PortRange "n-${i}" does not exist`).join('; ');
    await world().shows(
      'lists/e',
      'RangeNotFound',
      new RegExp(`^${named}; and 2 more PortRanges; temporarily on \\d+$`),
    );
  });

  test('a Service that waits for several ranges is served by whichever has a number first', async () => {
    const { shows, remove } = world();
    await annotate('lists/e', { range: 'first,second' });
    await shows(
      'lists/e',
      'RangeExhausted',
      /^first has too few free ports: 1 needed; second has too few free ports: 1 needed; temporarily on \d+$/,
    );
    await world().rangeShows('first', { pending: 1 });
    await world().rangeShows('second', { pending: 0 });
    await remove('lists/d');
    await shows('lists/e', 'Assigned', 'holds http 30102 from second');
  });

  test('a holder stays where it is when an earlier range of its list can serve again', async () => {
    const { remove, get } = world();
    await remove('lists/a');
    expect(await served('lists/f', { range: 'first' })).toEqual([30100]);
    expect(portsOf(await get('lists/e'))).toEqual([30102]);
    expect(portsOf(await get('lists/b'))).toEqual([30101]);
  });

  test('naming a range twice means the same as once: nothing is written', async () => {
    const before = await writesTo('lists/f');
    await annotate('lists/f', { range: ' first ,first' });
    await world().remove('lists/c');
    expect(await served('lists/g', { range: 'third, third' })).toEqual([30103]);
    expect(await writesTo('lists/f')).toEqual(before);
  });
});

describe('auto', () => {
  test('takes the range of the highest priority that admits the Service, then the next one', async () => {
    const { shows } = world();
    const only = { namespaces: ['autos'] };
    await range('low', 30110, 30110, { ...only, priority: -1 });
    await range('high', 30111, 30111, { ...only, priority: 10 });
    await range('higher', 30112, 30112, { namespaces: ['lists'], priority: 20 });
    await served('autos/a', { range: 'auto' });
    await shows('autos/a', 'Assigned', 'holds http 30111 from high');
    await served('autos/b', { range: 'auto' });
    await shows('autos/b', 'Assigned', 'holds http 30105 from others');
    await served('autos/c', { range: 'auto' });
    await shows('autos/c', 'Assigned', 'holds http 30110 from low');
  });

  test('that finds no number names each range it asked, best first, and waits for all of them', async () => {
    const { service, shows, remove } = world();
    await service('autos/d', { range: 'auto' });
    await shows(
      'autos/d',
      'RangeExhausted',
      /^high has too few free ports: 1 needed; others has too few free ports: 1 needed; low has too few free ports: 1 needed; temporarily on \d+$/,
    );
    await remove('autos/c');
    await shows('autos/d', 'Assigned', 'holds http 30110 from low');
  });

  test('of equal priority the older range is better, whatever its name', async () => {
    const { shows } = world();
    const only = { namespaces: ['ages'], priority: 5 };
    await range('z-older', 30113, 30113, only);
    const { metadata } = await world().client.get<PortRange>(`${RANGES}/z-older`);
    await secondAfter(metadata.creationTimestamp);
    await range('a-younger', 30114, 30114, only);
    await served('ages/a', { range: 'auto' });
    await shows('ages/a', 'Assigned', 'holds http 30113 from z-older');
    await served('ages/b', { range: 'auto' });
    await shows('ages/b', 'Assigned', 'holds http 30114 from a-younger');
  });

  test('of equal age the first by name is better', async () => {
    const { shows, rangeShows, client } = world();
    const only = { namespaces: ['ages'], priority: 50 };
    // Until both begin in the same second.
    await eventually(async () => {
      const b = await world().range('twin-b', 30115, 30115, only);
      const a = await world().range('twin-a', 30116, 30116, only);
      if (a.metadata.creationTimestamp === b.metadata.creationTimestamp) return;
      await Promise.all(['twin-a', 'twin-b'].map((name) => client.delete(`${RANGES}/${name}`)));
      throw new Error('the clock struck between them');
    });
    await Promise.all(['twin-a', 'twin-b'].map((name) => rangeShows(name, { observedGeneration: 1 })));
    await served('ages/c', { range: 'auto' });
    await shows('ages/c', 'Assigned', 'holds http 30116 from twin-a');
  });

  test('where no PortRange admits the Service: NotAdmitted, until one does', async () => {
    const { service, shows } = world();
    const web = await service('nobody/a', { range: 'auto' });
    await shows(
      'nobody/a',
      'NotAdmitted',
      `no PortRange admits this Service; temporarily on ${portsOf(web)[0]}`,
    );
    await range('somebody', 30117, 30117, { namespaces: ['nobody'] });
    await shows('nobody/a', 'Assigned', 'holds http 30117 from somebody');
  });

  test('a holder stays when a better range appears', async () => {
    const { get, shows } = world();
    await range('best', 30118, 30119, { namespaces: ['nobody'], priority: 100 });
    await served('nobody/b', { range: 'auto' });
    await shows('nobody/b', 'Assigned', 'holds http 30118 from best');
    await shows('nobody/a', 'Assigned', 'holds http 30117 from somebody');
    expect(portsOf(await get('nobody/a'))).toEqual([30117]);
  });
});

describe('a Service that nothing reaches', () => {
  let web: Service;

  test('shows nothing and is never written; its number is respected and counted', async () => {
    const { service, checker, rangeShows } = world();
    await range('mixed', 30120, 30129, { namespaces: ['lists'] });
    web = await service('lists/alone', { ports: [{ name: 'http', port: 80, nodePort: 30120 }] });
    expect(await served('lists/asks', { range: 'mixed' })).toEqual([30121]);
    await rangeShows('mixed', { foreign: 1, allocated: 1 });
    expect(checker.service('lists/alone')).toEqual(web);
    expect(await writesTo('lists/alone')).toEqual([]);
  });

  test('nor is one that says none, even with ports beside it', async () => {
    const { service, checker } = world();
    const none = await service('lists/none', asks({ range: ' none ', ports: '30122' }));
    expect(await served('lists/asks-2', { range: 'mixed' })).toEqual([30122]);
    expect(checker.service('lists/none')).toEqual(none);
    expect(await writesTo('lists/none')).toEqual([]);
  });

  test('and it holds a number only once it asks: then the number is adopted', async () => {
    const { shows } = world();
    await annotate('lists/alone', { range: 'mixed' });
    await shows('lists/alone', 'Adopted', 'holds http 30120 from mixed');
    expect((await world().get('lists/alone')).spec).toEqual(web.spec);
  });
});
