import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { conditionOf, type Service, servicesPath } from '../support/objects.ts';
import { refusalOf, useWorld } from '../support/world.ts';
import { asks, DNS, HTTP, HTTPS, portsOf, scene } from './asking.ts';

const world = useWorld(async (w) => {
  await w.namespace('a');
  await w.namespace('b');
  await w.start();
});

const { range, served, annotate, steps } = scene(world);

/** Waits until the table says that the number rests. */
async function rests(number: number): Promise<void> {
  await eventually(() => expect(world().checker.table().get(number)?.state).toBe('Released'));
}

const append = (value: object) => ({ op: 'add', path: '/spec/ports/-', value });
const drop = (index: number) => ({ op: 'remove', path: `/spec/ports/${index}` });

function editPorts(key: string, ...operations: object[]): Promise<Service> {
  return world().client.patch(servicesPath(key), 'json', operations);
}

describe('a request that changes', () => {
  test('shows Pending first, moves, and lets the old numbers rest', async () => {
    const { shows, checker } = world();
    await range('main', 30100, 30119, { cooldown: '5m' });
    expect(await served('a/web', { range: 'main' }, { ports: [HTTP, HTTPS] })).toEqual([30100, 30101]);
    await annotate('a/web', { range: 'main', ports: 'http=30110,https=30111' });
    await shows('a/web', 'Assigned', 'holds http 30110, https 30111 from main');
    expect(steps('a/web').slice(-4)).toEqual([
      ['Assigned', 30100, 30101],
      ['Pending', 30100, 30101],
      ['Pending', 30110, 30111],
      ['Assigned', 30110, 30111],
    ]);
    const conditions = checker.revisions('a/web').map(({ object }) => conditionOf(object));
    expect(conditions.find((condition) => condition?.reason === 'Pending')).toMatchObject({
      status: 'Unknown',
      message: 'moves from 30100, 30101',
    });
    await rests(30100);
    await rests(30101);
    expect(await served('a/next', { range: 'main' })).toEqual([30102]);
  });

  test('kubectl wait for the condition cannot tell old from new, so wait for the number as well', async () => {
    const { kubectl } = world();
    await annotate('a/web', { range: 'main', ports: 'http=30112,https=30111' });
    const wait = 'wait -n a service/web --timeout=30s';
    await kubectl(`${wait} --for=jsonpath={.spec.ports[0].nodePort}=30112`);
    await kubectl(`${wait} --for=condition=nodeport-manager.io/Allocated`);
    expect(steps('a/web').slice(-2)).toEqual([
      ['Pending', 30112, 30111],
      ['Assigned', 30112, 30111],
    ]);
  });

  test('and names what it holds already moves nothing', async () => {
    const { get, checker } = world();
    await annotate('a/web', { range: 'main' });
    await eventually(() => expect(checker.table().get(30112)?.request).toBe('range=main'));
    expect(portsOf(await get('a/web'))).toEqual([30112, 30111]);
    expect(steps('a/web').at(-1)).toEqual(['Assigned', 30112, 30111]);
  });

  test('and cannot be served now: keeps what it holds, says what is missing, and is served when it can', async () => {
    const { shows, remove, kubectl, editRange, rangeShows } = world();
    await served('a/there', { range: 'main', ports: '30115' });
    await annotate('a/web', { range: 'main', ports: 'http=30115' });
    await shows('a/web', 'PortTaken', 'holds http 30112, https 30111 from main; 30115 is held by a/there');
    await kubectl('wait -n a service/web --for=condition=nodeport-manager.io/Allocated=False --timeout=9s');
    await editRange('main', { cooldown: '0s' });
    await rangeShows('main', { observedGeneration: 2 });
    await remove('a/there');
    await shows('a/web', 'Assigned', 'holds http 30115, https 30111 from main');
  });

  test.each([
    ['whose annotation is removed', {}],
    ['that says none', { range: 'none' }],
  ])('a Service %s keeps its ports, and loses condition and table entry', async (_, said) => {
    const { showsNothing, shows, checker, rangeShows } = world();
    await annotate('a/web', said);
    expect(portsOf(await showsNothing('a/web'))).toEqual([30115, 30111]);
    await eventually(() => expect([...checker.table().keys()]).not.toContain(30115));
    await rangeShows('main', { foreign: 2 });
    await annotate('a/web', { range: 'main' });
    await shows('a/web', 'Assigned', 'holds http 30115, https 30111 from main');
  });

  test('the number of one that stopped asking is waited for like any other', async () => {
    const { service, shows, showsNothing, remove } = world();
    await annotate('a/next', {});
    await showsNothing('a/next');
    await service('a/wants', asks({ range: 'main', ports: '30102' }));
    await shows('a/wants', 'PortTaken', /^30102 is held by a\/next; /);
    await remove('a/next');
    await shows('a/wants', 'Assigned', 'holds http 30102 from main');
  });
});

