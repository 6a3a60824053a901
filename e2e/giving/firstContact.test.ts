import { describe, expect, test } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import {
  numbersOf,
  PORTS_ANNOTATION,
  type Service,
  type ServiceOptions,
  service as serviceObject,
  servicesPath,
  TABLE,
} from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  controller = await w.start();
  await w.range('r', 30100, 30149);
  await w.range('s', 30150, 30199);
  await w.rangeShows('s', { capacity: 50 });
});

const http = (nodePort?: number): NonNullable<ServiceOptions['ports']> => [
  { name: 'http', port: 80, ...(nodePort === undefined ? {} : { nodePort }) },
];

/** Created by the field manager helm. */
function byHelm(key: string, options: ServiceOptions): Promise<Service> {
  const path = '/api/v1/namespaces/a-dev/services?fieldManager=helm';
  return world().client.create(path, serviceObject(key, options));
}

/** helm writes this number over what is there. */
async function pin(key: string, nodePort: number): Promise<void> {
  const spec = { ports: [{ port: 80, nodePort }] };
  await world().client.patch(servicesPath(key), 'strategic', { spec }, 'fieldManager=helm');
}

/** What the controller finds when it comes back. */
async function whileDown(change: () => Promise<void>): Promise<void> {
  await controller.kill('SIGTERM');
  await change();
  controller = await world().start();
}

async function loseTable(): Promise<void> {
  await world().client.delete(`${TABLE}?labelSelector=nodeport-manager.io/table`);
}

async function specWrites(name: string): Promise<number> {
  const writes = await world().writes();
  return writes.filter((write) => write.resource === 'services' && write.name === name).length;
}

async function expectReleased(number: number): Promise<void> {
  await eventually(() => expect(world().checker.table().get(number)?.state).toBe('Released'));
}

describe('a number that the apiserver picked at random', () => {
  test.each([
    ['is replaced outside the range', 'outside', {}, 'Assigned', /from r$/],
    [
      'is replaced where `ports` names another',
      'other',
      { [PORTS_ANNOTATION]: '30133' },
      'Assigned',
      /30133 from r$/,
    ],
  ])('%s', async (_, name, annotations, reason, message) => {
    const { service, shows } = world();
    const { spec } = await service(`a-dev/${name}`, { range: 'r', annotations });
    const served = await shows(`a-dev/${name}`, reason, message);
    expect(numbersOf(served)).not.toEqual(spec.ports.map(({ nodePort }) => nodePort));
  });

  test('is kept if it fits, also after downtime', async () => {
    const { service, editRange, shows, rangeShows } = world();
    const { spec } = await service('a-dev/fits');
    const [number = 0] = spec.ports.map(({ nodePort }) => nodePort);
    await whileDown(async () => {
      await editRange('r', { ranges: [{ from: 30100, to: 30149 }, { from: number }] });
      await world().ask('a-dev/fits', 'r');
    });
    await shows('a-dev/fits', 'Adopted', `holds http ${number} from r`);
    expect(await specWrites('fits')).toBe(0);
    await rangeShows('r', { capacity: 51 });
  });
});

describe('a number that another manager owns is a claim', () => {
  test('adopted by the first range of a list that contains it', async () => {
    await byHelm('a-dev/list', { range: 'r,s', ports: http(30190) });
    await world().shows('a-dev/list', 'Adopted', 'holds http 30190 from s');
  });

  test('adopted where `ports` names the same, InvalidRequest where `ports` contradicts it', async () => {
    const { shows, client } = world();
    await byHelm('a-dev/agrees', {
      range: 's',
      annotations: { [PORTS_ANNOTATION]: '30191' },
      ports: http(30191),
    });
    await shows('a-dev/agrees', 'Adopted', 'holds http 30191 from s');
    await client.patch(servicesPath('a-dev/agrees'), 'merge', {
      metadata: { annotations: { [PORTS_ANNOTATION]: '30192' } },
    });
    await shows(
      'a-dev/agrees',
      'InvalidRequest',
      'holds http 30191 from s; asks for 30192, but 30191 is pinned by "helm"',
    );
    expect(await specWrites('agrees')).toBe(0);
  });

  test('outlives every request: another range that does not contain it leaves it where it is', async () => {
    const { ask, shows } = world();
    await ask('a-dev/list', 'r');
    await shows('a-dev/list', 'HeldOutOfRange', /^holds http 30190 outside r: .*, pinned by "helm"$/);
    await ask('a-dev/list', 's');
    await shows('a-dev/list', 'Adopted', 'holds http 30190 from s');
    expect(await specWrites('list')).toBe(0);
  });

  test('beside a port that nobody pinned: that one is served, the other stays', async () => {
    const { shows } = world();
    const ports = [...http(30193), { name: 'https', port: 443 }];
    await byHelm('a-dev/beside', { range: 's', ports });
    const { spec } = await shows('a-dev/beside', 'Assigned', /^holds http 30193, https 301\d\d from s$/);
    expect(spec.ports[0]?.nodePort).toBe(30193);
  });

  test('also when it was written while we were down, over a number of ours', async () => {
    const { service, shows, port } = world();
    await service('a-dev/down-in', { range: 's' });
    await service('a-dev/down-out', { range: 's' });
    await shows('a-dev/down-in', 'Assigned');
    await shows('a-dev/down-out', 'Assigned');
    const before = [await port('a-dev/down-in'), await port('a-dev/down-out')];
    await whileDown(async () => {
      await pin('a-dev/down-in', 30194);
      await pin('a-dev/down-out', 30226);
    });
    await shows('a-dev/down-in', 'Adopted', 'holds http 30194 from s');
    await shows('a-dev/down-out', 'HeldOutOfRange', /^holds http 30226 outside s: .*, pinned by "helm"$/);
    for (const number of before) await expectReleased(number);
    expect([await specWrites('down-in'), await specWrites('down-out')]).toEqual([1, 1]);
  });

  test('and when the table was lost in the meantime', async () => {
    const { service, shows } = world();
    await service('a-dev/lost', { range: 's' });
    await shows('a-dev/lost', 'Assigned');
    await whileDown(async () => {
      await loseTable();
      await pin('a-dev/lost', 30195);
    });
    await shows('a-dev/lost', 'Adopted', 'holds http 30195 from s');
    await shows('a-dev/down-out', 'HeldOutOfRange', /^holds http 30226 outside s: .*, pinned by "helm"$/);
    await world().checker.untilTableIsTrue();
    expect(await specWrites('lost')).toBe(1);
  });
});

