import { expect, test } from 'vitest';
import { shippedSettings } from '../../bench/lib/controller.ts';
import { PATIENT } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { conditionOf, numbersOf } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

/** `SERVICES=5000` is the long profile. */
const MANY = Number(process.env['SERVICES'] ?? 1_000);
const WITHIN_MS = 60_000 + 120 * MANY;
const FIRST = 30250;
/**
 * Two rounds that began just before it came, the writes that may wait before rounds pause, the others of its own round,
 * and 32 writes each: under way when it comes, while the watch brings it, beside its own. Whatever the burst's size.
 */
const MOST_BEFORE = 3 * 256 + 128 + 3 * 32;
/** MB (10⁶ bytes): what the Deployment allows (256 MiB) with a tenth to spare. */
const MOST_RSS = 240;

const world = useWorld(async (w) => {
  await w.namespace('busy');
  await w.namespace('calm');
  await w.range('calm', 30100, 30149, { namespaces: ['calm'] });
  await w.range('busy', FIRST, FIRST + MANY - 1, { namespaces: ['busy'] });
});

/** When each of the Services was first seen to be served: by performance.now(), and its revision. */
function served(): Map<string, { at: number; revision: number }> {
  return new Map(
    world()
      .checker.services()
      .flatMap(({ metadata }) => {
        const seen = world()
          .checker.revisions(`${metadata.namespace}/${metadata.name}`)
          .find(({ object }) => conditionOf(object)?.status === 'True');
        const revision = Number(seen?.object.metadata.resourceVersion);
        return seen === undefined ? [] : [[metadata.name, { at: seen.at, revision }] as const];
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
    const { service, checker, launch } = world();
    let next = 0;
    const createSome = async (): Promise<void> => {
      while (next < MANY) await service(`busy/many-${next++}`, { range: 'busy' });
    };
    // More at once, and a slow machine's apiserver runs into its own time limit.
    await Promise.all(Array.from({ length: 32 }, createSome));
    // An apiserver that is busy with the burst answers renewals late, too: that is not what this is about.
    const controller = await launch({ env: await shippedSettings(), flags: PATIENT });
    await controller.ready();
    const began = performance.now();
    await eventually(() => expect(servedNow()).toBeGreaterThan(MANY / 4), WITHIN_MS);
    const created = performance.now();
    const { metadata } = await service('calm/single', { range: 'calm' });
    await eventually(() => expect(servedNow()).toBe(MANY + 1), WITHIN_MS);
    const all = [...served().values()];
    const ended = Math.max(...all.map(({ at }) => at));
    const single = served().get('single') ?? { at: Number.NaN, revision: Number.NaN };
    const waited = single.at - created;
    const overtaken = all.filter(
      ({ revision }) => revision > Number(metadata.resourceVersion) && revision < single.revision,
    ).length;
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
        `one of another team waited ${waited.toFixed(0)} ms, ${overtaken} others before it`,
    );
    // Each has its condition, at least: fewer, and some were not counted.
    expect(of(/^services\/status$/)).toBeGreaterThanOrEqual(MANY);
    expect((services + table) / MANY).toBeLessThan(2.2);
    expect(rss).toBeLessThan(MOST_RSS);
    expect(overtaken).toBeLessThanOrEqual(MOST_BEFORE);
  },
  3 * WITHIN_MS,
);