describe('ports of a Service', () => {
  test('one that is renamed by a PUT, for which the apiserver draws another number, keeps its own', async () => {
    const { get, client, shows } = world();
    await range('ports', 30120, 30123, { cooldown: '5m' });
    expect(await served('a/p', { range: 'ports' })).toEqual([30120]);
    const { metadata, spec } = await get('a/p');
    const ports = [{ name: 'web', port: 80, protocol: 'TCP' }];
    const body = { apiVersion: 'v1', kind: 'Service', metadata, spec: { ...spec, ports } };
    const renamed: Service = await client.put(servicesPath('a/p'), body);
    expect(portsOf(renamed)).not.toEqual([30120]);
    await shows('a/p', 'Assigned', 'holds web 30120 from ports');
    expect(portsOf(await get('a/p'))).toEqual([30120]);
  });

  test('one that is renamed by an apply, too', async () => {
    const { client, shows } = world();
    const annotations = { 'nodeport-manager.io/range': 'ports' };
    const apply = (name: string): Promise<Service> => {
      const ports = [{ name, port: 80, protocol: 'TCP' }];
      const spec = { type: 'NodePort', selector: { app: 'x' }, ports };
      const metadata = { name: 'applied', namespace: 'a', annotations };
      const body = { apiVersion: 'v1', kind: 'Service', metadata, spec };
      return client.patch(servicesPath('a/applied'), 'apply', body, 'fieldManager=team');
    };
    await apply('http');
    await shows('a/applied', 'Assigned', 'holds http 30121 from ports');
    await apply('web');
    await shows('a/applied', 'Assigned', 'holds web 30121 from ports');
  });

  test('one whose port changes under the same name, too', async () => {
    await editPorts('a/p', { op: 'replace', path: '/spec/ports/0/port', value: 8080 });
    await eventually(() => expect(world().checker.table().get(30120)?.ports).toEqual(['web:8080/TCP']));
    await world().shows('a/p', 'Assigned', 'holds web 30120 from ports');
  });

  test('that are added get numbers, and the others are not touched', async () => {
    await editPorts('a/p', append(HTTPS));
    await world().shows('a/p', 'Assigned', 'holds web 30120, https 30122 from ports');
  });

  test('that are added are all or nothing: False, "temporarily on", and the others stay', async () => {
    const { shows, editRange } = world();
    const written = await editPorts(
      'a/p',
      append({ name: 'x', port: 1000 }),
      append({ name: 'y', port: 1001 }),
    );
    const [, , x = 0, y = 0] = portsOf(written);
    const shown = await shows(
      'a/p',
      'RangeExhausted',
      `holds web 30120, https 30122 from ports; ports has too few free ports: 2 needed; temporarily on ${x}, ${y}`,
    );
    expect(conditionOf(shown)?.status).toBe('False');
    expect(portsOf(shown)).toEqual([30120, 30122, x, y]);
    await editRange('ports', { ranges: [{ from: 30120, to: 30124 }] });
    await shows('a/p', 'Assigned', 'holds web 30120, https 30122, x 30123, y 30124 from ports');
    const since = steps('a/p').findIndex(([, , second]) => second === 30122);
    for (const [, ...numbers] of steps('a/p').slice(since))
      expect(numbers.slice(0, 2)).toEqual([30120, 30122]);
  });

  test('that are removed are released, and the others stay; put back, they have their numbers again', async () => {
    const { shows, checker } = world();
    await editPorts('a/p', drop(3), drop(1));
    await shows('a/p', 'Assigned', 'holds web 30120, x 30123 from ports');
    await rests(30122);
    await rests(30124);
    expect(checker.table().get(30120)?.state).toBe('Held');
    await editPorts('a/p', append({ name: 'y', port: 1001 }), append(HTTPS));
    await shows('a/p', 'Assigned', 'holds web 30120, x 30123, y 30124, https 30122 from ports');
  });

  test('of the same port number share a node port, others never do', async () => {
    const { shows, get, checker } = world();
    await range('shared', 30125, 30129);
    expect(await served('a/s', { range: 'shared' }, { ports: [...DNS, HTTP] })).toEqual([
      30125, 30125, 30126,
    ]);
    await editPorts('a/s', append({ name: 'http3', port: 80, protocol: 'UDP' }));
    await eventually(async () => expect(portsOf(await get('a/s'))).toEqual([30125, 30125, 30126, 30126]));
    await shows('a/s', 'Assigned', 'holds dns 30125, http 30126 from shared');
    await eventually(() =>
      expect(checker.table().get(30126)?.ports).toEqual(['http:80/TCP', 'http3:80/UDP']),
    );
  });

  test('one of two that share a number is removed: the other keeps it', async () => {
    const { shows, checker } = world();
    await editPorts('a/s', drop(0));
    await shows('a/s', 'Assigned', 'holds dns-tcp 30125, http 30126 from shared');
    await eventually(() =>
      expect(checker.table().get(30125)).toMatchObject({ state: 'Held', ports: ['dns-tcp:53/TCP'] }),
    );
  });

  test('with one number for two different ports are refused by the apiserver itself', async () => {
    const ports = [HTTP, HTTPS].map((port) => ({ ...port, nodePort: 30127 }));
    const { body } = await refusalOf(world().service('a/twice', { range: 'shared', ports }));
    expect(body.message).toMatch(/provided port is already allocated/);
  });
});