describe('managedFields do not decide who holds', () => {
  const apply = (key: string, ports: NonNullable<ServiceOptions['ports']>): Promise<Service> => {
    const body = serviceObject(key, { range: 's', ports });
    return world().client.patch(servicesPath(key), 'apply', body, 'fieldManager=team&force=true');
  };

  async function owners(key: string): Promise<(string | undefined)[]> {
    const { metadata } = await world().get(key);
    return (metadata.managedFields ?? []).flatMap(({ manager, fieldsV1 }) => {
      const ports = fieldsV1?.['f:spec']?.['f:ports'] ?? {};
      return Object.values(ports).some((port) => port['f:nodePort'] !== undefined) ? [manager] : [];
    });
  }

  test('an apply that takes over our number changes nothing; it is a claim from then on', async () => {
    const { service, shows, port, ask } = world();
    await service('a-dev/applied', { range: 's' });
    await shows('a-dev/applied', 'Assigned');
    const number = await port('a-dev/applied');
    await apply('a-dev/applied', http(number));
    expect(await owners('a-dev/applied')).toContain('team');
    await whileDown(loseTable);
    await shows('a-dev/applied', 'Assigned', `holds http ${number} from s`);
    await ask('a-dev/applied', 'r');
    await shows('a-dev/applied', 'HeldOutOfRange', /outside r: .*, pinned by "team"$/);
    expect(await port('a-dev/applied')).toBe(number);
    expect(await specWrites('applied')).toBe(1);
  });

  const on81 = [{ name: 'http', port: 81, protocol: 'TCP' }];

  test.each([
    ['apply', (key: string) => apply(key, on81).then(() => undefined)],
    [
      'put',
      async (key: string) => {
        const before = await world().get(key);
        await world().client.put(servicesPath(key), { ...before, spec: { ...before.spec, ports: on81 } });
      },
    ],
  ])(
    '%s: a change of `port` strips our ownership; the Service holds on, table or not',
    async (how, change) => {
      const { shows, checker, get } = world();
      const key = `a-dev/by-${how}`;
      await apply(key, http());
      const before = numbersOf(await shows(key, 'Assigned'));
      expect(await owners(key)).toEqual(['nodeport-manager']);
      await change(key);
      expect(await owners(key)).not.toContain('nodeport-manager');
      await whileDown(loseTable);
      await shows(key, 'Assigned', `holds http ${before[0]} from s`);
      await checker.untilTableIsTrue();
      expect(numbersOf(await get(key))).toEqual(before);
      expect(await specWrites(`by-${how}`)).toBe(1);
    },
  );

  test('a change of type leaves our mark on a random number: that is not held', async () => {
    const { service, shows, edit, client } = world();
    await service('a-dev/marked', { range: 'soon' });
    await world().range('soon', 30200, 30209, { cooldown: '0s' });
    await shows('a-dev/marked', 'Assigned', 'holds http 30200 from soon');
    await whileDown(async () => {
      await edit('a-dev/marked', { type: 'ClusterIP' });
      await edit('a-dev/marked', { type: 'NodePort' });
      const status = { conditions: null };
      await client.patch(`${servicesPath('a-dev/marked')}/status`, 'merge', { status });
      await loseTable();
    });
    expect(await owners('a-dev/marked')).toContain('nodeport-manager');
    await shows('a-dev/marked', 'Assigned', 'holds http 30200 from soon');
    expect(await specWrites('marked')).toBe(2);
  });
});
