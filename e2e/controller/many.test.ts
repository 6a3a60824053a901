import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ALONE, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { conditionOf, keyOf, numbersOf, type Service, type ServiceOptions } from '../support/objects.ts';
import { useWorld, type World } from '../support/world.ts';

const TEAMS = { a: 30200, b: 30500, c: 30800 } as const;
const SIZE = 250;
const SERVICES = 200;
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const KILLS = 4;

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  for (const [team, from] of Object.entries(TEAMS)) {
    await w.namespace(`team-${team}`);
    await w.range(team, from, from + SIZE - 1, { namespaces: [`team-${team}`], cooldown: '0s' });
  }
  controller = await w.start(...ALONE);
});

/** What teams write: one port, several, TCP and UDP on one number, LoadBalancers of both kinds. */
const KINDS: ServiceOptions[] = [
  {},
  {
    ports: [
      { name: 'http', port: 80 },
      { name: 'https', port: 443 },
    ],
  },
  {
    ports: [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP' },
    ],
  },
  { type: 'LoadBalancer' },
  { type: 'LoadBalancer', spec: { externalTrafficPolicy: 'Local' } },
];

async function createAll({ service }: World, prefix: string): Promise<void> {
  const teams = Object.keys(TEAMS);
  const all = Array.from({ length: SERVICES }, (_, i) => {
    const team = teams[i % teams.length] ?? '';
    return service(`team-${team}/${prefix}-${i}`, { ...KINDS[i % KINDS.length], range: team });
  });
  await Promise.all(all);
}

function expectServed(services: readonly Service[]): void {
  expect(services).toHaveLength(SERVICES);
  const notServed = services.filter((object) => conditionOf(object)?.status !== 'True').map(keyOf);
  expect(notServed).toEqual([]);
  for (const object of services) {
    const first = TEAMS[(object.metadata.namespace ?? '').slice(-1) as keyof typeof TEAMS];
    for (const { nodePort = 0 } of object.spec.ports) {
      expect(nodePort, keyOf(object)).toBeGreaterThanOrEqual(first);
      expect(nodePort, keyOf(object)).toBeLessThan(first + SIZE);
    }
  }
  const all = services.flatMap(numbersOf);
  expect(new Set(all).size).toBe(all.length);
}

/** The counts of the PortRanges are as the Services are: nothing is left to be written. */
async function untilCounted(): Promise<void> {
  for (const [team, first] of Object.entries(TEAMS)) {
    const own = world()
      .checker.services()
      .filter(({ metadata }) => metadata.namespace === `team-${team}`);
    const ports = own.flatMap(({ spec }) => spec.ports.map(({ nodePort = 0 }) => nodePort));
    const inside = new Set(world().checker.services().flatMap(numbersOf));
    const taken = [...inside].filter((number) => first <= number && number < first + SIZE).length;
    const allocated = new Set(ports).size;
    await world().rangeShows(team, { allocated, foreign: taken - allocated, pending: 0, outOfRange: 0 });
  }
}

function mine(prefix: string): Service[] {
  return world()
    .checker.services()
    .filter(({ metadata }) => metadata.name.startsWith(`${prefix}-`));
}

async function removeAll(prefix: string): Promise<void> {
  const { remove, rangeShows, checker } = world();
  await Promise.all(mine(prefix).map((object) => remove(keyOf(object))));
  for (const team of Object.keys(TEAMS)) await rangeShows(team, { allocated: 0, free: SIZE });
  await checker.untilTableIsTrue();
}

/** mulberry32: the same seed, the same moments. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('200 Services of three teams at once: each number unique and in the segment of its team', async () => {
  await createAll(world(), 'at-once');
  await eventually(() => expectServed(mine('at-once')));
  await world().checker.untilTableIsTrue();
  await untilCounted();
});

test('their numbers are released when they go', () => removeAll('at-once'));

test('killed at random moments and started again: nobody who was told its number moves', async () => {
  console.info(`killed with SEED=${SEED}`);
  const random = randomFrom(SEED);
  const created = createAll(world(), 'killed');
  for (let kills = 0; kills < KILLS; kills += 1) {
    await sleep(random() * 400);
    await controller.kill('SIGKILL');
    controller = await world().launch({ flags: ALONE });
  }
  await created;
  await eventually(() => expectServed(mine('killed')));
  await world().checker.untilTableIsTrue();
  // Sticky is what the checker says at the end; here, that there was something to say.
  expect((await world().writes()).filter(({ resource }) => resource === 'services').length).toBeGreaterThan(
    SERVICES,
  );
});

test('a restart with all of them writes nothing but its stamp on the table', async () => {
  await untilCounted();
  await controller.kill('SIGTERM');
  const before = (await world().writes()).length;
  controller = await world().start('--resync-period=1s', ...ALONE);
  await eventually(async () =>
    expect((await controller.metrics()).get('workqueue_adds_total{name="services"}')).toBeGreaterThan(
      2 * SERVICES,
    ),
  );
  // Conflicts are told again by who sees them for the first time.
  const writes = (await world().writes()).slice(before).filter(({ resource }) => resource !== 'events');
  for (const { verb, resource, name } of writes) {
    expect(`${verb} ${resource} ${name}`).toMatch(/^update configmaps nodeport-table-\d+$/);
  }
  const blocks = new Set(writes.map(({ name }) => name));
  expect(blocks.size).toBe(writes.length);
});
