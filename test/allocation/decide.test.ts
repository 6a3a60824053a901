import { describe, expect, test } from 'vitest';
import { desk, numbers, says, service } from './fixtures.ts';

describe('first contact', () => {
  test('a number that the apiserver picked outside the range is replaced by the lowest free one', () => {
    const web = desk().serve(service(['http:80 31234']));
    expect(numbers(web)).toEqual([30_100]);
    expect(says(web)).toBe('Assigned: holds http 30100 from r');
  });

  test('one that fits is kept', () => {
    const web = desk().serve(service(['http:80 30107']));
    expect(numbers(web)).toEqual([30_107]);
    expect(says(web)).toBe('Adopted: holds http 30107 from r');
  });

  test("another manager's number is adopted where the range allows it", () => {
    const web = desk().serve(service(['http:80 30107 kubectl']));
    expect(says(web)).toBe('Adopted: holds http 30107 from r');
  });

  test("another manager's number is never rewritten, also where the range does not allow it", () => {
    const web = desk().serve(service(['http:80 31234 kubectl']));
    expect(numbers(web)).toEqual([31_234]);
    expect(says(web)).toBe(
      'HeldOutOfRange: holds http 31234 outside r: r (30100-30109) does not contain 31234, pinned by "kubectl"',
    );
  });

  test('our own stale mark on a random number proves nothing', () => {
    expect(numbers(desk().serve(service(['http:80 31234 nodeport-manager'])))).toEqual([30_100]);
  });

  test('a random number on which another Service cools down is replaced', () => {
    const d = desk();
    d.vanish(d.serve(service(['http:80 31234'])));
    expect(numbers(d.serve(service(['http:80 30100'], { name: 'new' })))).toEqual([30_101]);
  });

  test('the last port of the range is given, and none beyond it', () => {
    const d = desk({ r: { ranges: [{ from: 30_108, to: 30_109 }] } });
    const served = ['v', 'w', 'x'].map((name, i) => d.serve(service([`http:80 ${31_000 + i}`], { name })));
    expect(served.map(numbers)).toEqual([[30_108], [30_109], [31_002]]);
    expect(served.map(says)[2]).toBe(
      'RangeExhausted: r has too few free ports: 1 needed; temporarily on 31002',
    );
  });

  test('an excluded number is not given and not approved', () => {
    const d = desk({ r: { excluded: [{ from: 30_100, to: 30_102 }] } });
    expect(numbers(d.serve(service(['http:80 30101'])))).toEqual([30_103]);
  });

  test('a Service that asks for nothing, or for none, is ignored', () => {
    const d = desk();
    const ignored = { do: 'ignore', check: 'isManaged' };
    expect(d.ask(service(['http:80 30100'], { range: undefined }))).toEqual(ignored);
    expect(d.ask(service(['http:80 30100'], { range: ' none ' }))).toEqual(ignored);
  });
});

describe('numbers in use anywhere', () => {
  test('of a Service that is not managed', () => {
    const d = desk();
    d.see(service(['http:80 30100'], { name: 'manual', range: undefined }));
    expect(numbers(d.serve(service(['http:80 31234'])))).toEqual([30_101]);
  });

  test('capsule: healthCheckNodePort counts', () => {
    const d = desk();
    d.see(service(['http:80 31000'], { name: 'lb', range: undefined, healthCheckNodePort: 30_100 }));
    expect(numbers(d.serve(service(['http:80 31234'])))).toEqual([30_101]);
  });

  test("capsule: the Service's own healthCheckNodePort counts, too", () => {
    const lb = desk().serve(
      service(['http:80 31234'], { type: 'LoadBalancer', healthCheckNodePort: 30_100 }),
    );
    expect(numbers(lb)).toEqual([30_101]);
  });

  test('whereabouts #110: two Services decided one after the other, nothing written yet, get different numbers', () => {
    const d = desk();
    const decisions = ['v', 'w'].map((name, i) =>
      d.fold(d.see(service([`http:80 ${31_000 + i}`], { name }))),
    );
    expect(decisions).toMatchObject([{ grants: [{ number: 30_100 }] }, { grants: [{ number: 30_101 }] }]);
  });
});

