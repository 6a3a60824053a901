import { describe, expect, test } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { PORTS_ANNOTATION, type Service } from '../support/objects.ts';
import { useWorld, type World } from '../support/world.ts';

/** Numbers of 50 among which two Services hardly ever meet; the tests hold if they do. */
const [FIRST, LAST] = [30100, 30149];
const NAMES = ['web', 'api', 'db', 'mail', 'cache'];

let controller: ControllerProcess;

const begin = async (w: World): Promise<void> => {
  await w.namespace('a-dev');
  controller = await w.start('--seed=one');
};
const world = useWorld(begin);
/** Another cluster, and in it another controller. */
const elsewhere = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.start('--seed=other');
});

const PORTS = [
  { name: 'http', port: 80 },
  { name: 'https', port: 443 },
];

function numbers({ spec }: Service): number[] {
  return spec.ports.map(({ nodePort = 0 }) => nodePort);
}

async function rangeOf(w: World, name: string, spec: object): Promise<void> {
  await w.range(name, FIRST, LAST, spec);
  await w.rangeShows(name, { observedGeneration: 1 });
}

/** Created and served one after the other; their numbers in that order. */
async function served(w: World, range: string, names = NAMES): Promise<number[][]> {
  const all: number[][] = [];
  for (const name of names) {
    await w.service(`a-dev/${name}`, { range, ports: PORTS });
    all.push(numbers(await w.shows(`a-dev/${name}`, 'Assigned')));
  }
  return all;
}

async function removeAll(w: World, names = NAMES): Promise<void> {
  for (const name of names) await w.remove(`a-dev/${name}`);
}

/** Until what was released rests no more. */
async function rested(w: World, range: string): Promise<void> {
  await w.rangeShows(range, { allocated: 0, coolingDown: 0 });
}

describe('Hash', () => {
  let before: number[][];

  test('gives numbers of the range, all different', async () => {
    await rangeOf(world(), 'hash', { strategy: 'Hash', cooldown: '1s' });
    before = await served(world(), 'hash');
    const all = before.flat();
    expect(new Set(all).size).toBe(NAMES.length * PORTS.length);
    for (const number of all) expect(number >= FIRST && number <= LAST, `${number}`).toBe(true);
    expect(all).not.toEqual(all.toSorted((a, b) => a - b));
  });

  test('gives the same number after delete and re-creation beyond the cooldown, also when it had none to return', async () => {
    const { client } = world();
    await removeAll(world());
    await rested(world(), 'hash');
    // What remembers the last owners is gone: only the name is left to tell the number.
    await controller.kill('SIGTERM');
    await client.delete(
      '/api/v1/namespaces/nodeport-manager-system/configmaps?labelSelector=nodeport-manager.io/table',
    );
    controller = await world().start('--seed=two');
    expect(await served(world(), 'hash')).toEqual(before);
  });

  test('gives the same number in another cluster with another controller', async () => {
    await rangeOf(elsewhere(), 'hash', { strategy: 'Hash' });
    expect(await served(elsewhere(), 'hash')).toEqual(before);
  });

  test('replaces a random pick, even one that would fit', async () => {
    const { service, range, rangeShows, ask, shows } = world();
    const { spec } = await service('a-dev/picked');
    const number = spec.ports[0]?.nodePort ?? 0;
    // With that number at its end, so that the name stands for another one, whatever it was.
    const ranges = [{ from: 30160, to: 30179 }, { from: number }];
    await range('around', 0, 0, { strategy: 'Hash', ranges });
    await rangeShows('around', { foreign: 1 });
    await ask('a-dev/picked', 'around');
    const [ideal] = numbers(await shows('a-dev/picked', 'Assigned', /from around$/));
    await ask('a-dev/picked', undefined);
    await world().showsNothing('a-dev/picked');
    expect([...Array(20).keys()].map((i) => 30160 + i)).toContain(ideal);
  });

  test('leaves a random pick that `ports` names', async () => {
    const { service, shows } = world();
    await world().range('named', 30180, 30189, { strategy: 'Hash' });
    const { spec } = await service('a-dev/named');
    const [number = 0] = spec.ports.map(({ nodePort }) => nodePort);
    await world().editRange('named', { ranges: [{ from: 30180, to: 30189 }, { from: number }] });
    await world().rangeShows('named', { observedGeneration: 2 });
    await world().client.patch('/api/v1/namespaces/a-dev/services/named', 'merge', {
      metadata: { annotations: { [PORTS_ANNOTATION]: `${number}`, 'nodeport-manager.io/range': 'named' } },
    });
    await shows('a-dev/named', 'Adopted', `holds http ${number} from named`);
  });

  test('takes the next free number while its own is taken, and stays on it', async () => {
    const { service, shows, remove, port } = world();
    const [[own = 0] = []] = before;
    await removeAll(world());
    await rested(world(), 'hash');
    await service('a-dev/rival', { ports: [{ port: 80, nodePort: own }] });
    await world().rangeShows('hash', { foreign: 1 });
    const [[other = 0] = []] = await served(world(), 'hash', ['web']);
    expect(other).not.toBe(own);
    await remove('a-dev/rival');
    await world().rangeShows('hash', { foreign: 0 });
    await shows('a-dev/web', 'Assigned');
    expect(await port('a-dev/web')).toBe(other);
  });
});

describe('Random', () => {
  /** Asked again for what they never held: the table remembers nothing, and their UIDs are the same. */
  async function askAgain(seed: string): Promise<number[][]> {
    const { ask, showsNothing, edit, shows, start } = world();
    for (const name of NAMES) {
      await ask(`a-dev/r-${name}`, undefined);
      await showsNothing(`a-dev/r-${name}`);
      await edit(`a-dev/r-${name}`, { type: 'ClusterIP' });
      await edit(`a-dev/r-${name}`, { type: 'NodePort' });
    }
    await controller.kill('SIGTERM');
    controller = await start(`--seed=${seed}`);
    const all: number[][] = [];
    for (const name of NAMES) {
      await ask(`a-dev/r-${name}`, 'random');
      all.push(numbers(await shows(`a-dev/r-${name}`, 'Assigned')));
    }
    return all;
  }

  test('gives numbers of the range in no order', async () => {
    await world().range('random', 30190, 30227, { strategy: 'Random' });
    await world().rangeShows('random', { capacity: 38 });
    const names = NAMES.map((name) => `r-${name}`);
    const all = (await served(world(), 'random', names)).flat();
    expect(new Set(all).size).toBe(all.length);
    for (const number of all) expect(number >= 30190 && number <= 30227, `${number}`).toBe(true);
    expect(all).not.toEqual(Array.from(all, (_, i) => 30190 + i));
  });

  test('the same seed gives the same numbers, another seed others', async () => {
    const first = await askAgain('seed');
    expect(await askAgain('seed')).toEqual(first);
    expect(await askAgain('another')).not.toEqual(first);
  });

  test('a restart with another seed moves nobody', async () => {
    const before = await Promise.all(NAMES.map((name) => world().port(`a-dev/r-${name}`)));
    await controller.kill('SIGTERM');
    controller = await world().start('--seed=a-third');
    await eventually(() => world().checker.untilTableIsTrue());
    expect(await Promise.all(NAMES.map((name) => world().port(`a-dev/r-${name}`)))).toEqual(before);
  });
});
