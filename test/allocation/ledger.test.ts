import { describe, expect, test } from 'vitest';
import { HISTORY } from '../../src/allocation/entry.ts';
import type { Entry } from '../../src/allocation/types.ts';
import { carriedOut, desk, MINUTE, NOW, numbers, port, service } from './fixtures.ts';

const TWO = { r: { ranges: [{ from: 30_100, to: 30_101 }] } };
const held = (uid: string, name: string): Entry => ({
  state: 'Held',
  service: `a/${name}`,
  uid,
  ports: ['http:80/TCP'],
  range: 'r',
  request: 'range=r',
  since: NOW,
});

describe('who waits', () => {
  test('a freed number goes to its first waiter, by creation and then by name', () => {
    const d = desk({ r: { ranges: [{ from: 30_100 }], cooldown: '0s' } });
    const first = d.serve(service(['http:80 31000'], { name: 'first' }));
    d.serve(service(['http:80 31001'], { name: 'younger', createdAt: NOW + 2_000 }));
    d.serve(service(['http:80 31002'], { name: 'b', createdAt: NOW + 1_000 }));
    d.serve(service(['http:80 31003'], { name: 'a', createdAt: NOW + 1_000 }));
    d.drain();
    d.vanish(first);
    expect(d.wake()).toEqual(['a/a']);
  });

  test('never to a newcomer, also when that is decided first', () => {
    const d = desk({ r: { ranges: [{ from: 30_100 }], cooldown: '0s' } });
    const first = d.serve(service(['http:80 31000'], { name: 'first' }));
    const waiter = d.serve(service(['http:80 31001'], { name: 'waiter', createdAt: NOW + 1_000 }));
    d.drain();
    d.vanish(first);
    expect(d.wake()).toEqual(['a/waiter']);
    const newcomer = d.serve(service(['http:80 31002'], { name: 'older' }));
    expect(numbers(newcomer)).toEqual([31_002]);
    expect(numbers(d.serve(newcomer))).toEqual([31_002]);
    expect(numbers(d.serve(waiter))).toEqual([30_100]);
  });

  test('one that needs more than there is holds up nobody', () => {
    const d = desk(TWO);
    d.serve(service(['http:80 31000'], { name: 'first' }));
    d.serve(service(['a:80 31001', 'b:81 31002'], { name: 'big', createdAt: NOW + 1_000 }));
    expect(numbers(d.serve(service(['http:80 31003'], { name: 'small', createdAt: NOW + 2_000 })))).toEqual([
      30_101,
    ]);
  });

  test('one that goes to another line wakes those behind it', () => {
    const d = desk({ r: { ranges: [{ from: 30_100 }], cooldown: '0s' }, s: { ranges: [{ from: 30_200 }] } });
    const first = d.serve(service(['http:80 31000'], { name: 'first' }));
    d.serve(service(['http:80 31009'], { name: 'other', range: 's' }));
    const a = d.serve(service(['http:80 31001'], { name: 'a' }));
    d.serve(service(['http:80 31002'], { name: 'b' }));
    d.vanish(first);
    expect(d.wake()).toEqual(['a/a']);
    d.fold(d.see({ ...a, ...service(['http:80 31001'], { name: 'a', range: 's' }) }));
    expect(d.wake()).toEqual(['a/b']);
  });

  test('one that is deleted wakes those behind it', () => {
    const d = desk({ r: { ranges: [{ from: 30_100 }], cooldown: '0s' } });
    const first = d.serve(service(['http:80 31000'], { name: 'first' }));
    const a = d.serve(service(['http:80 31001'], { name: 'a' }));
    d.serve(service(['http:80 31002'], { name: 'b' }));
    d.vanish(first);
    expect(d.wake()).toEqual(['a/a']);
    d.vanish(a);
    expect(d.wake()).toEqual(['a/b']);
  });

  test('one that sits on a number which cools down is woken when that is over', () => {
    const d = desk({ r: { ranges: [{ from: 30_100 }] } });
    d.vanish(d.serve(service(['http:80 31000'], { name: 'first' })));
    const web = d.serve(service(['http:80 30100']));
    expect(web.condition?.reason).toBe('RangeExhausted');
    d.drain();
    d.pass(5 * MINUTE);
    expect(d.wake()).toContain('a/web');
    expect(d.serve(web).condition?.reason).toBe('Adopted');
  });

  test('what is shown does not change while numbers cool down', () => {
    const d = desk({ r: { ranges: [{ from: 30_100 }] } });
    d.serve(service(['http:80 31000']));
    const ports = ['web:80 31001', 'b:81 31002', 'c:82 31003'];
    const waiting = d.serve(service(ports));
    d.pass(5 * MINUTE);
    expect(d.serve(waiting).condition).toEqual(waiting.condition);
  });
});

