import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  concerns,
  formatEntry,
  parseEntry,
  previousOwners,
  released,
  sameHolding,
} from '../../src/allocation/entry.ts';
import type { Entry } from '../../src/allocation/types.ts';
import { NOW, port } from './fixtures.ts';

const HELD: Entry = {
  state: 'Held',
  service: 'a-prod/web',
  uid: 'u1',
  ports: ['http:80/TCP'],
  range: 'team-a',
  request: 'range=team-a',
  since: NOW,
};

const millis = fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) });
const entry: fc.Arbitrary<Entry> = fc.record(
  {
    state: fc.constantFrom('Held' as const, 'Released' as const),
    service: fc.string(),
    uid: fc.string(),
    ports: fc.array(fc.string(), { maxLength: 3 }),
    range: fc.string(),
    request: fc.string(),
    since: millis,
    released: millis,
    until: millis,
    previous: fc.array(fc.record({ service: fc.string(), from: millis, to: millis }), {
      minLength: 1,
      maxLength: 3,
    }),
  },
  { requiredKeys: ['state', 'service', 'uid', 'ports', 'range', 'request', 'since', 'until'] },
);

describe('the text of an entry', () => {
  test('is the one in the documentation, times in UTC', () => {
    expect(formatEntry(HELD)).toBe(
      '{"state":"Held","service":"a-prod/web","uid":"u1","ports":["http:80/TCP"],"range":"team-a","request":"range=team-a","since":"2026-01-01T00:00:00Z"}',
    );
  });

  test('is read back, whatever is in it', () => {
    fc.assert(
      fc.property(entry, (any) => {
        expect(parseEntry(formatEntry(any))).toEqual(any);
      }),
    );
  });

  test.each([
    ['nothing', ''],
    ['no JSON', '{"state":"Held"'],
    ['null', 'null'],
    ['a list', '[]'],
    ['a number', '7'],
    ['no state', formatEntry(HELD).replace('Held', 'held')],
    ['no uid', formatEntry(HELD).replace('"uid"', '"id"')],
    ['a uid that is no text', formatEntry(HELD).replace('"u1"', '1')],
    ['a time that is none', formatEntry(HELD).replace('2026-01-01T', 'yesterday ')],
    ['no since', formatEntry(HELD).replace('since', 'when')],
    ['ports that are no texts', formatEntry(HELD).replace('"http:80/TCP"', '80')],
    ['a release without an end', formatEntry(HELD).replace('Held', 'Released')],
  ])('%s is no entry', (_, text) => {
    expect(parseEntry(text)).toBeUndefined();
  });

  test('kube-vip-cloud-provider #15: any text at all is an entry or none, and never throws', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseEntry(text)));
    const any = fc.record(
      Object.fromEntries(
        Object.keys({ ...HELD, until: 0, released: 0, previous: 0 }).map((key) => [key, fc.jsonValue()]),
      ),
    );
    fc.assert(
      fc.property(any, (fields) => {
        const read = parseEntry(JSON.stringify({ ...fields, state: 'Released' }));
        if (read !== undefined) expect(() => formatEntry(read)).not.toThrow();
      }),
    );
  });

  test('an entry in which people have typed is read as one, or not at all, and what is read can be written', () => {
    const typo = fc.record({
      at: fc.nat(400),
      drop: fc.nat(4),
      add: fc.oneof(fc.string({ maxLength: 3 }), fc.json()),
    });
    fc.assert(
      fc.property(entry, fc.array(typo, { minLength: 1, maxLength: 3 }), (any, typos) => {
        let text = formatEntry(any);
        for (const { at, drop, add } of typos) {
          const i = at % text.length;
          text = text.slice(0, i) + add + text.slice(i + drop);
        }
        const read = parseEntry(text);
        if (read === undefined) return;
        const { previous = [], ...rest } = read;
        expect(parseEntry(formatEntry(read))).toEqual(previous.length === 0 ? rest : read);
      }),
      { numRuns: 1_000 },
    );
  });

  test('bad history does not cost the entry', () => {
    const text = formatEntry({ ...HELD, previous: [{ service: 'a/x', from: 0, to: 1_000 }] });
    expect(parseEntry(text.replace('"to":"1970-01-01T00:00:01Z"', '"to":"never"'))).toEqual({
      ...HELD,
      previous: [],
    });
  });
});

describe('an entry through its life', () => {
  test('released: it rests, and everything else stays', () => {
    expect(released(HELD, NOW + 1_000, 60_000)).toEqual({
      ...HELD,
      state: 'Released',
      released: NOW + 1_000,
      until: NOW + 61_000,
    });
  });

  test("another owner's entry begins with the one before; the same owner's does not repeat itself", () => {
    const before = released(HELD, NOW + 1_000, 0);
    expect(previousOwners(before, 'a-prod/new')).toEqual([
      { service: 'a-prod/web', from: NOW, to: NOW + 1_000 },
    ]);
    expect(previousOwners(before, 'a-prod/web')).toEqual([]);
    expect(previousOwners(undefined, 'a-prod/web')).toEqual([]);
  });

  test('the same holding, whatever the times say', () => {
    expect(sameHolding(HELD, { ...HELD, since: 0, until: 5 })).toBe(true);
    for (const change of [
      { state: 'Released' as const },
      { uid: 'u2' },
      { service: 'a-prod/x' },
      { range: 'b' },
      { request: '' },
      { ports: ['http:81/TCP'] },
      { ports: ['http:80/TCP', 'x:1/TCP'] },
    ])
      expect(sameHolding(HELD, { ...HELD, ...change })).toBe(false);
  });

  test.each([
    ['http:80', true],
    ['web:80', true],
    ['http:8080', true],
    ['http:8080/UDP', true],
    ['web:80/UDP', false],
    ['web:8080', false],
    [':80', true],
    [':8080', false],
  ])('http:80/TCP concerns %s: %s', (text, expected) => {
    expect(concerns(HELD.ports, [port(text)])).toBe(expected);
  });

  test('two ports without a name are not the same by that', () => {
    expect(concerns([':80/TCP'], [port(':81')])).toBe(false);
    expect(concerns([], [port(':81')])).toBe(false);
  });
});
