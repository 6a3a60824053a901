import { describe, expect, test } from 'vitest';
import { carriedOut, desk, MINUTE, numbers, says, service, showing } from './fixtures.ts';

describe('a holder', () => {
  const held = ['http:80 30100 nodeport-manager'];

  test.each([
    ['shrinks', { r: { ranges: [{ from: 30_105, to: 30_109 }] } }, 'r (30105-30109) does not contain 30100'],
    ['excludes the number', { r: { excluded: [{ from: 30_100 }] } }, 'r excludes 30100'],
    ['admits others only', { r: { namespaces: ['b'] } }, 'r does not admit namespace a'],
    ['is gone', {}, 'PortRange "r" does not exist'],
    ['loses the number to an older one', { old: {}, r: {} }, '30100 belongs to the older PortRange old'],
  ])('cilium #40358: a range edit reshuffles nobody: the range %s', (_, next, why) => {
    const d = desk();
    d.serve(service(['http:80 31000']));
    d.setRanges(next);
    const web = d.serve({
      ...service(held),
      condition: showing({ reason: 'Assigned', message: 'holds http 30100 from r' }),
    });
    expect(numbers(web)).toEqual([30_100]);
    expect(says(web)).toBe(`HeldOutOfRange: holds http 30100 outside r: ${why}`);
    d.setRanges({ r: {} });
    expect(says(d.serve(web))).toBe('Assigned: holds http 30100 from r');
  });

  test('a paused range keeps its holders and takes no new ones', () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    d.setRanges({ r: { paused: true } });
    expect(says(d.serve(web))).toBe('Assigned: holds http 30100 from r');
    const late = d.serve(service(['http:80 31001'], { name: 'late' }));
    expect(says(late)).toBe('RangePaused: PortRange r is paused; temporarily on 31001');
  });

  test('moves when its own request changes, and its old number rests', () => {
    const d = desk({ r: {}, s: { ranges: [{ from: 30_200 }] } });
    d.serve(service(['http:80 31000']));
    const web = d.serve(service(held, { range: 's' }));
    expect(numbers(web)).toEqual([30_200]);
    expect(d.ledger.holding(30_100)).toMatchObject({ by: 'cooldown', last: { key: 'a/web' } });
  });

  test('stays where it is while the range that it wants to move to is full', () => {
    const d = desk({ r: {}, s: { ranges: [{ from: 30_200 }] } });
    d.see(service(['http:80 30200'], { name: 'manual', range: undefined }));
    d.serve(service(['http:80 31000']));
    const web = d.serve(service(held, { range: 's' }));
    expect(numbers(web)).toEqual([30_100]);
    expect(says(web)).toBe('RangeExhausted: holds http 30100 from r; s has too few free ports: 1 needed');
    expect(says(d.serve({ ...web, ...service(held), condition: web.condition as never }))).toBe(
      'Assigned: holds http 30100 from r',
    );
  });

  test('argo-cd #18764: a number that another manager pins outlives every request', () => {
    const d = desk({ r: {}, s: { ranges: [{ from: 30_200 }] } });
    d.serve(service(['http:80 30100 argocd']));
    const web = d.serve(service(['http:80 30100 argocd'], { range: 's' }));
    expect(numbers(web)).toEqual([30_100]);
    expect(says(web)).toBe(
      'HeldOutOfRange: holds http 30100 outside s: s (30200) does not contain 30100, pinned by "argocd"',
    );
    expect(d.ledger.entry(30_100)).toMatchObject({ range: 's', request: 'range=s' });
  });

  test('nginx kubernetes-ingress #9054: another manager writes another number: its claim, and ours is released', () => {
    const d = desk();
    d.serve(service(['http:80 31000']));
    const web = d.serve(service(['http:80 31555 kubectl']));
    expect(numbers(web)).toEqual([31_555]);
    expect(web.condition?.reason).toBe('HeldOutOfRange');
    expect(d.ledger.entry(30_100)?.state).toBe('Released');
    expect(d.ledger.entry(31_555)).toMatchObject({ state: 'Held', uid: 'uid-web' });
  });

  test('that loses its node ports by a type flip gets the same number back', () => {
    const d = desk();
    d.serve(service(['http:80 31000']));
    const flipped = d.serve(service(['http:80'], { type: 'ClusterIP' }));
    expect(says(flipped)).toBe('NoNodePorts: a Service of type "ClusterIP" has no node ports');
    expect(d.ledger.entry(30_100)?.state).toBe('Released');
    expect(numbers(d.serve(service(['http:80 30105 nodeport-manager'])))).toEqual([30_100]);
  });

  test.each([31_001, 30_105])(
    'a port that is renamed by PUT, and so has a random number (%i), gets its number back',
    (random) => {
      const d = desk();
      d.serve(service(['http:80 31000']));
      expect(numbers(d.serve(service([`web:80 ${random}`])))).toEqual([30_100]);
    },
  );

  test('a port that keeps its name and changes its number keeps its node port', () => {
    const d = desk();
    d.serve(service(['http:80 31000']));
    expect(numbers(d.serve(service(['http:81 30100'])))).toEqual([30_100]);
    expect(d.ledger.entry(30_100)?.ports).toEqual(['http:81/TCP']);
  });

  test('a dropped port is released, and the others stay', () => {
    const d = desk();
    d.serve(service(['http:80 31000', 'https:443 31001']));
    const web = d.serve(service(['https:443 30101 nodeport-manager']));
    expect(says(web)).toBe('Assigned: holds https 30101 from r');
    expect(d.ledger.entry(30_100)?.state).toBe('Released');
  });

  test('whose request becomes malformed keeps what it holds, and says so', () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    const broken = d.serve({ ...web, annotations: { 'nodeport-manager.io/range': 'R!' } });
    expect(numbers(broken)).toEqual([30_100]);
    expect(broken.condition?.message).toMatch(/^holds http 30100 from r; /);
    expect(d.ledger.entry(30_100)?.state).toBe('Held');
  });

  test('that stops asking keeps its ports, and loses its condition and its entry', () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    const free = d.serve({ ...web, annotations: {} });
    expect(numbers(free)).toEqual([30_100]);
    expect(free.condition).toBeUndefined();
    expect(d.ledger.entry(30_100)).toBeUndefined();
    expect(d.ledger.holding(30_100)).toMatchObject({ by: 'service', managed: false });
  });
});

