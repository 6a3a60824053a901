/** What people write into annotations, badly written above all. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide } from '../../src/allocation/decide.ts';
import { createLedger } from '../../src/allocation/ledger.ts';
import { compileRanges } from '../../src/allocation/range.ts';
import { isMalformed, readRequest } from '../../src/allocation/request.ts';
import type { NamespaceView } from '../../src/allocation/types.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import type { ServiceView } from '../../src/api/service.ts';
import { NOW, ranges, service, sources } from './fixtures.ts';

/** Anything at all, and what nearly is a request. */
const pieces = fc.constantFrom(
  'r',
  's',
  'auto',
  'none',
  'http',
  'https',
  '80',
  '443',
  '30100',
  '30101',
  '0',
  '65536',
  '=',
  ',',
  ' ',
  '-',
  '\n',
  '\u0000',
  '\u202e',
  '"',
  'Ä',
  '💥',
);
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join('')),
);
const annotations = fc
  .record({ range: text, ports: text, contiguous: text, expose: text }, { requiredKeys: [] })
  .map((record) =>
    Object.fromEntries(Object.entries(record).map(([key, value]) => [`nodeport-manager.io/${key}`, value])),
  );
const ports = fc.constantFrom(
  ['http:80 31000'],
  ['http:80 31000', 'https:443 31001'],
  [':80'],
  ['80:443 31000', 'http:80 31001'],
  ['dns:53 31000', 'dns-udp:53/UDP 31000'],
);
const RANGES = compileRanges(sources(ranges({ r: {}, s: { ranges: [{ from: 30_200 }] } })));

/** One sentence in a condition; the quoted text is cut to 80 characters, each at most six when it is escaped. */
const SENTENCE = 1_000;
const UNPRINTABLE =
  /[\p{Cc}\p{Bidi_Control}\u2028\u2029\ufeff]|[\ud800-\udfff](?![\udc00-\udfff])(?<![\ud800-\udbff].)/u;

function asking(annotations: Record<string, string>, ports: readonly string[]): ServiceView {
  return { ...service(ports), annotations };
}

function inNamespace(value: string | undefined): NamespaceView {
  const view = { key: 'a', uid: 'a', resourceVersion: '1', labels: {} };
  return value === undefined ? view : { ...view, rangeDefault: { value, since: NOW } };
}

describe('annotations', () => {
  test('with any text at all are decided, and told in one short printable sentence', () => {
    fc.assert(
      fc.property(annotations, fc.option(text, { nil: undefined }), ports, (annotations, value, ports) => {
        const [web, namespace] = [asking(annotations, ports), inNamespace(value)];
        const ledger = createLedger({ cooldownOf: () => 0 });
        ledger.observe(undefined, web, NOW);
        const decision = decide({ now: NOW, seed: '', service: web, namespace, ranges: RANGES, ledger });
        expect(decision.do).not.toBe('defer');
        if (!('verdict' in decision)) return;
        expect(decision.verdict.message).not.toMatch(UNPRINTABLE);
        expect(decision.verdict.message.length).toBeLessThan(SENTENCE);
      }),
      { numRuns: 1_000 },
    );
  });

  test('that are malformed are quoted: escaped, and cut', () => {
    fc.assert(
      fc.property(text, (range) => {
        const request = readRequest(
          asking({ [ANNOTATION.range]: range }, ['http:80 31000']),
          inNamespace(undefined),
          RANGES,
        );
        if (request === null || !isMalformed(request) || range.trim() === '') return;
        const quoted = /"((?:[^"\\]|\\.)*)"/u.exec(request.malformed)?.[0] ?? 'nothing';
        const back = JSON.parse(quoted) as string;
        expect(range).toContain(back.replace(/…$/, ''));
      }),
      { numRuns: 1_000 },
    );
  });

  test('mean the same with blanks, in another order of the numbers, and by name or by number', () => {
    const two = ['http:80 31000', 'https:443 31001'];
    const number = fc.integer({ min: 1, max: 65_535 });
    const blank = fc.constantFrom('', ' ', '\t ');
    fc.assert(
      fc.property(number, number, blank, fc.boolean(), (a, b, gap, turned) => {
        fc.pre(a !== b);
        const read = (ports: string): string => {
          const request = readRequest(
            asking({ [ANNOTATION.range]: `${gap}r${gap}`, [ANNOTATION.ports]: ports }, two),
            inNamespace(undefined),
            RANGES,
          );
          expect(request).toMatchObject({ source: 'service', ranges: ['r'] });
          return request !== null && 'text' in request ? request.text : '';
        };
        const parts = [`${gap}http${gap}=${gap}${a}${gap}`, `443=${b}`];
        expect(read((turned ? parts.toReversed() : parts).join(','))).toBe(read(`80=${a},https=${b}`));
        expect(read(`80=${a},https=${b}`)).not.toBe(read(`80=${b},https=${a}`));
      }),
    );
  });
});
