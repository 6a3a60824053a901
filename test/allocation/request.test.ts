import { describe, expect, test } from 'vitest';
import { desk, MINUTE, NOW, numbers, says, service } from './fixtures.ts';

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

describe('ports', () => {
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