test('a Service that stops asking and asks again stays where it is, also if it left another number shortly before', () => {
  const d = desk({ r: {}, s: { ranges: [{ from: 30_200 }] } });
  const web = d.serve(service(['http:80 31234']));
  const moved = d.serve({ ...web, annotations: { 'nodeport-manager.io/ports': '30105' } });
  expect(numbers(moved)).toEqual([30_105]);
  const silent = d.serve({ ...moved, annotations: {} });
  expect(d.ledger.holding(30_100)).toMatchObject({ by: 'cooldown' });
  expect(numbers(d.serve({ ...silent, annotations: web.annotations }))).toEqual([30_105]);
});

describe('the last owner gets its number back', () => {
  test('re-created within the cooldown, even if its random number would fit', () => {
    const d = desk();
    d.serve(service(['http:80 30100'], { name: 'first' }));
    d.vanish(d.serve(service(['http:80 31000'])));
    const again = service(['http:80 30105'], { uid: 'uid-2' });
    expect(numbers(d.serve(again))).toEqual([30_101]);
  });

  test('also when it is decided again before the number is written', () => {
    const d = desk();
    d.vanish(d.serve(service(['http:80 31000'])));
    const again = d.see(service(['http:80 30105'], { uid: 'uid-2' }));
    expect(d.fold(again)).toMatchObject({ do: 'assign', grants: [{ number: 30_100 }] });
    expect(d.fold(again)).toMatchObject({ do: 'assign', grants: [{ number: 30_100 }] });
  });

  test('after the cooldown, where nobody took it, if it needs a number', () => {
    const d = desk();
    d.serve(service(['http:80 31000'], { name: 'first' }));
    const web = d.serve(service(['http:80 31001']));
    d.vanish(web);
    d.vanish(service([], { name: 'first' }));
    d.pass(6 * MINUTE);
    expect(numbers(d.serve(service(['http:80 31000'], { uid: 'uid-2' })))).toEqual([30_101]);
  });

  test('of the same port only: another port of the same name does not end the cooldown', () => {
    const d = desk();
    d.vanish(d.serve(service(['http:80 31000'])));
    expect(numbers(d.serve(service(['dns:53 31000'], { uid: 'uid-2' })))).toEqual([30_101]);
  });

  test('somebody else gets it when the cooldown is over', () => {
    const d = desk();
    d.vanish(d.serve(service(['http:80 31000'])));
    d.pass(5 * MINUTE - 1);
    expect(numbers(d.serve(service(['http:80 31000'], { name: 'v' })))).toEqual([30_101]);
    d.pass(1);
    expect(numbers(d.serve(service(['http:80 31001'], { name: 'w' })))).toEqual([30_100]);
  });
});