describe('release', () => {
  test('kubernetes #64466: a delete frees nothing that another Service still uses', () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    d.see(service(['http:80 30100'], { name: 'twin', range: undefined }));
    d.vanish(web);
    d.pass(6 * MINUTE);
    expect(d.ledger.holding(30_100)).toMatchObject({ by: 'service', owner: { key: 'a/twin' } });
  });

  test("kruise-game #65: a repeated delete does not free a neighbour's port", () => {
    const d = desk({ r: { cooldown: '0s' } });
    const web = d.serve(service(['http:80 31000']));
    d.vanish(web);
    d.serve(service(['http:80 31000'], { name: 'neighbour' }));
    d.ledger.observe(web, undefined, d.now);
    d.ledger.gone(web.uid, d.now);
    expect(d.ledger.holding(30_100)).toMatchObject({
      by: 'service',
      owner: { key: 'a/neighbour' },
      managed: true,
    });
  });

  test("kubeblocks: a name that begins like another's frees nothing of it", () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    d.serve(service(['http:80 31001'], { name: 'web-2' }));
    d.vanish(web);
    expect(d.ledger.entry(30_101)?.state).toBe('Held');
    expect(d.ledger.entry(30_100)?.state).toBe('Released');
  });

  test('whereabouts #162: a reservation stays while its Service does not show the number yet', () => {
    const d = desk();
    const web = d.see(service(['http:80 31000']));
    d.fold(web);
    const reserved = { by: 'reservation', owner: { key: 'a/web', uid: 'uid-web' } };
    d.see({ ...web, resourceVersion: '2' });
    expect(d.ledger.holding(30_100)).toEqual(reserved);
    d.fold(web);
    expect(d.ledger.holding(30_100)).toEqual(reserved);
  });

  test('whereabouts #176: a Service seen under a new UID is somebody else', () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    const again = d.see({ ...web, uid: 'uid-2' });
    expect(d.ledger.holding(30_100)).toMatchObject({ by: 'service', owner: { uid: 'uid-2' } });
    expect(d.ledger.ownersAt('a/web')).toEqual(['uid-web']);
    d.ledger.observe(again, undefined, d.now);
    d.ledger.gone('uid-web', d.now);
    expect(d.ledger.holding(30_100)).toMatchObject({ by: 'cooldown' });
  });

  test('the number rests for the cooldown of its range, to the millisecond', () => {
    const d = desk({ r: { cooldown: '1m' } });
    d.vanish(d.serve(service(['http:80 31000'])));
    expect(d.ledger.nextDeadline()).toBe(NOW + MINUTE);
    d.pass(MINUTE - 1);
    expect(d.ledger.holding(30_100)?.by).toBe('cooldown');
    d.pass(1);
    expect(d.ledger.holding(30_100)).toBeUndefined();
    expect(d.ledger.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });

  test('a released entry is history for 30 days after its rest', () => {
    const d = desk({ r: { cooldown: '1m' } });
    d.vanish(d.serve(service(['http:80 31000'])));
    d.now += MINUTE + HISTORY;
    d.ledger.forgetHistory(d.now);
    expect(d.ledger.entry(30_100)).toBeDefined();
    d.now += 1;
    d.ledger.forgetHistory(d.now);
    expect(d.ledger.entry(30_100)).toBeUndefined();
    expect(d.drain().entries.get(30_100)).toBeUndefined();
  });

  test('three owners before the present one are remembered, the latest first', () => {
    const d = desk({ r: { ranges: [{ from: 30_100 }], cooldown: '0s' } });
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      d.vanish(d.serve(service(['http:80 31000'], { name })));
      d.now += 1_000;
    }
    expect(d.ledger.entry(30_100)?.service).toBe('a/e');
    expect(d.ledger.entry(30_100)?.previous?.map(({ service }) => service)).toEqual(['a/d', 'a/c', 'a/b']);
  });
});

