import { afterAll, expect, test } from 'vitest';
import { LEASE, type Lease, servedAfter, writersByEpoch } from '../leader/replicas.ts';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { conditionOf } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import { type SlowProxy, startSlowProxy } from './slowProxy.ts';

const LEASE_MS = 5_000;
const FLAGS = [
  `--leader-elect-lease-duration=${LEASE_MS / 1_000}s`,
  '--leader-elect-renew-deadline=3s',
  '--leader-elect-retry-period=500ms',
];
/** As takeover.test.ts promises them of a leader that has nothing to finish. */
const HANDED_OVER_WITHIN_MS = 1_500;
const TAKEN_OVER_WITHIN_MS = LEASE_MS + 2_000;

let proxy: SlowProxy;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.range('team-a', 30100, 30199);
  proxy = await startSlowProxy(w.cluster);
});

/** Runs before the world ends, where the checker judges every revision. */
afterAll(async () => {
  for (const [epoch, writers] of await writersByEpoch(world()))
    expect([...writers], `writers of epoch ${epoch}`).toHaveLength(1);
  await proxy.close();
});

/** One that leads through the proxy and is in the midst of writes that are held back for `ms`, and one that stands by. */
async function midWrite(
  ms: number,
  names: readonly string[],
): Promise<Record<'old' | 'next', ControllerProcess>> {
  proxy.hold(0);
  const old = await world().launch({ flags: FLAGS, kubeconfig: proxy.kubeconfig });
  await old.ready();
  const next = await world().launch({ flags: FLAGS });
  await next.standsBy();
  proxy.hold(ms);
  for (const name of names) await world().service(`a-dev/${name}`, { range: 'team-a' });
  await eventually(() => expect(proxy.held()).toBe(names.length));
  return { old, next };
}

test('an old leader that drains slowly: the next one waits for it, begins when it has ended, and there is no second writer', async () => {
  const { old, next } = await midWrite(1_500, ['slow-1', 'slow-2', 'slow-3']);
  const since = performance.now();
  old.signal('SIGTERM');
  const served = servedAfter(world(), 'a-dev/meanwhile', 'team-a', since);
  const drained = old.exited.then(() => performance.now() - since);
  expect(await old.exited).toBe(0);
  const [gap, drain] = [await served, await drained];
  console.info(`drained for ${drain.toFixed(0)} ms, the next grant after ${gap.toFixed(0)} ms`);
  expect(gap).toBeLessThan(drain + HANDED_OVER_WITHIN_MS);
  const { acquireTime } = (await world().client.get<Lease>(LEASE)).spec;
  const acquiredAt = Date.parse(acquireTime) - performance.timeOrigin;
  expect(proxy.answers.length).toBeGreaterThanOrEqual(6);
  expect(Math.max(...proxy.answers.map(({ at }) => at))).toBeLessThan(acquiredAt);
  await next.kill('SIGTERM');
});

test('an old leader that cannot drain in time: the next one begins when its lease has run out, and what the old one wrote arrives too late to change anything', async () => {
  const names = ['stuck-1', 'stuck-2', 'stuck-3'];
  const { old, next } = await midWrite(13_000, names);
  const answered = proxy.answers.length;
  const since = performance.now();
  old.signal('SIGTERM');
  const served = servedAfter(world(), 'a-dev/after', 'team-a', since);
  expect(await old.exited).toBe(1);
  const ended = performance.now() - since;
  const gap = await served;
  console.info(`given up after ${ended.toFixed(0)} ms, the next grant after ${gap.toFixed(0)} ms`);
  expect(gap).toBeLessThan(ended + TAKEN_OVER_WITHIN_MS);
  for (const name of names) await world().shows(`a-dev/${name}`, 'Assigned');
  const held = names.map((name) => world().checker.service(`a-dev/${name}`));
  await eventually(() => expect(proxy.answers.length).toBe(answered + names.length));
  expect(proxy.answers.slice(answered).map(({ status }) => status)).toEqual(names.map(() => 409));
  await world().checker.untilTableIsTrue();
  expect(names.map((name) => world().checker.service(`a-dev/${name}`))).toEqual(held);
  expect(held.map((object) => object && conditionOf(object)?.reason)).toEqual(names.map(() => 'Assigned'));
  await next.kill('SIGTERM');
});
