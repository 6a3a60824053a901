import { describe, expect, test } from 'vitest';
import type { LeaseSpec } from '../../src/kube/leaseObject.ts';
import { candidate, GET, leaseServer, OTHER, PUT, WATCH } from './leaseServer.ts';
import { until } from './rig.ts';
import { reset, silence, status } from './scriptedServer.ts';

const START = '2026-01-01T00:00:00.000000Z';

describe('the holder', () => {
  async function holding(found?: LeaseSpec) {
    const it = await leaseServer(found);
    const me = candidate(it);
    const tenure = await me.won;
    if (tenure === undefined) throw new Error('not won');
    return { ...it, me, tenure };
  }

  test('renews each retry period; acquireTime and transitions stay', async () => {
    const it = await holding({ ...OTHER, holderIdentity: '' });
    for (let renewals = 2; renewals <= 20; renewals += 1) {
      await it.clock.elapse(1_500);
      await until(() => it.server.seen(PUT).length === renewals);
      await it.clock.elapse(0);
    }
    expect(it.tenure.holds()).toBe(true);
    expect(it.spec()).toMatchObject({
      holderIdentity: 'me',
      acquireTime: START,
      renewTime: '2026-01-01T00:00:28.500000Z',
      leaseTransitions: 5,
    });
    expect(it.server.seen(GET)).toHaveLength(1);
  });

  test('goes on after an edit of its Lease by somebody else, and keeps it', async () => {
    const it = await holding();
    it.edit({ annotations: { note: 'by hand' } });
    await it.clock.elapse(1_500);
    await until(() => it.server.seen(PUT).length === 2);
    await it.clock.elapse(0);
    expect(it.lease()?.metadata.annotations).toEqual({ term: '1', note: 'by hand' });
    expect([it.tenure.holds(), it.me.observed]).toEqual([true, ['leads']]);
  });

  test('makes a deleted Lease again, with its annotations', async () => {
    const it = await holding({ ...OTHER, holderIdentity: '' });
    it.remove();
    await it.clock.elapse(1_500);
    await until(() => it.lease() !== undefined);
    expect(it.spec()).toMatchObject({ holderIdentity: 'me', leaseTransitions: 5, acquireTime: START });
    expect(it.lease()?.metadata.annotations).toEqual({ note: 'keep', term: '1' });
    expect(it.tenure.holds()).toBe(true);
  });

  test.each([
    ['another', 'other has the lease'],
    ['', 'the lease was taken from us'],
  ])('that sees "%s" in its place stops at once (client-go: at its renew deadline)', async (holder, why) => {
    const it = await holding();
    it.edit({ spec: { holderIdentity: holder === '' ? '' : 'other' } });
    await it.clock.elapse(1_500);
    await until(() => it.me.lost() !== undefined);
    expect([it.me.lost(), it.tenure.holds(), it.me.observed]).toEqual([why, false, ['leads', 'stops']]);
    await it.clock.elapse(60_000);
    expect(it.server.seen(PUT)).toHaveLength(1);
    expect(it.clock.pending).toBe(0);
  });

  test.each([
    ['answers 500', status(500)],
    ['breaks each connection', reset],
    ['never answers', silence],
  ])('stops at the renew deadline when the server %s, before another may begin', async (_, answer) => {
    const it = await holding();
    await it.clock.elapse(1_500);
    await until(() => it.server.seen(PUT).length === 1);
    await it.clock.elapse(0);
    const renewedAt = 1_500;
    it.server.on(PUT, answer);
    it.server.on(GET, answer);
    await it.clock.until(() => it.clock.monotonic() >= renewedAt + 6_900, { step: 10 });
    expect(it.tenure.holds()).toBe(true);
    expect(it.server.seen(PUT).length).toBeGreaterThan(2);
    await it.clock.elapse(renewedAt + 7_000 - it.clock.monotonic());
    expect(it.me.lost()).toBe('the lease was not renewed within 7 s');
    expect([it.tenure.holds(), it.me.observed.at(-1)]).toEqual([false, 'stops']);
  });

  test('counts from when it sent a renewal, not from when that was answered', async () => {
    const it = await holding();
    let answerLate = (): void => undefined;
    it.server.on(PUT, (response, request) => (answerLate = () => it.answers.put(response, request)), silence);
    await it.clock.elapse(1_500);
    await until(() => it.server.seen(PUT).length === 1);
    await it.clock.elapse(3_000);
    answerLate();
    await until(() => it.server.seen(PUT).length === 2 || it.spec().renewTime !== START);
    await it.clock.elapse(0);
    await it.clock.elapse(3_990);
    expect(it.tenure.holds()).toBe(true);
    await it.clock.elapse(20);
    expect(it.tenure.holds()).toBe(false);
  });

  test('that was stopped past its deadline knows when it goes on, before any timer has run', async () => {
    const it = await leaseServer();
    let stoppedFor = 0;
    const monotonic = (): number => it.clock.monotonic() + stoppedFor;
    const me = candidate(it, 'me', { clock: { ...it.clock, monotonic } });
    const tenure = await me.won;
    expect(tenure?.holds()).toBe(true);
    stoppedFor = 7_000;
    expect(tenure?.holds()).toBe(false);
    await until(() => me.lost() !== undefined);
    // A renewal on its way when it was stopped makes it no holder again.
    stoppedFor = 0;
    expect(tenure?.holds()).toBe(false);
  });

  test('releases: nobody holds it, for 1 s; the transitions stay, and a waiting candidate has it at once', async () => {
    const it = await holding({ ...OTHER, holderIdentity: '' });
    const next = candidate(it, 'next');
    await until(() => it.server.seen(WATCH).length === 1);
    it.server.on(
      PUT,
      (response, request) => {
        expect(JSON.parse(request.body).spec).toMatchObject({
          holderIdentity: '',
          leaseDurationSeconds: 1,
          leaseTransitions: 5,
        });
        it.answers.put(response, request);
      },
      it.answers.put,
    );
    const released = it.tenure.release();
    expect(it.tenure.holds()).toBe(false);
    await released;
    await next.won;
    expect(it.clock.monotonic()).toBe(0);
    expect(it.spec()).toMatchObject({ holderIdentity: 'next', leaseTransitions: 6 });
    expect(it.lease()?.metadata.annotations).toMatchObject({ term: '2' });
    expect(next.observed).toEqual(['sees me', 'sees nobody', 'leads']);
    expect([it.me.observed, it.me.lost()]).toEqual([['leads', 'stops'], undefined]);
    await it.tenure.release();
    expect(it.server.seen(PUT)).toHaveLength(3);
  });

  test('releases a Lease that was edited meanwhile, and leaves one that another has', async () => {
    const it = await holding();
    it.edit({ annotations: { note: 'by hand' } });
    await it.tenure.release();
    expect(it.spec().holderIdentity).toBe('');
    const other = await holding();
    other.edit({ spec: { holderIdentity: 'other' } });
    await other.tenure.release();
    expect(other.spec().holderIdentity).toBe('other');
  });

  test('whose release fails leaves the Lease to expire', async () => {
    const it = await holding();
    it.server.on(PUT, status(500));
    await it.tenure.release();
    expect(it.me.observed).toEqual(['leads', 'stops', 'release failed']);
  });

  test('annotates at once, and not before that is on the server', async () => {
    const it = await holding();
    const before = it.server.seen(PUT).length;
    const both = Promise.all([it.tenure.annotate({ term: '9' }), it.tenure.annotate({ more: 'yes' })]);
    await both;
    expect(it.lease()?.metadata.annotations).toEqual({ term: '9', more: 'yes' });
    expect(it.tenure.annotations()).toEqual({ term: '9', more: 'yes' });
    expect(it.clock.monotonic()).toBe(0);
    expect(it.server.seen(PUT).length - before).toBe(1);
  });

  test('annotates with a later renewal when the first fails, and not at all when it has lost', async () => {
    const it = await holding();
    it.server.on(PUT, status(500), it.answers.put);
    const annotated = it.tenure.annotate({ term: '9' });
    await it.clock.until(() => it.server.seen(PUT).length === 2);
    await annotated;
    expect(it.lease()?.metadata.annotations).toEqual({ term: '9' });
    it.edit({ spec: { holderIdentity: 'other' } });
    await expect(it.tenure.annotate({ term: '10' })).rejects.toThrow('the lease was lost');
    await expect(it.tenure.annotate({ term: '11' })).rejects.toThrow('the lease was lost');
    expect(it.lease()?.metadata.annotations).toEqual({ term: '9' });
  });
});
