import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { ControllerProcess } from '../support/controller.ts';
import { conditionOf, type ServiceOptions } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import { type Asks, asks, DNS, HTTP, HTTPS, portsOf, scene, secondAfter } from './asking.ts';

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  for (const name of ['a', 'b']) await w.namespace(name);
  controller = await w.start();
  await w.range('num', 30100, 30159, { namespaces: ['a'], cooldown: '0s' });
  await w.range('resting', 30160, 30169, { namespaces: ['a', 'b'], cooldown: '4s' });
  await w.rangeShows('resting', { observedGeneration: 1 });
});

const { served, annotate, range } = scene(world);

/** Creates a Service that shall wait, and checks what it says: `objection`, and where it is meanwhile. */
async function waits(key: string, said: Asks, objection: string, options?: ServiceOptions): Promise<void> {
  const created = await world().service(key, asks(said, options));
  const now = portsOf(created).filter((number) => number > 0);
  const meanwhile = now.length === 0 ? '' : `; temporarily on ${[...new Set(now)].join(', ')}`;
  await world().shows(key, 'PortTaken', `${objection}${meanwhile}`);
}

describe('exact numbers', () => {
  const two: ServiceOptions = { ports: [HTTP, HTTPS] };

  test('by the name of the port', async () => {
    expect(await served('a/names', { range: 'num', ports: 'https=30105,http=30104' }, two)).toEqual([
      30104, 30105,
    ]);
    await world().shows('a/names', 'Assigned', 'holds http 30104, https 30105 from num');
  });

  test('by the number of the port, blanks around it or not', async () => {
    const said = { range: 'num', ports: ' 443 = 30107 , 80=30106 ' };
    expect(await served('a/numbers', said, two)).toEqual([30106, 30107]);
  });

  test('ports that are not named are picked', async () => {
    expect(await served('a/half', { range: 'num', ports: 'https=30109' }, two)).toEqual([30100, 30109]);
  });

  test('the short form, for a Service with one distinct port: TCP and UDP share the number', async () => {
    expect(await served('a/short', { range: 'num', ports: '30110' })).toEqual([30110]);
    expect(await served('a/dns', { range: 'num', ports: '30111' }, { ports: DNS })).toEqual([30111, 30111]);
    await world().shows('a/dns', 'Assigned', 'holds dns 30111 from num');
    const unnamed = { ports: [{ port: 8080 }] };
    expect(await served('a/unnamed', { range: 'num', ports: '30112' }, unnamed)).toEqual([30112]);
    await world().shows('a/unnamed', 'Assigned', 'holds 8080 30112 from num');
  });

  test('naming one of TCP and UDP names both', async () => {
    const ports = [...DNS, HTTP];
    expect(await served('a/dns-2', { range: 'num', ports: 'dns-tcp=30113' }, { ports })).toEqual([
      30113, 30113, 30101,
    ]);
    expect(
      await served('a/dns-3', { range: 'num', ports: 'dns-tcp=30114,dns=30114' }, { ports: DNS }),
    ).toEqual([30114, 30114]);
  });

  test('a port that is called like the number of another is meant by its name', async () => {
    const ports = [
      { name: '443', port: 80 },
      { name: 'web', port: 443 },
    ];
    expect(await served('a/called', { range: 'num', ports: '443=30115' }, { ports })).toEqual([30115, 30102]);
  });

  test('without range they are looked for in every PortRange that admits the Service', async () => {
    const { shows } = world();
    await served('a/anywhere', { ports: '30162' });
    await shows('a/anywhere', 'Assigned', 'holds http 30162 from resting');
    await served('a/anywhere-2', { ports: 'http=30116' });
    await shows('a/anywhere-2', 'Assigned', 'holds http 30116 from num');
    await world().service('b/anywhere', asks({ ports: '30117' }));
    await shows(
      'b/anywhere',
      'RequestOutOfRange',
      /^resting \(30160-30169\) does not contain 30117; temporarily on \d+$/,
    );
  });

  test('of a list they are taken from the range that contains them', async () => {
    await served('a/list', { range: 'resting,num', ports: '30118' });
    await world().shows('a/list', 'Assigned', 'holds http 30118 from num');
  });

  test('that are explicitOnly go to who names them, and to nobody else', async () => {
    await range('reserved', 30170, 30172, { explicitOnly: [{ from: 30170, to: 30171 }] });
    expect(await served('a/plain', { range: 'reserved' })).toEqual([30172]);
    expect(await served('a/explicit', { range: 'reserved', ports: '30171' })).toEqual([30171]);
    await world().rangeShows('reserved', { free: 0, explicitOnlyFree: 1, allocated: 2 });
  });

  test('swapped within a Service are swapped in one write', async () => {
    const { shows, checker } = world();
    await annotate('a/names', { range: 'num', ports: 'https=30104,http=30105' });
    await shows('a/names', 'Assigned', 'holds http 30105, https 30104 from num');
    const seen = checker.revisions('a/names').map(({ object }) => portsOf(object).join());
    expect(new Set(seen.slice(-5))).toEqual(new Set(['30104,30105', '30105,30104']));
  });
});

