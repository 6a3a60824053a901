import { afterAll, describe, expect, test } from 'vitest';
import { ALONE, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { type HeldWatch, startHeldWatch } from '../support/heldWatch.ts';
import { conditionOf, keyOf } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import { identityOf, LEASE, type Lease, RUNS, servedAfter, writersByEpoch } from './replicas.ts';

const SHORT = [
  '--leader-elect-lease-duration=5s',
  '--leader-elect-renew-deadline=3s',
  '--leader-elect-retry-period=500ms',
];
/** Enough to be in the middle of them. */
const SERVICES = 60;

let recorded: HeldWatch;
let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.range('team-a', 30100, 30899, { cooldown: '0s' });
  recorded = await startHeldWatch(w.cluster);
});

afterAll(async () => {
  // Two that begin at once without a Lease may each stamp another block before they meet, and end.
  for (const [epoch, writers] of await writersByEpoch(world(), 'entries'))
    expect([...writers], `writers of epoch ${epoch}`).toHaveLength(1);
});

function served(prefix: string): string[] {
  return world()
    .checker.services()
    .filter((object) => conditionOf(object)?.status === 'True')
    .map(keyOf)
    .filter((key) => key.startsWith(prefix));
}

/**
 * Stopped between the look at the clock and the send, it sends that one write when it goes on: the other leader has served
 * that Service meanwhile, and the apiserver refuses what was made from an older one.
 */
async function expectNoEffect(late: readonly string[]): Promise<void> {
  expect(late.length, late.join()).toBeLessThanOrEqual(1);
  const names = late.map((write) => /\/services\/([^/]+)/.exec(write)?.[1]);
  const isRefused = async (): Promise<void> => {
    const refused = (await world().writes()).filter(({ code }) => code === 409).map(({ name }) => name);
    expect(refused).toEqual(expect.arrayContaining(names));
  };
  await eventually(isRefused);
}

describe('a leader stopped in the middle of work (SIGSTOP) past its lease, and continued', () => {
  test(
    `changes nothing any more and exits 1; the other has served everybody, ${RUNS} times`,
    async () => {
      for (let run = 1; run <= RUNS; run += 1) {
        const prefix = `a-dev/stopped-${run}-`;
        const stopped = await world().launch({ flags: SHORT, kubeconfig: recorded.kubeconfig });
        await stopped.ready();
        const next = await world().launch({ flags: SHORT });
        await next.standsBy();
        const created = Promise.all(
          Array.from({ length: SERVICES }, (_, i) => world().service(`${prefix}${i}`, { range: 'team-a' })),
        );
        await eventually(() => expect(served(prefix).length).toBeGreaterThan(SERVICES / 10));
        stopped.signal('SIGSTOP');
        await created;
        await next.ready();
        await eventually(() => expect(served(prefix)).toHaveLength(SERVICES));
        const before = recorded.writes.length;
        stopped.signal('SIGCONT');
        expect(await stopped.exited).toBe(1);
        await expectNoEffect(recorded.writes.slice(before));
        expect(recorded.writes.length).toBeGreaterThan(SERVICES / 10);
        expect((await stopped.logs()).at(-1)).toMatchObject({
          msg: 'fatal: stopping',
          reason: 'the lease was not renewed within 3 s',
        });
        await world().checker.untilTableIsTrue();
        await next.kill('SIGTERM');
      }
    },
    RUNS * 60_000,
  );
});

test('a leader that cannot reach the apiserver ends with code 1 at its renew deadline', async () => {
  const { launch, cluster } = world();
  const leader = await launch({ flags: SHORT });
  await leader.ready();
  await cluster.stopApiserver();
  const since = performance.now();
  expect(await leader.exited).toBe(1);
  expect(performance.now() - since).toBeLessThan(5_000);
  await cluster.startApiserver();
});

describe('the stamp on the table', () => {
  const fatal = {
    msg: 'fatal: stopping',
    reason: expect.stringMatching(/^table block \S+ carries the stamp \d+\/\S+: another leader is at work$/),
  };

  test('of one without a lease does not end who has it: that stamps above it, and the other ends', async () => {
    controller = await world().start();
    await servedAfter(world(), 'a-dev/elected', 'team-a', 0);
    const intruder = await world().launch({ flags: ALONE });
    expect(await intruder.exited).toBe(1);
    expect((await intruder.logs()).find(({ level }) => level === 'error')).toMatchObject(fatal);
    await servedAfter(world(), 'a-dev/still-elected', 'team-a', 0);
    expect(await controller.leads()).toBe(1);
    const { metadata } = await world().client.get<Lease>(LEASE);
    const identity = await identityOf(controller);
    const [epoch] = [...(await writersByEpoch(world()))].toSorted(([a], [b]) => b - a)[0] ?? [];
    expect(metadata.annotations).toEqual({ 'nodeport-manager.io/epoch': `${epoch}/${identity}` });
  });

  test('counts on when the Lease and its epoch are lost', async () => {
    const epochs = async () => Math.max(...(await writersByEpoch(world())).keys());
    await controller.kill('SIGTERM');
    const before = await epochs();
    await world().client.delete(LEASE);
    controller = await world().start();
    expect(await epochs()).toBe(before + 1);
  });

  test('two without leader election that begin at once never both write entries in one epoch', async () => {
    await controller.kill('SIGTERM');
    for (let run = 1; run <= RUNS; run += 1) {
      const both = await Promise.all([world().launch({ flags: ALONE }), world().launch({ flags: ALONE })]);
      const ended = await Promise.race(both.map(async (each) => ({ each, code: await each.exited })));
      expect(ended.code).toBe(1);
      expect((await ended.each.logs()).find(({ level }) => level === 'error')).toMatchObject(fatal);
      await Promise.all(both.map((each) => each.kill('SIGTERM')));
    }
  });
});