describe('several ports', () => {
  test('different ports get different numbers, in the order of spec.ports', () => {
    expect(numbers(desk().serve(service(['http:80 31000', 'https:443 31001'])))).toEqual([30_100, 30_101]);
  });

  test('kubernetes #39188: TCP and UDP share one number', () => {
    const d = desk();
    const dns = d.serve(service(['dns:53 31000', 'dns-udp:53/UDP 31000', 'http:80 31001']));
    expect(numbers(dns)).toEqual([30_100, 30_100, 30_101]);
    expect(says(dns)).toBe('Assigned: holds dns 30100, http 30101 from r');
    expect(d.ledger.entry(30_100)?.ports).toEqual(['dns:53/TCP', 'dns-udp:53/UDP']);
  });

  test.each([
    ['outside the range', 31_001],
    ['inside the range', 30_105],
  ])(
    'kubernetes #39188: UDP that joins TCP later, with a random number %s, shares its number',
    (_, random) => {
      const d = desk();
      d.serve(service(['dns:53 31000']));
      const dns = d.serve(service(['dns:53 30100 nodeport-manager', `dns-udp:53/UDP ${random}`]));
      expect(numbers(dns)).toEqual([30_100, 30_100]);
      expect(says(dns)).toBe('Assigned: holds dns 30100 from r');
      expect(d.ledger.entry(30_100)?.ports).toEqual(['dns:53/TCP', 'dns-udp:53/UDP']);
      expect(d.ledger.entriesOf('uid-web').size).toBe(1);
    },
  );

  test('two random numbers on one port before the Service was managed become one', () => {
    expect(numbers(desk().serve(service(['dns:53 30103', 'dns-udp:53/UDP 30104'])))).toEqual([
      30_103, 30_103,
    ]);
  });

  test('of two random numbers on one port, the one that fits is kept', () => {
    expect(numbers(desk().serve(service(['dns:53 31000', 'dns-udp:53/UDP 30104'])))).toEqual([
      30_104, 30_104,
    ]);
  });

  test('two numbers that somebody pinned on one port stay as they are', () => {
    const d = desk();
    const dns = d.serve(service(['dns:53 30103 kubectl', 'dns-udp:53/UDP 30104 kubectl']));
    expect(numbers(dns)).toEqual([30_103, 30_104]);
    expect(says(dns)).toBe('Adopted: holds dns 30103, dns-udp 30104 from r');
  });

  test('one number that somebody pinned on two ports is recorded for both, once', () => {
    const d = desk();
    const web = d.serve(service(['a:80 30103 kubectl', 'b:81/UDP 30103 kubectl']));
    d.drain();
    d.fold(web);
    expect(d.drain().entries.size).toBe(0);
    expect(d.ledger.entry(30_103)?.ports).toEqual(['a:80/TCP', 'b:81/UDP']);
  });

  test('tiggoins: adding a port to a Service does not see its own ports as used', () => {
    const d = desk();
    d.serve(service(['http:80 31000']));
    const web = d.serve(service(['http:80 30100 nodeport-manager', 'https:443 31001']));
    expect(numbers(web)).toEqual([30_100, 30_101]);
  });

  test('all or nothing for the new ports, and the others are not unsettled', () => {
    const d = desk({ r: { ranges: [{ from: 30_100, to: 30_101 }] } });
    d.serve(service(['http:80 31000']));
    const web = d.serve(service(['http:80 30100 nodeport-manager', 'b:81 31001', 'c:82 31002']));
    expect(numbers(web)).toEqual([30_100, 31_001, 31_002]);
    expect(says(web)).toBe(
      'RangeExhausted: holds http 30100 from r; r has too few free ports: 2 needed; temporarily on 31001, 31002',
    );
  });

  test('a UDP port that waits beside its TCP port says where it is meanwhile', () => {
    const d = desk();
    d.serve(service(['dns:53 31000']));
    d.setRanges({ r: { paused: true } });
    const dns = d.serve(service(['dns:53 30100 nodeport-manager', 'dns-udp:53/UDP 31001']));
    expect(says(dns)).toBe(
      'RangePaused: holds dns 30100 from r; PortRange r is paused; temporarily on 31001',
    );
  });
});

