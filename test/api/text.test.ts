import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { printable, quote, told } from '../../src/api/text.ts';

describe("users' text in messages", () => {
  test('is quoted as it is', () => {
    expect(quote('team-a,shared')).toBe('"team-a,shared"');
  });

  test('is cut to 80 characters, and the cut shows', () => {
    expect(quote('x'.repeat(81))).toBe(`"${'x'.repeat(80)}…"`);
    expect(quote('x'.repeat(80))).toBe(`"${'x'.repeat(80)}"`);
    expect(quote('abcdef', 3)).toBe('"abc…"');
  });

  test.each([
    ['a line break', 'a\nb', '"a\\nb"'],
    ['a terminal escape', '\u001b[31m', '"\\u001b[31m"'],
    ['quotes', 'say "hi"', '"say \\"hi\\""'],
    ['a C1 control', '\u009b', '"\\u009b"'],
    ['a right-to-left override', '\u202e', '"\\u202e"'],
    ['an Arabic letter mark', '\u061c', '"\\u061c"'],
    ['an isolate', '\u2066', '"\\u2066"'],
    ['a zero-width space', '\u200b', '"\\u200b"'],
    ['a byte order mark', '\ufeff', '"\\ufeff"'],
    ['a tag character', '\u{e0041}', '"\\udb40\\udc41"'],
    ['half a character', '\ud83d', '"\\ud83d"'],
  ])('%s is escaped', (_, text, expected) => {
    expect(quote(text)).toBe(expected);
  });

  test('any text: one line without control or bidirectional characters, readable back as JSON, bounded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const quoted = quote(text);
        expect(quoted).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029\ufeff]/u);
        expect(quoted.length).toBeLessThanOrEqual(2 + 6 * 80 + 1);
        const back = JSON.parse(quoted) as string;
        if (text.length <= 80) expect(back).toBe(text);
        else expect(back).toBe(`${text.slice(0, 80)}…`);
      }),
    );
  });
});

describe('what a server said', () => {
  test('stays one printable line, without quotes', () => {
    expect(told('denied: say "hi"\r\n\u001b[2J\u202e')).toBe(
      'denied: say "hi"\\u000d\\u000a\\u001b[2J\\u202e',
    );
  });

  test('is cut to 1,000 characters, and the cut shows', () => {
    expect(told('x'.repeat(300_000))).toBe(`${'x'.repeat(1_000)}…`);
  });

  test('in a line of JSON means the same after it was made printable', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const line = printable(JSON.stringify({ text }));
        expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        expect(JSON.parse(line)).toEqual({ text });
      }),
    );
  });
});
