/** Short histories that a longer, random one has found; each is a rule of its own. */
import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import { createWorld } from './world.ts';
import { desk, MINUTE, NOW, numbers, says, service } from './fixtures.ts';

const FREE = '0s';

function names(ports: string, range = 'r'): { annotations: Record<string, string> } {
  return { annotations: { [ANNOTATION.range]: range, [ANNOTATION.ports]: ports } };
}

describe('who waits', () => {
  test('for two ranges, and lacks less in one of them, is woken as soon as that one has it', () => {
    const d = desk({
      a: { ranges: [{ from: 30_100 }], cooldown: FREE },
      b: { ranges: [{ from: 30_200, to: 30_201 }], cooldown: FREE },
    });
    const holder = d.serve(service(['http:80 31000'], { name: 'holder', range: 'b' }));
    const web = d.serve(service(['http:80 31001', 'https:443 30201'], { range: 'a,b' }));
    expect(says(web)).toBe(
      'RangeExhausted: a has too few free ports: 2 needed; b has too few free ports: 1 needed; temporarily on 31001, 30201',
    );
    d.drain();
    d.vanish(holder);
    expect(d.wake()).toEqual(['a/web']);
    expect(numbers(d.serve(web))).toEqual([30_200, 30_201]);
  });

  test('for a number is told who has it, also when that changes', () => {
    const d = desk();
    const holder = d.serve(service(['http:80 31000'], { name: 'holder', ...names('30105') }));
    const web = d.serve(service(['http:80 31001'], names('30105')));
    expect(says(web)).toBe('PortTaken: 30105 is held by a/holder; temporarily on 31001');
    d.drain();
    d.vanish(holder);
    expect(d.wake()).toEqual(['a/web']);
    expect(says(d.serve(web))).toBe(
      `PortTaken: 30105 rests until ${new Date(NOW + 5 * MINUTE).toISOString()} for its last owner a/holder; temporarily on 31001`,
    );
  });

  test('for free numbers, and names one that is taken meanwhile, is told so', () => {
    const d = desk({ r: { ranges: [{ from: 30_100, to: 30_101 }] } });
    d.see(service(['http:80 30101'], { name: 'manual', range: undefined }));
    const web = d.serve(service(['a:80 31000', 'b:81 31001'], names('a=30100')));
    expect(says(web)).toContain('RangeExhausted');
    d.drain();
    d.see(service(['http:80 30100'], { name: 'rival', range: undefined }));
    expect(d.wake()).toEqual(['a/web']);
    expect(says(d.serve(web))).toBe('PortTaken: 30100 is held by a/rival; temporarily on 31000, 31001');
  });

  test('by number gets it when it is free: nobody else picks it meanwhile', () => {
    const d = desk({ r: { cooldown: FREE } });
    const holder = d.serve(service(['http:80 31000'], { name: 'holder' }));
    const web = d.serve(service(['http:80 31001'], names('30100')));
    d.vanish(holder);
    expect(numbers(d.serve(service(['http:80 31002'], { name: 'newcomer' })))).toEqual([30_101]);
    expect(numbers(d.serve(web))).toEqual([30_100]);
  });

  test.each(['the one by number', 'the other'])(
    'by number comes before who came later and takes any, though it is the last one, and %s is decided first',
    (first) => {
      const d = desk({ r: { ranges: [{ from: 30_100 }], cooldown: FREE } });
      const holder = d.serve(service(['http:80 31000'], { name: 'holder' }));
      const web = d.serve(service(['http:80 31001'], names('30100')));
      const any = d.serve(service(['http:80 31002'], { name: 'any', createdAt: NOW + 1_000 }));
      d.drain();
      d.vanish(holder);
      expect(d.wake()).toEqual(['a/web']);
      expect([d.ask(web).do, d.ask(any).do]).toEqual(['assign', 'refuse']);
      const order = first === 'the other' ? [any, web] : [web, any];
      const served = new Map(order.map((view) => [view, numbers(d.serve(view))]));
      expect([served.get(web), served.get(any)]).toEqual([[30_100], [31_002]]);
    },
  );

  test('by number comes before the last owner, once the number rests no more', () => {
    const d = desk();
    const holder = d.serve(service(['http:80 31000'], { name: 'holder' }));
    const web = d.serve(service(['http:80 31001'], names('30100')));
    d.vanish(holder);
    d.pass(5 * MINUTE);
    const again = d.serve(service(['http:80 31000'], { name: 'holder', uid: 'uid-2' }));
    expect(numbers(again)).toEqual([30_101]);
    expect(numbers(d.serve(web))).toEqual([30_100]);
  });
});

