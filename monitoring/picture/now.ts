/** Panels about one moment: a number, bars, a table. */
import { COLUMNS } from '../panels.ts';
import { type Answer, colorOf, type Drawn, type Frame, lastOf, seriesOf } from './data.ts';
import { element, fitted, group, round, type Svg, text } from './svg.ts';
import { formatted } from './units.ts';

const BAR_ROW = 46;
const TABLE_ROW = 24;

export function stat(drawn: Drawn, frame: Frame): Svg {
  const { panel } = drawn;
  const value = lastOf(seriesOf(drawn)[0]?.values ?? []) ?? 0;
  const middle = { x: frame.x + frame.w / 2, y: frame.y + frame.h / 2 + 12 };
  const color = panel.steps === undefined ? 'ink' : colorOf(panel, value);
  return text(middle, `big ${color}`, formatted(panel.unit, value), 'middle');
}

export function barGauge(drawn: Drawn, frame: Frame): Svg {
  const { panel } = drawn;
  const series = seriesOf(drawn);
  const height = Math.min(BAR_ROW, frame.h / series.length);
  const width = frame.w - 62;
  return group(
    series.map(({ name, values }, i) => {
      const value = lastOf(values) ?? 0;
      const y = frame.y + i * height;
      const bar = { x: frame.x, y: y + 18, height: Math.max(4, height - 28), rx: 3 };
      return group([
        text({ x: frame.x, y: y + 12 }, 'ink text', fitted(name, 12, width)),
        element('rect', { ...bar, class: 'track', width }),
        element('rect', {
          ...bar,
          class: colorOf(panel, value),
          width: width * Math.min(1, Math.max(0, value)),
        }),
        text(
          { x: frame.x + frame.w, y: y + 18 + bar.height / 2 + 5 },
          'ink text',
          formatted(panel.unit, value),
          'end',
        ),
      ]);
    }),
  );
}

/** A line for each range; the answers of all queries side by side. */
export function table({ answers }: Drawn, frame: Frame): Svg {
  const ranges = [...new Set(answers.flat().map(rangeOf))].toSorted();
  const shown = ranges.slice(0, Math.floor(frame.h / TABLE_ROW) - 1);
  const cells = (range: string): string[] =>
    COLUMNS.map(([, , unit], i) => {
      const value = lastOf(answers[i]?.find((answer) => rangeOf(answer) === range)?.values ?? []);
      return value === undefined || !Number.isFinite(value) ? '–' : formatted(unit, value);
    });
  const titles = COLUMNS.map(([title]) => title);
  return group([
    line(frame, 0, 'quiet', ['PortRange', ...titles]),
    ...shown.map((range, i) => line(frame, i + 1, 'ink', [range, ...cells(range)])),
  ]);
}

const rangeOf = ({ labels }: Answer): string => labels['range'] ?? '';

/** In characters, with some space between two columns; numbers are short. */
const WEIGHTS = [
  11,
  ...COLUMNS.map(([title, , unit]) => (unit === 'dateTimeAsIso' ? 18 : Math.max(4, title.length) + 2)),
];
const WEIGHT = WEIGHTS.reduce((sum, weight) => sum + weight, 0);

function line(frame: Frame, n: number, kind: string, cells: readonly string[]): Svg {
  const y = frame.y + n * TABLE_ROW;
  let x = frame.x;
  const drawn = cells.map((cell, i) => {
    const width = (frame.w * (WEIGHTS[i] ?? 1)) / WEIGHT;
    x += width;
    const words = fitted(cell, 11, width);
    return i === 0
      ? text({ x: frame.x, y: y + 15 }, `${kind} small`, words)
      : text({ x, y: y + 15 }, `${kind} small`, words, 'end');
  });
  const under = `M${round(frame.x)} ${round(y + TABLE_ROW - 2)}h${round(frame.w)}`;
  return group([...drawn, element('path', { class: 'grid', d: under })]);
}