describe('a number that is held', () => {
  test('is waited for; the condition names the holder, and it is served when the number is free', async () => {
    const { shows, remove, rangeShows } = world();
    await served('a/holder', { range: 'num', ports: '30120' });
    await waits('a/waiter', { range: 'num', ports: '30120' }, '30120 is held by a/holder');
    await rangeShows('num', { pending: 1 });
    await remove('a/holder');
    await shows('a/waiter', 'Assigned', 'holds http 30120 from num');
  });

  test('by a Service that nobody manages, or by a health check, is named in the same way', async () => {
    const { service, shows, remove } = world();
    await service('b/manual', { ports: [{ ...HTTP, nodePort: 30121 }] });
    const spec = { externalTrafficPolicy: 'Local', healthCheckNodePort: 30122 };
    await service('b/local', { type: 'LoadBalancer', spec });
    await waits('a/w-1', { range: 'num', ports: '30121' }, '30121 is held by b/manual');
    await waits('a/w-2', { range: 'num', ports: '30122' }, '30122 is held by b/local');
    await waits(
      'a/w-3',
      { range: 'num', ports: 'http=30121,https=30122' },
      '30121 is held by b/manual; 30122 is held by b/local',
      { ports: [HTTP, HTTPS] },
    );
    await remove('b/manual');
    await shows('a/w-1', 'Assigned', 'holds http 30121 from num');
    await shows('a/w-3', 'PortTaken', /^30121 is held by a\/w-1; 30122 is held by b\/local; /);
  });

  test('by the health check of the Service itself, says so', async () => {
    const spec = { externalTrafficPolicy: 'Local', healthCheckNodePort: 30123 };
    await waits(
      'a/own-check',
      { range: 'num', ports: '30123' },
      '30123 is the healthCheckNodePort of the Service itself',
      { type: 'LoadBalancer', spec },
    );
  });

  test('of more than five the others are counted', async () => {
    const ports = [1, 2, 3, 4, 5, 6, 7].map((port) => ({ name: `p-${port}`, port }));
    const numbers = ports.map(({ port }) => `${port}=${30123 + port}`).join(',');
    await served('a/seven', { range: 'num', ports: numbers }, { ports });
    const five = [30124, 30125, 30126, 30127, 30128]
      .map((number) => `${number} is held by a/seven`)
      .join('; ');
    await waits('a/seven-too', { range: 'num', ports: numbers }, `${five}; and 2 more`, { ports });
  });

  test('from several candidates: the message says whose it is', async () => {
    await served('a/w-5', { range: 'num', ports: '30131' });
    await waits(
      'a/w-6',
      { range: 'num,resting', ports: '30131' },
      'num: 30131 is held by a/w-5; resting (30160-30169) does not contain 30131',
    );
  });

  test('goes to who named it first, and never to a newcomer', async () => {
    const { remove, shows, service } = world();
    await served('a/x', { range: 'num', ports: '30140' });
    await served('a/old', { range: 'num' });
    await waits('a/first', { range: 'num', ports: '30140' }, '30140 is held by a/x');
    // Older, but it names the number later.
    await annotate('a/old', { range: 'num', ports: '30140' });
    await shows('a/old', 'PortTaken', /^holds http \d+ from num; 30140 is held by a\/x$/);
    await Promise.all([remove('a/x'), service('a/newcomer', asks({ range: 'num', ports: '30140' }))]);
    await shows('a/first', 'Assigned', 'holds http 30140 from num');
    await shows('a/newcomer', 'PortTaken', /^30140 is held by a\/first; /);
    await remove('a/first');
    await shows('a/old', 'Assigned', 'holds http 30140 from num');
    await remove('a/old');
    await shows('a/newcomer', 'Assigned', 'holds http 30140 from num');
  });

  test('and that was first waited for by somebody who turned to it from another, goes to who named it before', async () => {
    const { remove, shows } = world();
    await served('a/y', { range: 'num', ports: '30141' });
    await served('a/z', { range: 'num', ports: '30142' });
    await waits('a/turns', { range: 'num', ports: '30141' }, '30141 is held by a/y');
    await waits('a/steady', { range: 'num', ports: '30142' }, '30142 is held by a/z');
    await annotate('a/turns', { range: 'num', ports: '30142' });
    await shows('a/turns', 'PortTaken', /^30142 is held by a\/z; /);
    await remove('a/z');
    await shows('a/steady', 'Assigned', 'holds http 30142 from num');
    await shows('a/turns', 'PortTaken', /^30142 is held by a\/steady; /);
  });

  test('is not picked for a newcomer that names no number while it is free', async () => {
    const { remove, service, shows } = world();
    await range('pair', 30180, 30181);
    await served('a/p', { range: 'pair', ports: '30180' });
    await waits('a/q', { range: 'pair', ports: '30180' }, '30180 is held by a/p');
    await Promise.all([remove('a/p'), service('a/r', { range: 'pair' })]);
    await shows('a/q', 'Assigned', 'holds http 30180 from pair');
    await shows('a/r', 'Assigned', 'holds http 30181 from pair');
  });

  test('named by several at once goes to the oldest, then to the first by name', async () => {
    const { service, shows, remove, client } = world();
    await served('a/keeper', { range: 'num', ports: '30145' });
    await controller.kill('SIGTERM');
    const said = asks({ range: 'num', ports: '30145' });
    const oldest = await service('a/z-oldest', said);
    await secondAfter(oldest.metadata.creationTimestamp);
    await eventually(async () => {
      const b = await service('a/twin-b', said);
      const a = await service('a/twin-a', said);
      if (a.metadata.creationTimestamp === b.metadata.creationTimestamp) return;
      for (const name of ['twin-a', 'twin-b']) await client.delete(`/api/v1/namespaces/a/services/${name}`);
      throw new Error('the clock struck between them');
    });
    controller = await world().start();
    for (const key of ['a/z-oldest', 'a/twin-a', 'a/twin-b'])
      await shows(key, 'PortTaken', /^30145 is held by a\/keeper; /);
    const line = ['a/keeper', 'a/z-oldest', 'a/twin-a', 'a/twin-b'];
    for (const [i, next] of line.slice(1).entries()) {
      await remove(line[i] ?? '');
      await shows(next, 'Assigned', 'holds http 30145 from num');
    }
  });

  test('is served in the same order after a restart', async () => {
    const { shows, remove, checker } = world();
    await served('a/k', { range: 'num', ports: '30146' });
    await served('a/l-old', { range: 'num' });
    await waits('a/m', { range: 'num', ports: '30146' }, '30146 is held by a/k');
    // The order is kept to the second: conditions have no finer times.
    const before = checker.service('a/m');
    await secondAfter((before && conditionOf(before)?.lastTransitionTime) ?? '');
    await annotate('a/l-old', { range: 'num', ports: '30146' });
    await shows('a/l-old', 'PortTaken', /30146 is held by a\/k$/);
    await controller.kill('SIGKILL');
    controller = await world().start();
    await remove('a/k');
    await shows('a/m', 'Assigned', 'holds http 30146 from num');
    await shows('a/l-old', 'PortTaken', /30146 is held by a\/m$/);
  });
});

