/** The pictures of the dashboard: well-formed, complete, and safe with whatever a label contains. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Panel, ROWS } from '../../monitoring/panels.ts';
import type { Answer, Drawn, Values } from '../../monitoring/picture/data.ts';
import { dashboardPicture, stripPicture } from '../../monitoring/picture/pictures.ts';
import { formatted, ticks, timeTicks } from '../../monitoring/picture/units.ts';
import { parseXml, textsOf, type XmlElement } from '../support/xml.ts';

const IMAGES = join(import.meta.dirname, '../../docs/images');
const PANELS = ROWS.flatMap(({ panels }) => panels);
const NINE = Date.UTC(2026, 0, 5, 9);
const MINUTE = 60_000;
const SPAN = { from: NINE, to: NINE + 60 * MINUTE, step: MINUTE };
const WORDS = { title: 'Node ports', subtitle: 'For a test', description: 'Nothing is to be seen.' };
const HOSTILE = `</text><script>alert("1")</script> & 'x' ]]> <!-- \u0000\u001B\uFFFF\uD800`;

const every = (value: (minute: number) => number): Values =>
  Array.from({ length: 61 }, (_, i) => [NINE + i * MINUTE, value(i)] as const);

const answer = (range: string, values: Values): Answer => ({
  labels: { range, kind: range, reason: range, alertname: range, instance: range, name: range },
  values,
});

/** Every panel with the same answers to each of its queries. */
const drawnWith = (answers: readonly Answer[]): Drawn[] =>
  PANELS.map((panel) => ({ panel, answers: panel.queries.map(() => answers) }));

const SOME = drawnWith([
  answer(
    'team-a',
    every((i) => i / 60),
  ),
  answer(
    'team-b',
    every(() => 0.5),
  ),
]);

const drawnOf = (type: Panel['type'], answers: readonly Answer[]): Drawn => {
  const panel = PANELS.find((panel) => panel.type === type);
  if (panel === undefined) throw new Error(`no panel of the type ${type}`);
  return { panel, answers: panel.queries.map(() => answers) };
};

const dashboard = (drawn: readonly Drawn[]): XmlElement =>
  parseXml(dashboardPicture(WORDS, drawn, SPAN, [{ at: NINE + 30 * MINUTE, text: 'half past' }]));

const strip = (drawn: readonly Drawn[], moments: { at: number; text: string }[] = []): XmlElement =>
  parseXml(stripPicture(WORDS, drawn, SPAN, moments));

const paths = ({ children }: XmlElement, kind: string): XmlElement[] =>
  children.flatMap((child) =>
    typeof child === 'string'
      ? []
      : [
          ...((child.attributes['class'] ?? '').split(' ').includes(kind) ? [child] : []),
          ...paths(child, kind),
        ],
  );

describe('a picture of the dashboard', () => {
  test('has every panel and every row, by its title', () => {
    const texts = textsOf(dashboard(SOME));
    for (const { title } of [...ROWS, ...PANELS]) expect(texts).toContain(title);
    expect(texts).toContain('┆ 09:30 half past');
  });

  test.each(PANELS.map((panel) => [panel.title, panel] as const))('%s: empty, it says so', (_, panel) => {
    const texts = textsOf(dashboard([{ panel, answers: panel.queries.map(() => []) }]));
    expect(texts).toContain(panel.title);
    expect(texts).toContain('no data');
  });

  test('of panels that have no number, it says so', () => {
    const texts = textsOf(
      dashboard(
        drawnWith([
          answer(
            'team-a',
            every(() => Number.NaN),
          ),
        ]),
      ),
    );
    expect(texts.filter((text) => text === 'no data')).toHaveLength(PANELS.length);
  });

  test('has no row of which nothing is shown', () => {
    const texts = textsOf(dashboard(SOME.slice(0, 2)));
    expect(texts).toContain('Segments');
    expect(texts).not.toContain('The controller');
  });

  test('shows hostile labels as text, and stays well-formed', () => {
    const root = dashboard(
      drawnWith([
        answer(
          HOSTILE,
          every(() => 1),
        ),
      ]),
    );
    const texts = textsOf(root).join('\n');
    expect(texts).toContain('</text><script>alert("1")');
    expect(names(root)).not.toContain('script');
    for (const sign of ['\u0000', '\u001B', '\uFFFF']) expect(texts).not.toContain(sign);
  });

  test('is the same for the same data', () => {
    const draw = (): string => dashboardPicture(WORDS, SOME, SPAN, []);
    expect(draw()).toBe(draw());
  });

  test('says in words what it shows, for who cannot see it', () => {
    const { attributes, children } = dashboard(SOME);
    expect(attributes).toMatchObject({ role: 'img', 'aria-labelledby': 'title description' });
    const [title, description] = children.filter((child) => typeof child !== 'string');
    expect(title).toMatchObject({ name: 'title', children: ['Node ports'] });
    expect(description).toMatchObject({ name: 'desc', children: ['Nothing is to be seen.'] });
  });
});