describe('a number that was just given, and the watch shows another Service on it', () => {
  function given() {
    const d = desk();
    const web = d.see(service(['http:80 31000']));
    const decision = d.fold(web);
    const rival = service(['http:80 30100 kubectl'], { name: 'rival' });
    d.fold(d.see(rival));
    d.drain();
    return { d, web, rival, written: carriedOut(web, decision) };
  }

  test('what the watch shows may be older than our write: the table names whom it was given to', () => {
    const { d, web, rival, written } = given();
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: web.uid });
    d.fold(d.see({ ...rival, ports: [port('http:80 31001')] }));
    d.fold(d.see(written));
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: web.uid });
    expect(d.drain().entries.size).toBe(1);
  });

  test('the write is refused: who has the number is woken, and recorded', () => {
    const { d, web, rival } = given();
    d.ledger.refused(web.uid, 30_100, d.now);
    expect(d.wake()).toEqual(['a/rival']);
    d.fold(rival);
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: rival.uid });
  });

  test('it is decided again, and gets another number: who has this one is woken, and recorded', () => {
    const { d, web, rival } = given();
    expect(d.fold(web)).toMatchObject({ do: 'assign', grants: [{ number: 30_101 }] });
    expect(d.wake()).toEqual(['a/rival']);
    d.fold(rival);
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: rival.uid });
  });

  test('it is gone: who has the number is woken, and recorded', () => {
    const { d, web, rival } = given();
    d.vanish(web);
    expect(d.wake()).toEqual(['a/rival']);
    d.fold(rival);
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: rival.uid });
  });
});

test('two Services that are both on two numbers, and each to be written, do not wake each other for ever', () => {
  const d = desk();
  const a = d.see(service(['http:80 30100 kubectl', 'http2:80/UDP 0', 'x:90 30101 kubectl'], { name: 'a' }));
  const b = d.see(service(['http:80 30101 kubectl', 'http2:80/UDP 0', 'x:90 30100 kubectl'], { name: 'b' }));
  d.restore(30_100, held('uid-a', 'a'));
  d.restore(30_101, held('uid-b', 'b'));
  let ready: readonly string[] = ['a/a', 'a/b', 'a/a'];
  for (let i = 0; i < 10 && ready.length > 0; i += 1) {
    for (const key of ready) d.fold(key === 'a/a' ? a : b);
    ready = d.wake();
  }
  expect(ready).toEqual([]);
});