describe('the type', () => {
  test('from NodePort to ClusterIP ends the holding; back within the cooldown, the number is back', async () => {
    const { edit, shows, service } = world();
    await range('types', 30130, 30139, { cooldown: '5m' });
    await served('a/t', { range: 'types', ports: '30135' });
    await annotate('a/t', { range: 'types' });
    await edit('a/t', { type: 'ClusterIP' });
    await shows('a/t', 'NoNodePorts', 'a Service of type "ClusterIP" has no node ports');
    await rests(30135);
    await service('a/thief', asks({ range: 'types', ports: '30135' }));
    await shows('a/thief', 'PortTaken', /^30135 rests until .* for its last owner a\/t; /);
    await edit('a/t', { type: 'NodePort' });
    await shows('a/t', 'Assigned', 'holds http 30135 from types');
    await shows('a/thief', 'PortTaken', /^30135 is held by a\/t; /);
  });

  test('from NodePort to LoadBalancer and back keeps the number', async () => {
    const { edit, shows, get } = world();
    await edit('a/t', { type: 'LoadBalancer' });
    expect(await served('a/after', { range: 'types' })).toEqual([30130]);
    await shows('a/t', 'Assigned', 'holds http 30135 from types');
    await edit('a/t', { type: 'NodePort' });
    expect(await served('a/after-2', { range: 'types' })).toEqual([30131]);
    await shows('a/t', 'Assigned', 'holds http 30135 from types');
    expect(portsOf(await get('a/t'))).toEqual([30135]);
  });

  test('from LoadBalancer to ClusterIP and back', async () => {
    const { edit, shows } = world();
    await served('a/lb', { range: 'types' }, { type: 'LoadBalancer' });
    await shows('a/lb', 'Assigned', 'holds http 30132 from types');
    await edit('a/lb', { type: 'ClusterIP', allocateLoadBalancerNodePorts: null });
    await shows('a/lb', 'NoNodePorts', 'a Service of type "ClusterIP" has no node ports');
    await rests(30132);
    await edit('a/lb', { type: 'LoadBalancer' });
    await shows('a/lb', 'Assigned', 'holds http 30132 from types');
  });

  test('LoadBalancer with allocateLoadBalancerNodePorts: false is given no number', async () => {
    const { service, shows, get } = world();
    const spec = { allocateLoadBalancerNodePorts: false };
    await service('a/none', { range: 'types', type: 'LoadBalancer', spec });
    await shows(
      'a/none',
      'NoNodePorts',
      'allocateLoadBalancerNodePorts is false, and no port names a nodePort',
    );
    expect(portsOf(await get('a/none'))).toEqual([0]);
  });

  test('until that is switched on', async () => {
    const { edit, shows } = world();
    await edit('a/none', { allocateLoadBalancerNodePorts: true });
    await shows('a/none', 'Assigned', 'holds http 30133 from types');
  });

  test('LoadBalancer with allocateLoadBalancerNodePorts: false and explicit numbers: they are checked like others', async () => {
    const { service, shows } = world();
    const pinned = (nodePort: number) => ({
      range: 'types',
      type: 'LoadBalancer',
      ports: [{ ...HTTP, nodePort }, HTTPS],
      spec: { allocateLoadBalancerNodePorts: false },
    });
    await service('a/fits', pinned(30138));
    const fits = await shows('a/fits', 'Adopted', 'holds http 30138 from types');
    expect(portsOf(fits)).toEqual([30138, 0]);
    const { metadata } = await service('a/outside', pinned(30145));
    await shows(
      'a/outside',
      'HeldOutOfRange',
      `holds http 30145 outside types: types (30130-30139) does not contain 30145, pinned by "${metadata.managedFields?.[0]?.manager}"`,
    );
  });

  test('that never had node ports: the annotations wait there, and are served with the type', async () => {
    const { service, shows, edit } = world();
    await service('a/inner', asks({ range: 'types', ports: '30139' }, { type: 'ClusterIP' }));
    await shows('a/inner', 'NoNodePorts', 'a Service of type "ClusterIP" has no node ports');
    await edit('a/inner', { type: 'NodePort' });
    await shows('a/inner', 'Assigned', 'holds http 30139 from types');
  });
});

