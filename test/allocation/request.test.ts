import { describe, expect, test } from 'vitest';
import { desk, MINUTE, NOW, numbers, says, service, showing } from './fixtures.ts';

const A_AND_B = {
  a: { ranges: [{ from: 30_100, to: 30_109 }] },
  b: { ranges: [{ from: 30_200, to: 30_209 }] },
};

/** The annotations `range` (none with an empty text) and `ports`. */
function asks(range: string, ports?: string): Record<string, string> {
  return {
    ...(range === '' ? {} : { 'nodeport-manager.io/range': range }),
    ...(ports === undefined ? {} : { 'nodeport-manager.io/ports': ports }),
  };
}

describe('a default', () => {
  const DEFAULT = { value: 'a', since: NOW - MINUTE };

  test('of the Namespace serves a Service that says nothing', () => {
    const d = desk(A_AND_B);
    d.rangeDefault = DEFAULT;
    const web = d.serve(service(['http:80 31234'], { annotations: {} }));
    expect(says(web)).toBe('Assigned: holds http 30100 from a');
    expect(d.ledger.entry(30_100)?.request).toBe('default');
  });

  test('is no request: the first annotation of its own moves the Service', () => {
    const d = desk(A_AND_B);
    d.rangeDefault = DEFAULT;
    const web = d.serve(service(['http:80 31234'], { annotations: {} }));
    expect(numbers(d.serve({ ...web, annotations: asks('b') }))).toEqual([30_200]);
  });

  test('moves nobody when it changes, and falling back to it moves nobody', () => {
    const d = desk(A_AND_B);
    d.rangeDefault = DEFAULT;
    const web = d.serve(service(['http:80 31234'], { annotations: {} }));
    d.rangeDefault = { value: 'b', since: NOW };
    expect(numbers(d.serve(web))).toEqual([30_100]);
    const own = d.serve(service(['http:80 31235'], { name: 'own', annotations: asks('a') }));
    expect(numbers(d.serve({ ...own, annotations: {} }))).toEqual([30_101]);
  });
});

test('a PortRange may have dots in its name', () => {
  const d = desk({ 'team.a': {} });
  const web = d.serve(service(['http:80 31234'], { range: 'team.a' }));
  expect(says(web)).toBe('Assigned: holds http 30100 from team.a');
  expect(says(d.serve(web))).toBe('Assigned: holds http 30100 from team.a');
});

describe('who asks for a number that is held', () => {
  const FREE = { r: { cooldown: '0s' } };

  test('is served by who named it first, not by who waited first for another one', () => {
    const d = desk(FREE);
    d.serve(service(['http:80 31000'], { name: 'one', annotations: asks('r', '30101') }));
    const two = d.serve(service(['http:80 31001'], { name: 'two', annotations: asks('r', '30102') }));
    const early = d.serve(service(['http:80 31002'], { name: 'early', annotations: asks('r', '30101') }));
    const since = new Date(d.now).toISOString();
    d.pass(MINUTE);
    const late = d.serve(service(['http:80 31003'], { name: 'late', annotations: asks('r', '30102') }));
    d.pass(MINUTE);
    const condition = { ...showing({ reason: 'PortTaken', message: '' }), lastTransitionTime: since };
    const turned = d.serve({ ...early, condition, annotations: asks('r', '30102') });
    d.vanish(two);
    expect(numbers(d.serve(turned))).toEqual([31_002]);
    expect(numbers(d.serve(late))).toEqual([30_102]);
  });

  test('is told when the holder changes, also where that does not free the number for it', () => {
    const d = desk();
    const old = d.serve(service(['http:80 31000'], { name: 'old', annotations: asks('r', '30101') }));
    const web = d.serve(service(['http:80 31001'], { annotations: asks('r', '30101') }));
    expect(says(web)).toBe('PortTaken: 30101 is held by a/old; temporarily on 31001');
    d.drain();
    d.vanish(old);
    expect(d.wake()).toEqual(['a/web']);
    expect(says(d.serve(web))).toMatch(/^PortTaken: 30101 rests until .* for its last owner a\/old; /);
    d.drain();
    const back = service(['http:80 31002'], {
      name: 'old',
      uid: 'uid-back',
      annotations: asks('r', '30101'),
    });
    d.fold(d.see(back));
    expect(d.wake()).toEqual(['a/web']);
    expect(says(d.serve(web))).toBe('PortTaken: 30101 is held by a/old; temporarily on 31001');
    d.serve(back);
    expect(says(d.serve(web))).toBe('PortTaken: 30101 is held by a/old; temporarily on 31001');
  });

  test('and names two keeps its place for both, whichever is held', () => {
    const d = desk(FREE);
    const one = d.serve(service(['http:80 31000'], { name: 'one', annotations: asks('r', '30101') }));
    const both = service(['a:80 31001', 'b:81 31002'], {
      name: 'both',
      annotations: asks('r', 'a=30101,b=30102'),
    });
    d.serve(both);
    const two = d.serve(service(['http:80 31003'], { name: 'two', annotations: asks('r', '30102') }));
    expect(numbers(two)).toEqual([30_102]);
    d.pass(MINUTE);
    const late = service(['http:80 31004'], { name: 'late', annotations: asks('r', '30101') });
    d.serve(late);
    d.pass(MINUTE);
    d.serve(both);
    d.vanish(two);
    d.vanish(one);
    expect(numbers(d.serve(late))).toEqual([31_004]);
    expect(numbers(d.serve(both))).toEqual([30_101, 30_102]);
  });
});

