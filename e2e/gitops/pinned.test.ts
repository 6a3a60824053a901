import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { conditionOf, numbersOf } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import {
  argocd,
  argocdReplace,
  argocdServerSide,
  careful,
  flux,
  type Manifest,
  manifestOf,
  reconcile,
  type Tool,
  TOOLS,
} from './tools.ts';

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.start();
  await w.range('team-a', 30100, 30199);
  await w.range('team-b', 30200, 30227);
  await w.rangeShows('team-a', { capacity: 100 });
  await w.rangeShows('team-b', { capacity: 28 });
});

interface Wish {
  nodePort?: number;
  range?: string;
  annotations?: Record<string, string>;
}

/** A Service with the one port 80. */
function pinned(key: string, { nodePort, ...wish }: Wish = {}): Manifest {
  const named = nodePort === undefined ? {} : { nodePort };
  return manifestOf(key, { ports: [{ name: 'http', port: 80, protocol: 'TCP', ...named }], ...wish });
}

/** The controller's writes to the specs of these Services. */
async function specWrites(...names: string[]): Promise<number> {
  const writes = await world().writes();
  return writes.filter(({ resource, name }) => resource === 'services' && names.includes(name)).length;
}

/** No number is used twice in this file, so that every test stands alone. */
let next = 30120;
const fresh = (): number => (next += 1);

const sync = (tool: Tool, key: string, wish?: Wish): Promise<void> => tool.sync(world(), pinned(key, wish));

async function served(tool: Tool, key: string): Promise<number> {
  await sync(tool, key);
  return numbersOf(await world().shows(key, 'Assigned'))[0] ?? 0;
}

describe.each(TOOLS.map((tool) => [tool.name, tool] as const))(
  'a number in Git, applied by %s',
  (name, tool) => {
    test('in the range: adopted, in sync, never written', async () => {
      const key = `a-dev/${name}-in`;
      const nodePort = fresh();
      await sync(tool, key, { nodePort });
      await world().shows(key, 'Adopted', `holds http ${nodePort} from team-a`);
      expect(await reconcile(tool, world(), pinned(key, { nodePort }))).toBe('in sync');
      expect(await specWrites(`${name}-in`)).toBe(0);
    });

    test('out of the range: HeldOutOfRange, in sync, never rewritten', async () => {
      const key = `a-dev/${name}-out`;
      const nodePort = 31_000 + TOOLS.indexOf(tool);
      await sync(tool, key, { nodePort });
      const why = new RegExp(
        `^holds http ${nodePort} outside team-a: .* does not contain ${nodePort}, pinned by`,
      );
      await world().shows(key, 'HeldOutOfRange', why);
      for (let i = 0; i < 3; i += 1) {
        expect(await reconcile(tool, world(), pinned(key, { nodePort }))).toBe('in sync');
      }
      expect(await specWrites(`${name}-out`)).toBe(0);
    });

    test('of another Service: the tool is refused, and everything stays', async () => {
      const key = `a-dev/${name}-taken`;
      const mine = await served(tool, key);
      await sync(tool, `a-dev/${name}-other`);
      const nodePort = numbersOf(await world().shows(`a-dev/${name}-other`, 'Assigned'))[0];
      const refused =
        tool === careful ? /conflict with "nodeport-manager"/ : /provided port is already allocated/;
      await expect(sync(tool, key, { nodePort: nodePort ?? 0 })).rejects.toThrow(refused);
      await world().checker.untilTableIsTrue();
      expect(await world().port(key)).toBe(mine);
      expect(await specWrites(`${name}-taken`)).toBe(1);
    });
  },
);

const FORCING = [argocd, argocdServerSide, argocdReplace, flux].map((tool) => [tool.name, tool] as const);