describe('a Service that is created again', () => {
  test('within the cooldown has its numbers again, each port its own', async () => {
    const { remove, shows } = world();
    await range('again', 30150, 30159, { cooldown: '5m' });
    await served('a/r', { range: 'again', ports: 'http=30157,https=30153' }, { ports: [HTTP, HTTPS] });
    await remove('a/r');
    await rests(30157);
    await rests(30153);
    await served('a/r', { range: 'again' }, { ports: [HTTPS, HTTP] });
    await shows('a/r', 'Assigned', 'holds https 30153, http 30157 from again');
  });

  test('under another name or in another namespace has not', async () => {
    await world().remove('a/r');
    await rests(30157);
    await rests(30153);
    expect(await served('a/r-2', { range: 'again' })).toEqual([30150]);
    expect(await served('b/r', { range: 'again' })).toEqual([30151]);
  });

  test('after the cooldown has it only if nobody took it', async () => {
    const { remove, shows, service } = world();
    await range('short', 30160, 30161, { cooldown: '1s' });
    await served('a/old', { range: 'short', ports: '30161' });
    await remove('a/old');
    await service('a/taker', asks({ range: 'short', ports: '30161' }));
    await shows('a/taker', 'Assigned', 'holds http 30161 from short');
    expect(await served('a/old', { range: 'short' })).toEqual([30160]);
  });
});