describe('ports', () => {
  test('a number that another manager pins, also one that was granted, cannot be asked away', () => {
    const d = desk();
    const web = d.serve(service(['http:80 31000']));
    const pinned = web.ports.map((port) => ({ ...port, owner: 'helm' }));
    const asking = d.serve({ ...web, ports: pinned, annotations: asks('r', '30107') });
    expect(says(asking)).toBe(
      'InvalidRequest: holds http 30100 from r; asks for 30107, but 30100 is pinned by "helm"',
    );
    expect(numbers(asking)).toEqual([30_100]);
  });

  test('by name before by number, where one port has the number of another for its name', () => {
    const annotations = asks('r', '443=30105');
    const web = desk().serve(service(['web:443 31000', '443:8443 31001'], { annotations }));
    expect(numbers(web)).toEqual([30_100, 30_105]);
  });

  test.each([
    ['blanks', ' '.repeat(250_000)],
    ['digits', '1'.repeat(250_000)],
    ['equals signs', '='.repeat(250_000)],
    ['commas', ','.repeat(250_000)],
    ['the same again', '30105,'.repeat(40_000)],
  ])('of 250 kB of %s are read in no time, and refused in a short sentence', (_, text) => {
    const start = performance.now();
    const web = desk().serve(service(['http:80 31234'], { annotations: asks('r', `30105,${text}x`) }));
    expect(performance.now() - start).toBeLessThan(1_000);
    expect(web.condition?.reason).toBe('InvalidRequest');
    expect(web.condition?.message.length).toBeLessThan(300);
    expect(numbers(web)).toEqual([31_234]);
  });

  test('of which many are held: the message names the first holders and counts the others', () => {
    const d = desk({ r: { ranges: [{ from: 30_100, to: 30_199 }] } });
    const all = Array.from({ length: 50 }, (_, i) => i);
    const ports = (first: number) => all.map((i) => `p-${i}:${i + 1} ${first + i}`);
    d.serve(service(ports(31_000), { name: 'x' }));
    const annotations = asks('r', all.map((i) => `p-${i}=${30_100 + i}`).join(','));
    const web = d.serve(service(ports(32_000), { annotations }));
    expect(web.condition?.message).toMatch(
      /^30100 is held by a\/x; 30101 is held by a\/x; .*30104 is held by a\/x; and 45 more; temporarily on /,
    );
  });
});

test('a long request is recorded in the table in a short form, and is still the same request', () => {
  const names = Array.from({ length: 60 }, (_, i) => `${'x'.repeat(60)}-${i}`);
  const d = desk(Object.fromEntries(names.map((name, i) => [name, { ranges: [{ from: 30_100 + i }] }])));
  const web = d.serve(service(['http:80 31234'], { annotations: asks(names.join(',')) }));
  const recorded = d.ledger.entry(30_100)?.request ?? '';
  expect(recorded).toMatch(/^range=xxxx/);
  expect(recorded.length).toBeLessThan(300);
  expect(d.ask(web).do).toBe('keep');
  const other = [...names.slice(1), names[0]].join(',');
  expect(numbers(d.serve({ ...web, annotations: asks(other) }))).toEqual([30_101]);
});