describe('what is shown', () => {
  test('a Service that was adopted and gets another port from us is Assigned, also when we die before saying so', () => {
    const d = desk();
    const adopted = d.serve(service(['http:80 30105']));
    const more = { ...adopted, ports: service(['http:80 30105', 'b:81 31001']).ports };
    const decision = d.fold(d.see(more));
    const written = { ...carriedOut(more, decision), condition: adopted.condition as never };
    expect(decision).toMatchObject({ verdict: { reason: 'Assigned' } });
    expect(d.ask(d.see(written))).toMatchObject({ do: 'keep', verdict: { reason: 'Assigned' } });
  });

  test("a team's apply takes our mark away and changes nothing", () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    const applied = { ...web, ports: service(['http:80 30100']).ports };
    expect(d.ask(d.see(applied))).toMatchObject({ do: 'keep', verdict: { reason: 'Assigned' } });
  });
});

describe('the table is lost', () => {
  test('what the condition names is held, even out of range', () => {
    const d = desk({ r: { ranges: [{ from: 30_200, to: 30_209 }] } });
    const condition = showing({ reason: 'Assigned', message: 'holds http 30100 from r' });
    const web = d.serve(service(['http:80 30100'], { condition }));
    expect(numbers(web)).toEqual([30_100]);
    expect(web.condition?.reason).toBe('HeldOutOfRange');
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: 'uid-web', request: 'range=r' });
  });

  test("today's request is taken as honoured", () => {
    const d = desk({ r: {}, s: { ranges: [{ from: 30_200 }] } });
    const condition = showing({ reason: 'Assigned', message: 'holds http 30100 from r' });
    const web = d.serve(service(['http:80 30100'], { range: 's', condition }));
    expect(numbers(web)).toEqual([30_100]);
    expect(says(web)).toBe('Assigned: holds http 30100 from r');
  });

  test("a number that the condition does not name is nobody's word", () => {
    const condition = showing({
      reason: 'RangeExhausted',
      message: 'r has too few free ports: 1 needed; temporarily on 31234',
    });
    expect(numbers(desk().serve(service(['http:80 31234'], { condition })))).toEqual([30_100]);
  });
});

describe('the table is lost while a holder is refused something', () => {
  const told = showing({ reason: 'InvalidRequest', message: 'holds http 30100 from r; …' });

  test('a malformed request: what it holds is in the table again, and the next request moves nobody', () => {
    const d = desk({ r: {}, s: { ranges: [{ from: 30_200 }] } });
    const broken = d.serve(service(['http:80 30100'], { range: 'R', condition: told }));
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', uid: 'uid-web', range: 'r', request: '' });
    expect(
      numbers(d.serve({ ...broken, ...service(['http:80 30100'], { range: 's' }), condition: told })),
    ).toEqual([30_100]);
  });

  test('a port that waits: what it holds is in the table again', () => {
    const d = desk({ r: { paused: true } });
    d.serve(service(['http:80 30100', 'b:81 31001'], { condition: told }));
    expect(d.ledger.entry(30_100)).toMatchObject({ state: 'Held', range: 'r', request: 'range=r' });
    expect(d.ledger.entry(31_001)).toBeUndefined();
  });

  test('only some of its entries are lost: the others say which request was honoured', () => {
    const d = desk({ r: {}, s: { paused: true } });
    const web = d.serve(service(['a:80 31000', 'b:81 31001']));
    const condition = web.condition as NonNullable<typeof web.condition>;
    const next = desk({ r: {}, s: { paused: true } });
    next.restore(30_100, d.ledger.entry(30_100) as never);
    next.serve(service(['a:80 30100', 'b:81 30101'], { range: 's', condition }));
    expect(next.ledger.entry(30_101)).toMatchObject({ range: 'r', request: 'range=r' });
  });

  test('a table that is not lost keeps the request that was honoured', () => {
    const d = desk({ r: {}, s: { paused: true } });
    d.serve(service(['http:80 31000']));
    d.serve(service(['http:80 30100'], { range: 's' }));
    expect(d.ledger.entry(30_100)).toMatchObject({ range: 'r', request: 'range=r' });
  });
});

test('a number that is reserved for one port is not held by another that the apiserver happened to give it', () => {
  const d = desk();
  d.vanish(d.serve(service(['a:80 31000', 'b:81 31001'])));
  const again = d.see(service(['a:80 30101', 'b:81 31001'], { uid: 'uid-2' }));
  const expected = { do: 'assign', grants: [{ number: 30_100 }, { number: 30_101 }] };
  expect(d.fold(again)).toMatchObject(expected);
  expect(d.fold(again)).toMatchObject(expected);
});

test('a reservation that is given up while its number is on another port, at random, is not left in the table', () => {
  const d = desk({ r: { ranges: [{ from: 30_100 }] } });
  d.fold(d.see(service(['http:80 31000'])));
  d.serve(service(['a:81 31001', 'b:82 30100', 'c:83 31002']));
  expect(d.ledger.entriesOf('uid-web').size).toBe(0);
});
