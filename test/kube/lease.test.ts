import { describe, expect, test } from 'vitest';
import { requestTimeout } from '../../src/kube/leaseOptions.ts';
import { candidate, GET, leaseServer, OTHER, POST, PUT, WATCH } from './leaseServer.ts';
import { until } from './rig.ts';
import { end, event, reset, status, stream } from './scriptedServer.ts';

const START = '2026-01-01T00:00:00.000000Z';

describe('a candidate', () => {
  test('that finds no Lease makes one', async () => {
    const it = await leaseServer();
    await candidate(it).won;
    expect(it.spec()).toEqual({
      holderIdentity: 'me',
      leaseDurationSeconds: 10,
      acquireTime: START,
      renewTime: START,
      leaseTransitions: 0,
    });
    expect(it.lease()?.metadata.annotations).toEqual({ term: '1' });
    expect(it.server.requests.map(({ method }) => method)).toEqual(['GET', 'POST']);
    expect(it.server.seen(POST)[0]?.query.get('fieldManager')).toBe('test');
  });

  test('takes one that nobody holds at once, counts a transition and keeps what others wrote into it', async () => {
    const it = await leaseServer({ ...OTHER, holderIdentity: '', strategy: 'X' });
    await candidate(it).won;
    expect(it.spec()).toMatchObject({ holderIdentity: 'me', leaseTransitions: 5, strategy: 'X' });
    expect(it.lease()?.metadata).toMatchObject({
      labels: { theirs: 'yes' },
      annotations: { note: 'keep', term: '1' },
    });
    expect(it.clock.monotonic()).toBe(0);
  });

  test.each([
    ['years old', '2001-01-01T00:00:00.000000Z'],
    ['in the future: our clocks differ', '2099-01-01T00:00:00.000000Z'],
  ])(
    'waits for as long as the Lease says since it saw it first; its renewTime is %s',
    async (_, renewTime) => {
      const it = await leaseServer({ ...OTHER, leaseDurationSeconds: 25, renewTime });
      const me = candidate(it);
      await until(() => it.server.seen(WATCH).length === 1);
      it.clock.stepWall(86_400_000);
      await it.clock.elapse(24_999);
      expect(it.spec().holderIdentity).toBe('other');
      await it.clock.elapse(1);
      await me.won;
      expect(it.spec()).toMatchObject({ holderIdentity: 'me', leaseTransitions: 5 });
      expect(me.observed).toEqual(['sees other', 'leads']);
    },
  );

  test('waits on when the watch shows a renewal, without a request of its own', async () => {
    const it = await leaseServer(OTHER);
    const me = candidate(it);
    await until(() => it.server.seen(WATCH).length === 1);
    for (let renewals = 1; renewals <= 3; renewals += 1) {
      await it.clock.elapse(9_000);
      it.edit({ spec: { renewTime: `renewal ${renewals}` } });
      await it.clock.elapse(0);
      await it.clock.elapse(0);
    }
    await it.clock.elapse(9_999);
    expect([it.spec().holderIdentity, it.server.seen(GET).length, it.server.seen(PUT).length]).toEqual([
      'other',
      1,
      0,
    ]);
    await it.clock.elapse(1);
    await me.won;
    expect(it.spec().holderIdentity).toBe('me');
  });

  test('does not take an edit of anything but the spec for a renewal', async () => {
    const it = await leaseServer(OTHER);
    const me = candidate(it);
    await until(() => it.server.seen(WATCH).length === 1);
    await it.clock.elapse(9_000);
    it.edit({ annotations: { note: 'edited' } });
    await it.clock.elapse(1_000);
    await me.won;
    expect(it.lease()?.metadata.annotations).toMatchObject({ note: 'edited' });
  });

  test('takes over as soon as the watch shows a release (1.0.1 of an npm package: never within 15 s)', async () => {
    const it = await leaseServer(OTHER);
    const me = candidate(it);
    await until(() => it.server.seen(WATCH).length === 1);
    it.edit({ spec: { holderIdentity: '', leaseDurationSeconds: 1 } });
    await me.won;
    expect(it.clock.monotonic()).toBe(0);
    expect(it.server.requests.map(({ method }) => method)).toEqual(['GET', 'GET', 'PUT']);
  });

  test('that may not watch looks again and again, at random between 1 and 2.2 retry periods', async () => {
    const it = await leaseServer(OTHER);
    it.server.on(WATCH, status(403));
    const shares = [0, 1, 0.5];
    candidate(it, 'me', { random: () => shares.shift() ?? 0 });
    const lookedAt: number[] = [];
    for (let looks = 1; looks <= 4; looks += 1) {
      await it.clock.until(() => it.server.seen(WATCH).length === looks, { step: 10 });
      lookedAt.push(it.clock.monotonic());
    }
    const pauses = lookedAt.slice(1).map((at, i) => (at - (lookedAt[i] ?? 0)) / 1_500);
    for (const [i, expected] of [1, 2.2, 1.6].entries()) {
      expect(pauses[i]).toBeGreaterThan(expected - 0.1);
      expect(pauses[i]).toBeLessThan(expected + 0.1);
    }
  });

  test('without watches still takes over when the Lease has expired', async () => {
    const it = await leaseServer(OTHER);
    it.server.on(WATCH, status(403));
    const me = candidate(it);
    await it.clock.until(() => me.tenure() !== undefined, { most: 13_000 });
    expect(it.clock.monotonic()).toBeGreaterThan(9_900);
  });

  test('whose watch is stalled does not take a Lease that is renewed: split brain there', async () => {
    const it = await leaseServer(OTHER);
    // Only the first watch hears nothing.
    it.server.on(WATCH, stream([]), it.answers.watch);
    const me = candidate(it);
    await until(() => it.server.seen(WATCH).length === 1);
    await it.clock.elapse(9_000);
    it.edit({ spec: { renewTime: 'renewed' } });
    await it.clock.elapse(1_000);
    await until(() => it.server.seen(WATCH).length === 2);
    expect(it.server.seen(PUT)).toHaveLength(1);
    expect(it.spec().holderIdentity).toBe('other');
    await it.clock.elapse(9_900);
    expect(it.spec().holderIdentity).toBe('other');
    await it.clock.elapse(100);
    await me.won;
  });

  test('watches again after a watch that was closed in peace, without a storm', async () => {
    const it = await leaseServer(OTHER);
    it.server.on(WATCH, stream([event('BOOKMARK', { metadata: { resourceVersion: '101' } })], end));
    candidate(it);
    await it.clock.until(() => it.clock.monotonic() >= 9_000);
    expect(it.server.seen(WATCH).length).toBeGreaterThan(2);
    expect(it.server.seen(WATCH).length).toBeLessThan(7);
  });

  test('that has seen a holder does not take a deleted Lease before that would have expired', async () => {
    const it = await leaseServer(OTHER);
    const me = candidate(it);
    await until(() => it.server.seen(WATCH).length === 1);
    await it.clock.elapse(4_000);
    it.remove();
    await it.clock.elapse(5_999);
    expect(it.lease()).toBeUndefined();
    await it.clock.elapse(1);
    await me.won;
    expect(it.spec()).toMatchObject({ holderIdentity: 'me', leaseTransitions: 0 });
  });

  test('sees at once that a deleted Lease was made again by its holder, and waits for that', async () => {
    const it = await leaseServer(OTHER);
    const me = candidate(it);
    await until(() => it.server.seen(WATCH).length === 1);
    await it.clock.elapse(4_000);
    it.remove();
    it.edit({ spec: { ...OTHER, renewTime: 'again' } });
    await it.clock.elapse(0);
    await it.clock.elapse(0);
    await it.clock.elapse(9_999);
    expect(it.spec().holderIdentity).toBe('other');
    await it.clock.elapse(1);
    await me.won;
    expect(it.server.requests.map(({ method }) => method)).toEqual(['GET', 'GET', 'PUT']);
  });

  test('whose taking was not answered finds that it has it: one transition, its first acquireTime', async () => {
    const it = await leaseServer({ ...OTHER, holderIdentity: '' });
    it.server.on(
      PUT,
      (response, request) => {
        const nobody = { writeHead: () => nobody, end: () => nobody } as unknown as typeof response;
        it.answers.put(nobody, request);
        reset(response, request);
      },
      it.answers.put,
    );
    const me = candidate(it);
    await it.clock.until(() => me.tenure() !== undefined, { most: 5_000 });
    const { acquireTime } = JSON.parse(it.server.seen(PUT)[0]?.body ?? '').spec;
    expect(it.server.seen(PUT)).toHaveLength(2);
    expect(it.spec()).toMatchObject({ holderIdentity: 'me', leaseTransitions: 5, acquireTime });
    expect(it.spec().renewTime).not.toBe(acquireTime);
  });

  test('in a namespace that does not exist tries on, without a storm', async () => {
    const it = await leaseServer();
    it.server.on(POST, status(404, { reason: 'NotFound' }));
    const me = candidate(it);
    await it.clock.until(() => it.clock.monotonic() >= 10_000);
    expect(it.server.seen(POST).length).toBeGreaterThan(2);
    expect(it.server.seen(POST).length).toBeLessThan(7);
    it.server.on(POST, it.answers.post);
    await it.clock.until(() => me.tenure() !== undefined);
    expect(me.observed).toContain('election failed');
  });

  test('that is stopped while it waits asks nothing more', async () => {
    const it = await leaseServer(OTHER);
    const me = candidate(it);
    await until(() => it.server.seen(WATCH).length === 1);
    me.stop();
    expect(await me.won).toBeUndefined();
    await it.clock.elapse(30_000);
    expect(it.server.requests).toHaveLength(2);
    expect(it.clock.pending).toBe(0);
  });

  test('of many, one wins', async () => {
    const it = await leaseServer({ ...OTHER, holderIdentity: '' });
    const all = ['a', 'b', 'c', 'd'].map((identity) => candidate(it, identity));
    await until(() => it.server.seen(WATCH).length === 3);
    const leaders = all.filter((each) => each.tenure()?.holds());
    expect(leaders).toHaveLength(1);
    expect(it.spec()).toMatchObject({ leaseTransitions: 5 });
    expect(it.lease()?.metadata.annotations).toMatchObject({ term: '1' });
  });
});

test.each([
  [500, 500],
  [1_500, 1_000],
  [7_000, 3_500],
])('a request of an election with a renewDeadline of %i ms ends within %i ms', (deadline, timeout) => {
  expect(requestTimeout(deadline)).toBe(timeout);
});