describe('bad input changes nothing and quotes the text', () => {
  test.each([
    ['a,B', '"B"'],
    ['a,auto', '"a,auto"'],
    ['a,', '""'],
    ['Team_A', '"Team_A"'],
    ['', 'is empty'],
    ['a\nb', '"a\\nb"'],
  ])('range: %j', (range, quoted) => {
    const web = desk().serve(service(['http:80 31234'], { range }));
    expect(numbers(web)).toEqual([31_234]);
    expect(web.condition?.reason).toBe('InvalidRequest');
    expect(web.condition?.message).toContain(quoted);
    expect(web.condition?.message).toContain('temporarily on 31234');
  });

  test.each(['ports', 'contiguous', 'expose'])('%s: this version does not act on it', (name) => {
    const annotations = { 'nodeport-manager.io/range': 'r', [`nodeport-manager.io/${name}`]: 'x' };
    const web = desk().serve({ ...service(['http:80 31234']), annotations });
    expect(web.condition?.reason).toBe('InvalidRequest');
    expect(numbers(web)).toEqual([31_234]);
  });

  test('an unknown range', () => {
    const web = desk().serve(service(['http:80 31234'], { range: 'constructor' }));
    expect(says(web)).toBe('RangeNotFound: PortRange "constructor" does not exist; temporarily on 31234');
  });
});

describe('who may', () => {
  test('a namespace that is not named is not admitted', () => {
    const web = desk({ r: { namespaces: ['b'] } }).serve(service(['http:80 31234']));
    expect(says(web)).toBe('NotAdmitted: PortRange r does not admit namespace a; temporarily on 31234');
  });

  test('named, or matched by the selector', () => {
    const d = desk({ r: { namespaces: ['b'], namespaceSelector: { matchLabels: { team: 'red' } } } });
    expect(d.ask(service(['http:80 31234'])).do).toBe('refuse');
    d.labels.set('team', 'red');
    expect(d.ask(service(['http:80 31234'])).do).toBe('assign');
  });

  test('LoadBalancer Services have node ports, too', () => {
    expect(numbers(desk().serve(service(['http:80 31234'], { type: 'LoadBalancer' })))).toEqual([30_100]);
  });

  test('allocateLoadBalancerNodePorts: false is honoured', () => {
    const lb = desk().serve(service(['http:80'], { type: 'LoadBalancer', allocatesNodePorts: false }));
    expect(numbers(lb)).toEqual([0]);
    expect(lb.condition?.reason).toBe('NoNodePorts');
  });

  test('allocateLoadBalancerNodePorts: false: a blank port gets none, not even the number of its TCP twin', () => {
    const change = { type: 'LoadBalancer', allocatesNodePorts: false };
    const lb = desk().serve(service(['dns:53 30105 kubectl', 'dns-udp:53/UDP'], change));
    expect(numbers(lb)).toEqual([30_105, 0]);
    expect(says(lb)).toBe('Adopted: holds dns 30105 from r');
  });

  test('capsule: an explicit number with allocateLoadBalancerNodePorts: false is checked like others', () => {
    const change = { type: 'LoadBalancer', allocatesNodePorts: false };
    const lb = desk().serve(service(['http:80 31234 kubectl', 'b:81'], change));
    expect(numbers(lb)).toEqual([31_234, 0]);
    expect(lb.condition?.reason).toBe('HeldOutOfRange');
  });
});
