import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import { desk, MINUTE, NOW, numbers, port, says, service } from './fixtures.ts';

const WEB = ['http:80 31000'];
const OUTSIDE = 'r (30100-30109) does not contain 31000, there before the default';
const bare = { range: undefined };

/** A Namespace whose default came a minute after the Services. */
function annotated(value = 'r', specs?: Parameters<typeof desk>[0]): ReturnType<typeof desk> {
  const d = desk(specs);
  d.rangeDefault = { value, since: NOW + MINUTE };
  return d;
}

function automatic(): ReturnType<typeof desk> {
  const d = desk();
  d.setRanges({ r: { assignment: 'Automatic' } }, NOW + MINUTE);
  return d;
}

describe.each([
  ['the annotation of the Namespace', annotated],
  ['an Automatic PortRange', automatic],
])('%s', (_, make) => {
  test('leaves a Service that was there before on its number, and says so however often it is asked', () => {
    const d = make();
    const served = d.serve(service(WEB, bare));
    expect(numbers(served)).toEqual([31_000]);
    expect(says(served)).toBe(`HeldOutOfRange: holds http 31000 outside r: ${OUTSIDE}`);
    expect(says(d.serve(served))).toBe(says(served));
  });

  test('adopts one that was there before and fits', () => {
    expect(says(make().serve(service(['http:80 30105'], bare)))).toBe('Adopted: holds http 30105 from r');
  });

  test('serves one that came later', () => {
    const later = service(WEB, { ...bare, createdAt: NOW + 2 * MINUTE });
    expect(says(make().serve(later))).toBe('Assigned: holds http 30100 from r');
  });

  test('serves one that becomes NodePort before our eyes', () => {
    const d = make();
    d.pass(2 * MINUTE);
    d.see(service(['http:80'], { ...bare, type: 'ClusterIP' }));
    expect(says(d.serve(service(WEB, bare)))).toBe('Assigned: holds http 30100 from r');
  });

  test('serves a port that is added to a Service that was there before, and leaves the others', () => {
    const d = make();
    const served = d.serve(service(WEB, bare));
    const grown = d.serve({ ...served, ports: [...served.ports, port('https:443 31001')] });
    expect(numbers(grown)).toEqual([31_000, 30_100]);
    expect(says(grown)).toBe(`HeldOutOfRange: holds http 31000, https 30100 outside r: ${OUTSIDE}`);
  });

  test('moves nothing that another range was asked for; an own annotation does', () => {
    const d = make();
    const served = d.serve(service(WEB, bare));
    const asks = d.serve({ ...served, annotations: { [ANNOTATION.range]: 'r' } });
    expect(says(asks)).toBe('Assigned: holds http 30100 from r');
    expect(numbers(d.serve({ ...asks, annotations: {} }))).toEqual([30_100]);
  });
});

describe('a default that cannot serve at first still moves nobody who was there before', () => {
  const waits = (d: ReturnType<typeof desk>) => {
    const old = d.serve(service(WEB, { ...bare, name: 'old' }));
    const recent = d.serve(service(['http:80 31001'], { ...bare, name: 'new', createdAt: NOW + 2 * MINUTE }));
    expect(says(old)).not.toContain('temporarily');
    expect(says(recent)).toContain('temporarily on 31001');
    return { old, recent };
  };

  test.each([
    ['its PortRange does not exist yet', 'r', {}, 'RangeNotFound'],
    ['its PortRange is paused', 'r', { r: { paused: true } }, 'RangePaused'],
    ['its PortRange does not admit the Namespace', 'r', { r: { namespaces: ['b'] } }, 'NotAdmitted'],
    ['it is malformed', 'R!', {}, 'InvalidRequest'],
  ])('%s', (_, value, specs, reason) => {
    const d = annotated(value, specs);
    const { old, recent } = waits(d);
    expect(says(old)).toMatch(new RegExp(`^${reason}: `));
    d.setRanges({ r: {} });
    d.rangeDefault = { value: 'r', since: NOW + 3 * MINUTE };
    expect(says(d.serve(old))).toBe(`HeldOutOfRange: holds http 31000 outside r: ${OUTSIDE}`);
    expect(says(d.serve(recent))).toBe('Assigned: holds http 30100 from r');
  });
});

test('who got a number by a default and then asks for another range moves there', () => {
  const d = annotated('r', { r: {}, s: { ranges: [{ from: 30_200, to: 30_209 }] } });
  const served = d.serve(service(WEB, { ...bare, createdAt: NOW + 2 * MINUTE }));
  expect(numbers(served)).toEqual([30_100]);
  const asks = d.serve({ ...served, annotations: { [ANNOTATION.range]: 's' } });
  expect(says(asks)).toBe('Assigned: holds http 30200 from s');
});

test('another default moves nobody', () => {
  const d = annotated('r', { r: {}, s: { ranges: [{ from: 30_200, to: 30_209 }] } });
  const served = d.serve(service(WEB, { ...bare, createdAt: NOW + 2 * MINUTE }));
  d.rangeDefault = { value: 's', since: NOW + 3 * MINUTE };
  expect(says(d.serve(served))).toBe('Assigned: holds http 30100 from r');
});