describe('a cooldown', () => {
  test('binds requests by number: the message says until when and for whom', async () => {
    const { remove, shows, checker, service } = world();
    await served('b/last', { range: 'resting', ports: '30160' });
    await remove('b/last');
    await eventually(() => expect(checker.table().get(30160)?.state).toBe('Released'));
    const until = Date.parse(checker.table().get(30160)?.until ?? '');
    await service('b/wants', asks({ range: 'resting', ports: '30160' }));
    const text = `^30160 rests until ${new Date(until).toISOString()} for its last owner b/last; temporarily on \\d+$`;
    await shows('b/wants', 'PortTaken', new RegExp(text));
    const { metadata } = await shows('b/wants', 'Assigned', 'holds http 30160 from resting');
    expect(metadata.name).toBe('wants');
    expect(Date.now()).toBeGreaterThanOrEqual(until);
  });

  test('does not bind the last owner, even while another waits for the number', async () => {
    const { remove, shows, checker } = world();
    await served('b/back', { range: 'resting', ports: '30161' });
    await remove('b/back');
    await eventually(() => expect(checker.table().get(30161)?.state).toBe('Released'));
    await world().service('b/wants-too', asks({ range: 'resting', ports: '30161' }));
    await shows('b/wants-too', 'PortTaken', /^30161 rests until .* for its last owner b\/back; /);
    expect(await served('b/back', { range: 'resting', ports: '30161' })).toEqual([30161]);
    await shows('b/wants-too', 'PortTaken', /^30161 is held by b\/back; temporarily on \d+$/);
  });

  test('binds the last owner when it asks for the number with another port', async () => {
    const { remove, shows, checker } = world();
    await served('b/other', { range: 'resting', ports: '30163' });
    await remove('b/other');
    await eventually(() => expect(checker.table().get(30163)?.state).toBe('Released'));
    await world().service('b/other', asks({ range: 'resting', ports: '30163' }, { ports: [HTTPS] }));
    await shows('b/other', 'PortTaken', /^30163 rests until .* for its last owner b\/other; /);
    await shows('b/other', 'Assigned', 'holds https 30163 from resting');
  });
});
