import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { readable } from '../../src/observability/readable.ts';

const LINE = { level: 'info', time: '2026-01-31T08:00:00.123Z', service: 'a/web', msg: 'port assigned' };
/** What `readable` itself paints a line of level info with. */
const COLOUR = new RegExp(String.raw`\u001b\[(?:0|1|2|32)m`, 'g');
const plain = (line: object): string => readable(JSON.stringify(line), { colours: false });

test('a line for people: time, level and message in columns, then key=value, quoted where it must be', () => {
  expect(plain({ ...LINE, port: 30100, names: ['http:80/TCP'], message: 'holds http 30100' })).toBe(
    '08:00:00.123 info  port assigned            service=a/web port=30100 names=["http:80/TCP"] message="holds http 30100"',
  );
  expect(plain({ ...LINE, level: 'error', request: '', msg: 'stopped' })).toBe(
    '08:00:00.123 error stopped                  service=a/web request=""',
  );
});

test('a list of sentences stands below its line', () => {
  expect(plain({ ...LINE, msg: 'decided', checks: ['isManaged passed', 'r: findsPorts decided'] })).toBe(
    [
      '08:00:00.123 info  decided                  service=a/web',
      '                   isManaged passed',
      '                   r: findsPorts decided',
    ].join('\n'),
  );
});

test('colours are around what is ours to colour, and nothing else changes', () => {
  const line = JSON.stringify({ ...LINE, port: 30100 });
  const coloured = readable(line, { colours: true });
  expect(coloured).toContain('\u001b[32minfo \u001b[0m');
  expect(coloured.replaceAll(COLOUR, '')).toBe(readable(line, { colours: false }));
});

test('whatever is logged, only what we colour with reaches the terminal as an order, and only lists have several lines', () => {
  const text = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(text, text, text, fc.boolean(), (msg, key, value, colours) => {
      const line = JSON.stringify({ ...LINE, [`x${key}`]: value, list: [`a ${value}`, key], msg });
      const lines = readable(line, { colours }).replaceAll(COLOUR, '').split('\n');
      expect(lines).toHaveLength(3);
      for (const each of lines) expect(each).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    }),
  );
});