describe('the apiserver refuses a number', () => {
  test('kubernetes #32987: another is tried, and the refused one again after 1, 2, 4 … 30 s', () => {
    const d = desk({ r: { ranges: [{ from: 30_100 }] } });
    const web = d.see(service(['http:80 31000']));
    const waits = [];
    for (let i = 0; i < 7; i++) {
      d.fold(web);
      d.ledger.refused(web.uid, 30_100, d.now);
      expect(d.ask(web).do).toBe('refuse');
      waits.push(d.ledger.nextDeadline() - d.now);
      d.pass(d.ledger.nextDeadline() - d.now);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  test('and whoever holds it goes: it is free at once', () => {
    const d = desk();
    const web = d.see(service(['http:80 31000']));
    d.fold(web);
    d.ledger.refused(web.uid, 30_100, d.now);
    const rival = d.see(service(['http:80 30100'], { name: 'rival', range: undefined }));
    expect(d.ledger.holding(30_100)?.by).toBe('service');
    d.vanish(rival);
    expect(d.ledger.holding(30_100)).toBeUndefined();
  });

  test.each(['before', 'after'])(
    'because somebody has it, who shows %s the refusal: that one may keep it',
    (when) => {
      const d = desk();
      const web = d.see(service(['http:80 31000']));
      const rival = service(['http:80 30100'], { name: 'rival' });
      d.fold(web);
      if (when === 'before') d.see(rival);
      d.ledger.refused(web.uid, 30_100, d.now);
      expect(numbers(d.serve(rival))).toEqual([30_100]);
    },
  );

  test("a refusal of a number that is another's by now changes nothing", () => {
    const d = desk();
    d.serve(service(['http:80 31000']));
    d.ledger.refused('uid-late', 30_100, d.now);
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: 'uid-web' });
  });
});

describe('start', () => {
  test('metallb #2443: after a restart holders are loaded before a pending claimant is served', () => {
    const d = desk();
    d.restore(30_100, held('uid-web', 'web'));
    d.see(service(['http:80 30100'], { createdAt: NOW + 5_000 }));
    expect(numbers(d.serve(service(['http:80 31000'], { name: 'claimant' })))).toEqual([30_101]);
  });

  test('a reservation is resumed with its own number, not with the lowest', () => {
    const d = desk();
    d.restore(30_105, held('uid-web', 'web'));
    expect(numbers(d.serve(service(['http:80 31000'])))).toEqual([30_105]);
  });

  test('a reservation whose number somebody else has by now is given up', () => {
    const d = desk();
    d.restore(30_105, held('uid-web', 'web'));
    d.see(service(['http:80 30105'], { name: 'manual', range: undefined }));
    expect(numbers(d.serve(service(['http:80 31000'])))).toEqual([30_100]);
    expect(d.ledger.entry(30_105)?.state).toBe('Released');
  });

  test('a hand edit of the table that contradicts a Service loses', () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    d.ledger.restore(30_100, held('uid-other', 'other'), d.now);
    expect(d.serve(web).condition?.message).toBe('holds http 30100 from r');
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: 'uid-web' });
  });

  test('what is taken from the table is not written to it again', () => {
    const d = desk();
    d.see(service(['http:80 30100']));
    d.restore(30_100, held('uid-web', 'web'));
    d.fold(service(['http:80 30100']));
    expect(d.drain().entries.size).toBe(0);
  });

  test('kube-vip-cloud-provider #15: numbers of an unreadable block are not given out, and not taken for free', () => {
    const d = desk(TWO);
    d.ledger.setUnreadable([30_100, 30_101], true);
    expect(d.ledger.holding(30_100)).toEqual({ by: 'unreadable' });
    const web = d.serve(service(['http:80 31000']));
    expect(numbers(web)).toEqual([31_000]);
    d.drain();
    d.ledger.setUnreadable([30_100, 30_101], false);
    expect(d.wake()).toEqual(['a/web']);
    expect(numbers(d.serve(web))).toEqual([30_100]);
  });
});

test('two live Services on one number, as a restored etcd may show them: both are seen, and neither is moved', () => {
  const d = desk();
  const web = d.serve(service(['http:80 31000']));
  const condition = web.condition as NonNullable<typeof web.condition>;
  const twin = d.serve(service(['http:80 30100'], { name: 'twin', condition }));
  expect(numbers(twin)).toEqual([30_100]);
  expect(d.ledger.entry(30_100)?.uid).toBe('uid-web');
  d.drain();
  d.fold(twin);
  d.fold(web);
  expect(d.drain().entries.size).toBe(0);
});