describe('a strip', () => {
  test('has the moments along its time axis, none on another', () => {
    const moments = [10, 11, 12, 58].map((minute) => ({
      at: NINE + minute * MINUTE,
      text: `minute ${minute}`,
    }));
    const root = strip(
      [
        drawnOf('timeseries', [
          answer(
            'team-a',
            every(() => 1),
          ),
        ]),
      ],
      moments,
    );
    const flags = paths(root, 'flag').map((flag) => ({ y: flag.attributes['y'], text: textsOf(flag)[0] }));
    expect(flags.map(({ text }) => text)).toEqual([
      '09:10 minute 10',
      '09:11 minute 11',
      '09:12 minute 12',
      '09:58 minute 58',
    ]);
    expect(new Set(flags.slice(0, 3).map(({ y }) => y)).size).toBe(3);
  });

  test('a silence is a gap in the line', () => {
    const values = every(() => 1).filter(([at]) => at < NINE + 20 * MINUTE || at > NINE + 30 * MINUTE);
    const root = strip([drawnOf('timeseries', [answer('team-a', values)])]);
    expect(paths(root, 'line')).toHaveLength(2);
  });

  test('a line that is level needs two points', () => {
    const root = strip([
      drawnOf('timeseries', [
        answer(
          'team-a',
          every(() => 0.5),
        ),
      ]),
    ]);
    expect(paths(root, 'line')[0]?.attributes['d']).toMatch(/^M[\d.]+ [\d.]+L[\d.]+ [\d.]+$/);
  });

  test('a stack is as high as the sum', () => {
    const panel = PANELS.find(({ stacked }) => stacked === true);
    if (panel === undefined) throw new Error('no panel is stacked');
    const both = [
      answer(
        'a',
        every(() => 30),
      ),
      answer(
        'b',
        every(() => 12),
      ),
    ];
    const texts = textsOf(strip([{ panel, answers: [both] }]));
    expect(texts).toContain('60');
    expect(texts).not.toContain('80');
  });

  test('an alert is pending, fires and is gone', () => {
    const panel = PANELS.find(({ title }) => title === 'Alerts');
    if (panel === undefined) throw new Error('no panel of alerts');
    const values = every((i) => (i < 20 ? 1 : 2)).slice(10, 40);
    const root = strip([{ panel, answers: [[answer('NodePortRangeExhausted', values)]] }]);
    const width = (kind: string): number[] =>
      paths(root, kind)
        .map(({ attributes }) => Number(attributes['width']))
        .filter((width) => width > 11);
    const [track = 0] = width('track');
    expect(width('yellow').map((w) => Math.round((60 * w) / track))).toEqual([10]);
    expect(width('red').map((w) => Math.round((60 * w) / track))).toEqual([19]);
  });
});

describe('axes', () => {
  test.each([
    ['short', 3, [0, 1, 2, 3]],
    ['short', 40, [0, 10, 20, 30, 40]],
    ['short', 0, [0, 1]],
    ['short', 0.04, [0, 0.01, 0.02, 0.03, 0.04]],
    ['percentunit', 1, [0, 0.25, 0.5, 0.75, 1]],
    ['s', 95, [0, 30, 60, 90, 120]],
    ['bytes', 90 * 2 ** 20, [0, 2 ** 25, 2 ** 26, 3 * 2 ** 25]],
  ])('%s up to %d', (unit, most, expected) => {
    expect(ticks(unit, most, 4)).toEqual(expected);
  });

  test.each([
    ['percentunit', 0.875, '88 %'],
    ['s', 0.0123, '12 ms'],
    ['s', 90, '1.5 min'],
    ['bytes', 100 * 2 ** 20, '100 MiB'],
    ['reqps', 3.25, '3.25/s'],
    ['short', 12_345, '12k'],
    ['dateTimeAsIso', NINE, '2026-01-05 09:00'],
    ['dateTimeAsIso', Number.POSITIVE_INFINITY, '–'],
    ['dateTimeAsIso', 1e20, '–'],
  ])('%s %d is %s', (unit, value, text) => expect(formatted(unit, value)).toBe(text));

  test('of time are round', () => {
    const span = { from: NINE + 3 * MINUTE, to: NINE + 61 * MINUTE };
    expect(timeTicks(span, 4).map((at) => (at - NINE) / MINUTE)).toEqual([15, 30, 45, 60]);
  });
});

describe('the pictures in docs/images', () => {
  test('are well-formed, small, and load nothing from elsewhere', async () => {
    const files = (await readdir(IMAGES)).filter((name) => name.endsWith('.svg'));
    expect(files.length).toBeGreaterThan(2);
    for (const name of files) {
      const text = await readFile(join(IMAGES, name), 'utf8');
      expect(parseXml(text).name, name).toBe('svg');
      expect((await stat(join(IMAGES, name))).size, name).toBeLessThan(150 * 1024);
      expect(text.replace('http://www.w3.org/2000/svg', ''), name).not.toMatch(/https?:|href|<script|<image/);
    }
  });

  test("show the dashboard as it is: every panel's title", async () => {
    const texts = textsOf(parseXml(await readFile(join(IMAGES, 'dashboard.svg'), 'utf8')));
    for (const { title } of PANELS) expect(texts).toContain(title);
  });
});

function names({ name, children }: XmlElement): string[] {
  return [name, ...children.flatMap((child) => (typeof child === 'string' ? [] : names(child)))];
}
