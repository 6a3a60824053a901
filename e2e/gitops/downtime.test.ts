import { beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { ControllerProcess } from '../support/controller.ts';
import { numbersOf } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import { argocd, argocdReplace, argocdServerSide, flux, manifestOf, reconcile } from './tools.ts';

const TOOLS = [argocd, argocdServerSide, argocdReplace, flux].map((tool) => [tool.name, tool] as const);

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  controller = await w.start();
  await w.range('team-a', 30100, 30199);
  await w.range('short', 30200, 30219, { cooldown: '1s' });
  await w.rangeShows('team-a', { capacity: 100 });
  await w.rangeShows('short', { capacity: 20 });
});

const http = { name: 'http', port: 80, protocol: 'TCP' };

/** What a tool changes while no controller runs, by the name of the Service, and what it has afterwards. */
const CHANGES = [
  ['port', { ports: [{ ...http, port: 81 }] }],
  ['rename', { ports: [{ ...http, name: 'web' }] }],
  ['again', { ports: [http] }],
  ['prune', { ports: [http] }],
] as const;

describe.each(TOOLS)('while the controller is down, %s', (name, tool) => {
  const keyOf = (change: string): string => `a-dev/${name}-${change}`;
  const before = new Map<string, number>();
  const pinned = 30_150 + TOOLS.findIndex(([other]) => other === name);

  beforeAll(async () => {
    const all = [...CHANGES.map(([change]) => change), 'pin'];
    for (const change of all) await tool.sync(world(), manifestOf(keyOf(change), { ports: [http] }));
    for (const change of all) {
      before.set(change, numbersOf(await world().shows(keyOf(change), 'Assigned'))[0] ?? 0);
    }
    await controller.kill('SIGTERM');
    await world().remove(keyOf('prune'));
    for (const [change, { ports }] of CHANGES) {
      await tool.sync(world(), manifestOf(keyOf(change), { ports: [...ports] }));
    }
    const named = manifestOf(keyOf('pin'), { ports: [{ ...http, nodePort: pinned }] });
    await tool.sync(world(), named);
    controller = await world().start();
  });

  test.each([
    ['changes a port: the number stays', 'port', 'http'],
    ['renames a port: the number stays, or is given back', 'rename', 'web'],
    ['applies what was there already: the number stays', 'again', 'http'],
    ['removes a Service and brings it back: the number is given back', 'prune', 'http'],
  ])('%s', async (_, change, port) => {
    const number = before.get(change) ?? 0;
    await world().shows(keyOf(change), 'Assigned', `holds ${port} ${number} from team-a`);
    expect(await world().port(keyOf(change))).toBe(number);
    await world().checker.untilTableIsTrue();
  });

  test('pins another number: it is adopted, and the one before rests', async () => {
    await world().shows(keyOf('pin'), 'Adopted', `holds http ${pinned} from team-a`);
    const number = before.get('pin') ?? 0;
    await eventually(() => expect(world().checker.table().get(number)?.state).toBe('Released'));
  });
});

describe.each(TOOLS)('a Service that gets another name in Git, applied by %s', (name, tool) => {
  test('takes its number along by the annotation: it waits until the old one is pruned and the number has rested', async () => {
    const [old, renamed] = [`a-dev/${name}-old`, `a-dev/${name}-renamed`];
    await tool.sync(world(), manifestOf(old, { ports: [http], range: 'short' }));
    const number = numbersOf(await world().shows(old, 'Assigned'))[0] ?? 0;
    const annotations = { 'nodeport-manager.io/ports': `http=${number}` };
    const manifest = manifestOf(renamed, { ports: [http], range: 'short', annotations });
    await tool.sync(world(), manifest);
    await world().shows(renamed, 'PortTaken', new RegExp(`${number} is held by ${old}; temporarily on`));
    await world().remove(old);
    await world().shows(renamed, 'Assigned', `holds http ${number} from short`);
    expect(await reconcile(tool, world(), manifest)).toBe('in sync');
  });

  test('takes a pinned number along as soon as the old one is pruned', async () => {
    const [old, renamed] = [`a-dev/${name}-pinned`, `a-dev/${name}-pin-renamed`];
    const nodePort = 30_160 + TOOLS.findIndex(([other]) => other === name);
    const ports = [{ ...http, nodePort }];
    await tool.sync(world(), manifestOf(old, { ports }));
    await world().shows(old, 'Adopted');
    await expect(tool.sync(world(), manifestOf(renamed, { ports }))).rejects.toThrow('already allocated');
    await world().remove(old);
    await tool.sync(world(), manifestOf(renamed, { ports }));
    await world().shows(renamed, 'Adopted', `holds http ${nodePort} from team-a`);
    await world().checker.untilTableIsTrue();
  });
});