test('capsule: a Service cannot name the number of its own health check', () => {
  const lb = { type: 'LoadBalancer', healthCheckNodePort: 30_105, ...names('30105') };
  expect(says(desk().serve(service(['http:80 31000'], lb)))).toBe(
    'PortTaken: 30105 is the healthCheckNodePort of the Service itself; temporarily on 31000',
  );
});

describe('Hash', () => {
  const TWO = { r: { ranges: [{ from: 30_100, to: 30_101 }], strategy: 'Hash' as const } };

  test('keeps what the apiserver picked where others wait for the rest', () => {
    const d = desk(TWO);
    d.serve(service(['a:80 31000', 'b:81 31001', 'c:82 31002'], { name: 'big' }));
    const web = d.serve(service(['http:80 31003', 'https:443 30101']));
    expect(numbers(web)).toEqual([30_100, 30_101]);
  });

  test('keeps the random number of the UDP half where nothing else is left', () => {
    const d = desk({ r: { ranges: [{ from: 30_101 }], strategy: 'Hash' } });
    expect(numbers(d.serve(service(['dns:53 31000', 'dns-udp:53/UDP 30101'])))).toEqual([30_101, 30_101]);
  });
});

test('who named a number first gets it, also when it becomes free while nobody looks', () => {
  const world = createWorld();
  const one = {
    namespace: 'one',
    type: 'NodePort',
    ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  } as const;
  world.act({ do: 'range', name: 'a', spec: { ranges: [{ from: 30_003 }], cooldown: FREE } });
  const asks = { range: 'a', ports: '30003' };
  world.act({ do: 'create', service: { ...one, name: 'holder', pick: 0, asks } });
  world.act({ do: 'create', service: { ...one, name: 'older', pick: 1 } });
  world.settle();
  world.act({ do: 'tick', ms: 1_000 });
  world.act({ do: 'create', service: { ...one, name: 'first', pick: 2, asks } });
  world.settle();
  world.act({ do: 'tick', ms: 1_000 });
  world.cluster.annotate('one/older', asks);
  world.settle();
  world.act({ do: 'stop' });
  world.cluster.remove('one/holder');
  world.settle();
  expect(world.cluster.inUse().get(30_003)).toBe('one/first');
});

test('a move that was reserved and not written is carried out after a restart, also beside a number that is pinned', () => {
  const specs = { r: {}, s: { ranges: [{ from: 30_200 }] } };
  const d = desk(specs);
  const web = d.serve(service(['a:80 30109 kubectl', 'b:81 31001']));
  expect(numbers(web)).toEqual([30_109, 30_100]);
  const moving = d.see({ ...web, annotations: { [ANNOTATION.range]: 's' } });
  d.fold(moving);
  const next = desk(specs);
  for (const [number, entry] of d.ledger.entries()) next.restore(number, entry);
  expect(numbers(next.serve(moving))).toEqual([30_109, 30_200]);
});

test('what was reserved from a later range of the list stays so after a restart, also when an earlier one is free again', () => {
  const specs = { r: { ranges: [{ from: 30_100 }], cooldown: '0s' }, s: { ranges: [{ from: 30_200 }] } };
  const d = desk(specs);
  d.serve(service(['http:80 31001'], { name: 'first' }));
  const web = d.see(service(['http:80 31000'], { range: 'r,s' }));
  d.fold(web);
  const next = desk(specs);
  for (const [number, entry] of d.ledger.entries()) if (number !== 30_100) next.restore(number, entry);
  expect(numbers(next.serve(web))).toEqual([30_200]);
});

test('a Service that a default found, and that was reserved but not told, still was there first after a restart', () => {
  const d = desk();
  d.rangeDefault = { value: 'r', since: NOW + MINUTE };
  const web = d.see(service(['http:80 31000'], { range: undefined }));
  d.fold(web);
  const next = desk();
  next.rangeDefault = d.rangeDefault;
  for (const [number, entry] of d.ledger.entries()) next.restore(number, entry);
  expect(says(next.serve(web))).toBe(
    'HeldOutOfRange: holds http 31000 outside r: r (30100-30109) does not contain 31000, there before the default',
  );
});

test('a Service that became NodePort before our eyes, and before the default came, stays where it is', () => {
  const d = desk();
  d.see(service(['http:80'], { range: undefined, type: 'ClusterIP' }));
  const web = d.see(service(['http:80 31000'], { range: undefined }));
  d.pass(2 * MINUTE);
  d.rangeDefault = { value: 'r', since: NOW + MINUTE };
  expect(numbers(d.serve(web))).toEqual([31_000]);
});
