import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { type Namespace, RANGE_ANNOTATION, type Service } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import { asks, portsOf, scene, secondAfter } from './asking.ts';

const world = useWorld(async (w) => {
  for (const name of ['team', 'auto', 'both', 'later']) await w.namespace(name);
  await w.start();
});

const { range, served, annotate, writesTo } = scene(world);

/** Gives a Namespace a default, or with null takes it away. */
async function setDefault(namespace: string, value: string | null): Promise<void> {
  const metadata = { annotations: { [RANGE_ANNOTATION]: value } };
  await world().client.patch<Namespace>(`/api/v1/namespaces/${namespace}`, 'merge', { metadata });
}

describe('the default of a Namespace', () => {
  let old: Service;

  test('is for its Services with node ports that say nothing themselves', async () => {
    const { shows, service } = world();
    await range('house', 30100, 30109);
    await range('own', 30110, 30119);
    old = await service('team/old');
    await service('team/inside', { type: 'ClusterIP' });
    await secondAfter(old.metadata.creationTimestamp);
    await setDefault('team', 'house');
    expect(await served('team/new', {})).toEqual([30100]);
    await shows('team/new', 'Assigned', 'holds http 30100 from house');
  });

  test('never moves a Service that had node ports before it: it is HeldOutOfRange, and says why', async () => {
    const [number] = portsOf(old);
    await world().shows(
      'team/old',
      'HeldOutOfRange',
      `holds http ${number} outside house: house (30100-30109) does not contain ${number}, there before the default`,
    );
    expect(portsOf(await world().get('team/old'))).toEqual([number]);
  });

  test('nor one whose number fits: it is adopted', async () => {
    const { service, shows } = world();
    const { metadata } = await service('later/fits', {
      ports: [{ name: 'http', port: 80, nodePort: 30105 }],
    });
    await secondAfter(metadata.creationTimestamp);
    await setDefault('later', 'house');
    await shows('later/fits', 'Adopted', 'holds http 30105 from house');
  });

  test('leaves a ClusterIP Service alone, until it becomes a NodePort Service, which then is new', async () => {
    const { checker, edit, shows } = world();
    expect(checker.service('team/inside')?.status.conditions).toBeUndefined();
    expect(await writesTo('team/inside')).toEqual([]);
    await edit('team/inside', { type: 'NodePort' });
    await shows('team/inside', 'Assigned', 'holds http 30101 from house');
  });

  test('gives way to the annotation of the Service itself', async () => {
    const { shows, service } = world();
    await served('team/says', { range: 'own' });
    await shows('team/says', 'Assigned', 'holds http 30110 from own');
    await served('team/number', { ports: '30115' });
    await shows('team/number', 'Assigned', 'holds http 30115 from own');
    const none = await service('team/none', { range: 'none' });
    expect(await served('team/after', {})).toEqual([30102]);
    expect(world().checker.service('team/none')).toEqual(none);
  });

  test('is no request: the first annotation of its own moves a Service, taking it away does not', async () => {
    const { shows } = world();
    await annotate('team/after', { range: 'own' });
    await shows('team/after', 'Assigned', 'holds http 30111 from own');
    await annotate('team/after', {});
    await eventually(() => expect(world().checker.table().get(30111)?.request).toBe('default'));
    await shows('team/after', 'Assigned', 'holds http 30111 from own');
  });

  test('that changes moves nobody; who comes now gets the new one', async () => {
    const { get, shows } = world();
    await setDefault('team', 'own,house');
    expect(await served('team/newest', {})).toEqual([30112]);
    expect(portsOf(await get('team/new'))).toEqual([30100]);
    await shows('team/new', 'Assigned', 'holds http 30100 from house');
  });

  test('may be auto', async () => {
    await setDefault('team', 'auto');
    await served('team/auto', {});
    await world().shows('team/auto', 'Assigned', 'holds http 30102 from house');
  });

  test('that is malformed is reported on each Service that it reaches, and moves nobody', async () => {
    const { service, shows, get } = world();
    await setDefault('team', 'House!');
    const web = await service('team/misled');
    const complaint =
      'of the Namespace: nodeport-manager.io/range: "House!" is not the name of a PortRange (lowercase letters, digits, "-" and ".", at most 63)';
    await shows('team/misled', 'InvalidRequest', `${complaint}; temporarily on ${portsOf(web)[0]}`);
    await shows('team/new', 'InvalidRequest', `holds http 30100 from house; ${complaint}`);
    expect(portsOf(await get('team/new'))).toEqual([30100]);
    await shows('team/says', 'Assigned', 'holds http 30110 from own');
    await setDefault('team', 'house');
    await shows('team/new', 'Assigned', 'holds http 30100 from house');
    await shows('team/misled', 'Assigned', 'holds http 30103 from house');
  });

  test('that ends leaves everybody what they have, unmanaged', async () => {
    const { showsNothing, checker, rangeShows } = world();
    await setDefault('team', null);
    expect(portsOf(await showsNothing('team/new'))).toEqual([30100]);
    expect(portsOf(await showsNothing('team/old'))).toEqual(portsOf(old));
    await eventually(() => expect(checker.table().has(30100)).toBe(false));
    await rangeShows('house', { allocated: 1, foreign: 4 });
    await world().shows('team/says', 'Assigned');
  });
});