describe.each(FORCING)('a number that %s brings after we assigned another', (name, tool) => {
  const key = `a-dev/${name}-later`;
  let first = 0;

  test('wins: Git moves the Service once, the old number rests, and nobody writes again', async () => {
    first = await served(tool, key);
    const nodePort = fresh();
    await sync(tool, key, { nodePort });
    await world().shows(key, 'Adopted', `holds http ${nodePort} from team-a`);
    await eventually(() => expect(world().checker.table().get(first)?.state).toBe('Released'));
    expect(await reconcile(tool, world(), pinned(key, { nodePort }))).toBe('in sync');
    expect(await specWrites(`${name}-later`)).toBe(1);
  });

  test('taken out of Git again: it stays where it is', async () => {
    const before = await world().port(key);
    await sync(tool, key);
    await world().checker.untilTableIsTrue();
    expect(await world().port(key)).toBe(before);
    expect(await reconcile(tool, world(), pinned(key))).toBe('in sync');
    expect(await specWrites(`${name}-later`)).toBe(1);
  });
});

test('without force, server-side apply of another number is a conflict that names us', async () => {
  const number = await served(careful, 'a-dev/conflict');
  await expect(sync(careful, 'a-dev/conflict', { nodePort: fresh() })).rejects.toThrow(
    'conflict with "nodeport-manager" using v1: .spec.ports[port=80,protocol="TCP"].nodePort',
  );
  await sync(careful, 'a-dev/conflict', { nodePort: number });
  await world().checker.untilTableIsTrue();
  expect(await world().port('a-dev/conflict')).toBe(number);
});

describe.each(FORCING)('a number out of the range, taken out of Git, with %s', (name, tool) => {
  const key = `a-dev/${name}-unpin`;
  const nodePort = 31_100 + TOOLS.indexOf(tool);

  test('stays: it is live traffic, and what the Service asks for is the same', async () => {
    await sync(tool, key, { nodePort });
    await world().shows(key, 'HeldOutOfRange', /pinned by "/);
    await sync(tool, key);
    // Three-way and replacing tools leave the mark of their apply; who no longer names it owns it no more.
    await world().shows(key, 'HeldOutOfRange', /does not contain \d+$/);
    expect(await world().port(key)).toBe(nodePort);
    expect(await specWrites(`${name}-unpin`)).toBe(0);
  });

  test('moves into the range with the next request', async () => {
    const wanted = fresh();
    const manifest = pinned(key, { annotations: { 'nodeport-manager.io/ports': `http=${wanted}` } });
    await tool.sync(world(), manifest);
    await world().shows(key, 'Assigned', `holds http ${wanted} from team-a`);
    expect(await reconcile(tool, world(), manifest)).toBe('in sync');
  });
});

test.each(FORCING)(
  '%s: a pin that goes in the same commit as the request changes moves the Service once',
  async (name, tool) => {
    const key = `a-dev/${name}-swap`;
    await sync(tool, key, { nodePort: 31_200 + TOOLS.indexOf(tool) });
    await world().shows(key, 'HeldOutOfRange');
    await sync(tool, key, { range: 'team-b' });
    await world().shows(key, 'Assigned', /^holds http 302\d\d from team-b$/);
    expect(await specWrites(`${name}-swap`)).toBe(1);
  },
);

// What Argo CD does with RespectIgnoreDifferences=true for this field: it copies the live number into what it applies.
describe.each(FORCING)('our own number, written into Git, with %s', (name, tool) => {
  const key = `a-dev/${name}-copied`;
  let number = 0;

  test('is held as before', async () => {
    number = await served(tool, key);
    await sync(tool, key, { nodePort: number });
    await world().checker.untilTableIsTrue();
    await world().shows(key, 'Assigned', `holds http ${number} from team-a`);
    expect(await specWrites(`${name}-copied`)).toBe(1);
  });

  test('outlives a new request: at most one round of writes, then HeldOutOfRange and rest', async () => {
    const wish = { nodePort: number, range: 'team-b' };
    const manifest = pinned(key, wish);
    await tool.sync(world(), manifest);
    await eventually(async () => expect(conditionOf(await world().get(key))?.message).toContain('team-b'));
    await reconcile(tool, world(), manifest);
    const shown = await world().shows(key, 'HeldOutOfRange', /outside team-b: .* pinned by/);
    expect(numbersOf(shown)).toEqual([number]);
    const writes = await specWrites(`${name}-copied`);
    expect(writes).toBeLessThanOrEqual(2);
    for (let i = 0; i < 3; i += 1) expect(await reconcile(tool, world(), manifest)).toBe('in sync');
    await served(tool, `a-dev/${name}-marker`);
    expect(await specWrites(`${name}-copied`)).toBe(writes);
  });
});
