import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { conditionOf, numbersOf, type Service, type ServicePort, servicesPath } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import { argocd, argocdReplace, argocdServerSide, flux, manifestOf, reconcile, TOOLS } from './tools.ts';

/** How often an unchanged manifest is written again. */
const TIMES = 8;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  // It looks at everything again while the tools apply.
  await w.start('--resync-period=1s');
  await w.range('team-a', 30100, 30199);
  await w.rangeShows('team-a', { capacity: 100 });
});

/** The controller's writes to this Service, its condition included. */
async function writesTo(name: string): Promise<string[]> {
  const writes = await world().writes();
  return writes.filter((write) => write.name === name).map(({ verb, resource }) => `${verb} ${resource}`);
}

let markers = 0;

/** Resolves when the controller has seen, decided and written whatever came before. */
async function untilAllIsDone(): Promise<void> {
  const key = `a-dev/marker-${(markers += 1)}`;
  await world().service(key, { range: 'team-a' });
  await world().shows(key, 'Assigned');
  await world().checker.untilTableIsTrue();
}

const http: ServicePort = { name: 'http', port: 80, protocol: 'TCP' };
const https: ServicePort = { name: 'https', port: 443, protocol: 'TCP' };

describe.each(TOOLS.map((tool) => [tool.name, tool] as const))('a Service that %s applies', (name, tool) => {
  const key = `a-dev/${name}`;
  const sync = (...ports: ServicePort[]) => tool.sync(world(), manifestOf(key, { ports }));
  const numbers = async () => (await world().get(key)).spec.ports.map(({ nodePort }) => nodePort);
  let number = 0;

  test('gets a number of its range, and is in sync: nothing has to be ignored', async () => {
    const manifest = manifestOf(key, { ports: [http] });
    expect(await reconcile(tool, world(), manifest)).toBe('applied');
    number = (await world().shows(key, 'Assigned')).spec.ports[0]?.nodePort ?? 0;
    expect(await reconcile(tool, world(), manifest)).toBe('in sync');
    expect(await writesTo(name)).toEqual(['patch services', 'patch services/status']);
  });

  test('applied unchanged again and again: no port moves, and no write of ours', async () => {
    for (let i = 0; i < TIMES; i += 1) await sync(http);
    await untilAllIsDone();
    const shown = world()
      .checker.revisions(key)
      .map(({ object }) => numbersOf(object));
    const moves = shown.slice(shown.findIndex(([first]) => first === number));
    expect(new Set(moves.flat())).toEqual(new Set([number]));
    expect(await writesTo(name)).toHaveLength(2);
    expect(await tool.inSync(world(), manifestOf(key, { ports: [http] }))).toBe(true);
  });

  test('keeps its number when Git changes the port', async () => {
    await sync({ ...http, port: 81 });
    await eventually(() => expect(world().checker.table().get(number)?.ports).toEqual(['http:81/TCP']));
    expect(await numbers()).toEqual([number]);
  });

  test('keeps its number when Git renames the port', async () => {
    await sync({ ...http, name: 'web', port: 81 });
    const renamed = await world().shows(key, 'Assigned', `holds web ${number} from team-a`);
    expect(numbersOf(renamed)).toEqual([number]);
    await eventually(() => expect(world().checker.table().get(number)?.ports).toEqual(['web:81/TCP']));
  });

  test('gets a number for a port that Git adds, in either order, and keeps the first', async () => {
    await sync({ ...http, name: 'web', port: 81 }, https);
    const { spec } = await world().shows(key, 'Assigned', /^holds web \d+, https \d+ from team-a$/);
    const second = spec.ports[1]?.nodePort;
    expect(spec.ports[0]?.nodePort).toBe(number);
    await sync(https, { ...http, name: 'web', port: 81 });
    await world().shows(key, 'Assigned', `holds https ${second}, web ${number} from team-a`);
    expect(await numbers()).toEqual([second, number]);
  });

  test('removed from Git and back within the cooldown: it has its numbers again', async () => {
    const before = numbersOf(await world().get(key));
    await world().remove(key);
    await eventually(() => expect(world().checker.table().get(number)?.state).toBe('Released'));
    await sync(https, { ...http, name: 'web', port: 81 });
    expect(numbersOf(await world().shows(key, 'Assigned'))).toEqual(before);
  });

  test('says Pending, not True, while another port takes the place of the one that it held', async () => {
    const { revisions } = world().checker;
    const [kept, lost] = numbersOf(await world().get(key));
    await sync(https, { name: 'grpc', port: 9000, protocol: 'TCP' });
    const moved = await world().shows(key, 'Assigned', /^holds https \d+, grpc \d+ from team-a$/);
    expect(numbersOf(moved)[0]).toBe(kept);
    const ours = revisions(key).filter(({ object }) => numbersOf(object)[1] === numbersOf(moved)[1]);
    expect(ours.map(({ object }) => conditionOf(object)?.reason)).toEqual(['Pending', 'Assigned']);
    expect(
      world()
        .checker.table()
        .get(lost ?? 0)?.state,
    ).toBe('Released');
  });

  test('is in sync in the end, too', async () => {
    const manifest = manifestOf(key, { ports: [https, { name: 'grpc', port: 9000, protocol: 'TCP' }] });
    const before = await writesTo(name);
    expect(await reconcile(tool, world(), manifest)).toBe('in sync');
    await untilAllIsDone();
    expect(await writesTo(name)).toEqual(before);
  });
});

describe('a node port that somebody changes by hand', () => {
  const byHand = (key: string, nodePort: number): Promise<Service> =>
    world().client.patch(
      servicesPath(key),
      'strategic',
      { spec: { ports: [{ port: 80, nodePort }] } },
      'fieldManager=kubectl-edit',
    );

  test.each([
    ['argocd', argocd],
    ['argocd-ssa', argocdServerSide],
    ['flux', flux],
  ])(
    'is no drift for %s, which does not name it; it stays, and nobody fights over it',
    async (name, tool) => {
      const key = `a-dev/hand-${name}`;
      const nodePort = 30180 + ['argocd', 'argocd-ssa', 'flux'].indexOf(name);
      const manifest = manifestOf(key, { ports: [http] });
      await tool.sync(world(), manifest);
      await world().shows(key, 'Assigned');
      await byHand(key, nodePort);
      await world().shows(key, 'Adopted', `holds http ${nodePort} from team-a`);
      await reconcile(tool, world(), manifest);
      expect(await reconcile(tool, world(), manifest)).toBe('in sync');
      await untilAllIsDone();
      expect(await world().port(key)).toBe(nodePort);
      expect((await writesTo(`hand-${name}`)).filter((write) => write === 'patch services')).toHaveLength(1);
    },
  );
});

test('a Service that moves from client-side to server-side apply and to Replace=true keeps its number', async () => {
  const manifest = manifestOf('a-dev/wanders', { ports: [http] });
  await argocd.sync(world(), manifest);
  const [number] = numbersOf(await world().shows('a-dev/wanders', 'Assigned'));
  for (const tool of [argocdServerSide, argocdReplace, flux, argocd]) await tool.sync(world(), manifest);
  await untilAllIsDone();
  expect(await world().port('a-dev/wanders')).toBe(number);
  expect(await writesTo('wanders')).toHaveLength(2);
});