describe('assignment: Automatic', () => {
  const only = { namespaces: ['auto', 'both'], assignment: 'Automatic' };

  test('serves every admitted Service that has node ports, and no other', async () => {
    const { shows, service, checker } = world();
    const old = await service('auto/old');
    await secondAfter(old.metadata.creationTimestamp);
    await range('machine', 30120, 30129, only);
    await served('auto/web', {});
    await shows('auto/web', 'Assigned', 'holds http 30120 from machine');
    const [number] = portsOf(old);
    await shows(
      'auto/old',
      'HeldOutOfRange',
      `holds http ${number} outside machine: machine (30120-30129) does not contain ${number}, there before the default`,
    );
    const inside = await service('auto/inside', { type: 'ClusterIP' });
    const elsewhere = await service('team/elsewhere');
    expect(await served('auto/last', {})).toEqual([30121]);
    expect(checker.service('auto/inside')).toEqual(inside);
    expect(checker.service('team/elsewhere')).toEqual(elsewhere);
  });

  test('several of them are asked by priority', async () => {
    await range('better', 30130, 30130, { ...only, priority: 1 });
    await served('auto/best', {});
    await world().shows('auto/best', 'Assigned', 'holds http 30130 from better');
    await served('auto/next', {});
    await world().shows('auto/next', 'Assigned', 'holds http 30122 from machine');
  });

  test('the Service goes before the Namespace, the Namespace before Automatic', async () => {
    const { shows } = world();
    await setDefault('both', 'house');
    await served('both/namespace', {});
    await shows('both/namespace', 'Assigned', 'holds http 30104 from house');
    await served('both/service', { range: 'own' });
    await shows('both/service', 'Assigned', 'holds http 30113 from own');
    await setDefault('both', null);
    await served('both/automatic', {});
    await shows('both/automatic', 'Assigned', 'holds http 30123 from machine');
  });

  test('what fell back to Automatic stays where it is', async () => {
    const { shows, get } = world();
    await shows('both/namespace', 'Assigned', 'holds http 30104 from house');
    expect(portsOf(await get('both/namespace'))).toEqual([30104]);
  });

  test('none of the Service beats it, and none of the Namespace, too', async () => {
    const { service, checker, remove } = world();
    const none = await service('auto/none', asks({ range: 'none' }));
    await remove('both/namespace');
    await setDefault('both', 'none');
    const silent = await service('both/silent');
    expect(await served('both/asks', { range: 'own' })).toEqual([30114]);
    expect(checker.service('auto/none')).toEqual(none);
    expect(checker.service('both/silent')).toEqual(silent);
    await world().showsNothing('both/automatic');
    await setDefault('both', null);
    await world().shows('both/automatic', 'Assigned', 'holds http 30123 from machine');
  });

  test('one that finds no number waits, and says so', async () => {
    const { shows, editRange, remove, get } = world();
    await editRange('machine', { ranges: [{ from: 30120, to: 30123 }] });
    await world().service('auto/full');
    const [number] = portsOf(await get('auto/full'));
    await shows(
      'auto/full',
      'RangeExhausted',
      `better has too few free ports: 1 needed; machine has too few free ports: 1 needed; temporarily on ${number}`,
    );
    await remove('auto/last');
    await shows('auto/full', 'Assigned', 'holds http 30121 from machine');
  });

  test('a range that becomes Automatic moves nobody who was there before', async () => {
    const { editRange, service, shows } = world();
    await range('turns', 30140, 30149, { namespaces: ['later'] });
    await setDefault('later', null);
    await world().showsNothing('later/fits');
    const old = await service('later/old');
    await secondAfter(old.metadata.creationTimestamp);
    await editRange('turns', { assignment: 'Automatic' });
    const [number] = portsOf(old);
    await shows(
      'later/old',
      'HeldOutOfRange',
      `holds http ${number} outside turns: turns (30140-30149) does not contain ${number}, there before the default`,
    );
    await shows(
      'later/fits',
      'HeldOutOfRange',
      'holds http 30105 outside turns: turns (30140-30149) does not contain 30105, pinned by "unknown"',
    );
    expect(await served('later/new', {})).toEqual([30140]);
  });

  test('and one that ends to be leaves everybody what they have, unmanaged', async () => {
    const { editRange, showsNothing } = world();
    await editRange('turns', { assignment: 'Requested' });
    expect(portsOf(await showsNothing('later/new'))).toEqual([30140]);
    await showsNothing('later/old');
  });
});
