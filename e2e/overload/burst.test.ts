import { expect, test } from 'vitest';
import { shippedSettings } from '../../bench/lib/controller.ts';
import { type ControllerProcess, PATIENT } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { conditionOf, numbersOf } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

/** `SERVICES=5000` is the long profile. */
const MANY = Number(process.env['SERVICES'] ?? 1_000);
const WITHIN_MS = 60_000 + 120 * MANY;
const FIRST = 30250;
/** MB (10⁶ bytes): what the Deployment allows (256 MiB) with a tenth to spare. */
const MOST_RSS = 240;

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('busy');
  await w.namespace('calm');
  await w.range('calm', 30100, 30149, { namespaces: ['calm'] });
  await w.range('busy', FIRST, FIRST + MANY - 1, { namespaces: ['busy'] });
  // An apiserver that is busy with the burst answers renewals late, too: that is not what this is about.
  controller = await w.launch({ env: await shippedSettings(), flags: PATIENT });
  await controller.ready();
});

/** performance.now() of when each of the Services was first seen to be served. */
function servedAt(): Map<string, number> {
  return new Map(
    world()
      .checker.services()
      .flatMap(({ metadata }) => {
        const seen = world()
          .checker.revisions(`${metadata.namespace}/${metadata.name}`)
          .find(({ object }) => conditionOf(object)?.status === 'True');
        return seen === undefined ? [] : [[metadata.name, seen.at] as const];
      }),
  );
}

const servedNow = (): number =>
  world()
    .checker.services()
    .filter((object) => conditionOf(object)?.status === 'True').length;

test(
  `${MANY} Services at once: each gets a number of its own for two writes and a share of the table, and one of another team does not wait for them`,
  async () => {
    const { service, checker } = world();
    const began = performance.now();
    let next = 0;
    const createSome = async (): Promise<void> => {
      while (next < MANY) await service(`busy/many-${next++}`, { range: 'busy' });
    };
    // More at once, and a slow machine's apiserver runs into its own time limit.
    const burst = Promise.all(Array.from({ length: 32 }, createSome));
    await eventually(() => expect(servedNow()).toBeGreaterThan(MANY / 4), WITHIN_MS);
    const created = performance.now();
    await service('calm/single', { range: 'calm' });
    await burst;
    await eventually(() => expect(servedNow()).toBe(MANY + 1), WITHIN_MS);
    const served = servedAt();
    const ended = Math.max(...served.values());
    const waited = (served.get('single') ?? Number.NaN) - created;
    const rss = ((await controller.metrics()).get('process_resident_memory_bytes') ?? Number.NaN) / 1e6;
    await checker.untilTableIsTrue();
    const busy = checker.services().filter(({ metadata }) => metadata.namespace === 'busy');
    expect(new Set(busy.flatMap(numbersOf)).size).toBe(MANY);
    const writes = await world().writes();
    const of = (resource: RegExp): number => writes.filter((write) => resource.test(write.resource)).length;
    const [services, table] = [of(/^services/), of(/^configmaps$/)];
    console.info(
      `${MANY} at once: ${((services + table) / MANY).toFixed(2)} writes a Service (table ${table}), ` +
        `${((1_000 * writes.length) / (ended - began)).toFixed(0)} writes a second for ${((ended - began) / 1_000).toFixed(1)} s, RSS ${rss.toFixed(0)} MB; ` +
        `one of another team waited ${waited.toFixed(0)} ms, ${((100 * waited) / (ended - began)).toFixed(0)} % of it`,
    );
    expect((services + table) / MANY).toBeLessThan(2.2);
    expect(rss).toBeLessThan(MOST_RSS);
    // Two rounds of 256 and the 128 writes that may wait before rounds pause, whatever the burst's size.
    expect(waited / (ended - began)).toBeLessThan(0.1 + (2 * 256 + 128) / MANY);
  },
  3 * WITHIN_MS,
);
