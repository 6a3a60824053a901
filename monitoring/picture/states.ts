/** A state timeline: a line for each series, coloured by what its value means. */
import { type Drawn, type Frame, type Series, seriesOf, type Span } from './data.ts';
import { element, fitted, group, type Svg, text, widthOf } from './svg.ts';
import { xOf } from './timeSeries.ts';

const ROW = 20;
const GAP_STEPS = 2.5;

/** @param labels the frame of the names, at the height of the plot */
export function stateTimeline(drawn: Drawn, span: Span, plot: Frame, labels: Frame): Svg {
  const series = seriesOf(drawn).toSorted((a, b) => (a.values[0]?.[0] ?? 0) - (b.values[0]?.[0] ?? 0));
  const height = Math.min(ROW, plot.h / Math.max(1, series.length));
  return group(
    series.map((one, i) => {
      const y = plot.y + i * height;
      const name = fitted(one.name, 11, labels.w);
      return group([
        element('rect', { class: 'track', x: plot.x, y: y + 2, width: plot.w, height: height - 4, rx: 2 }),
        text({ x: labels.x, y: y + height / 2 + 4 }, 'ink small', name),
        ...segments(drawn, one, span).map((segment) => block(segment, span, plot, y + 2, height - 4)),
      ]);
    }),
  );
}

/** How high it wants to be. */
export function heightOf(drawn: Drawn): number {
  return Math.max(1, seriesOf(drawn).length) * ROW;
}

interface Segment {
  readonly from: number;
  to: number;
  readonly value: number;
  readonly text: string;
  readonly color: string;
}

/** Equal values one after the other are one. A value counts until the next one. */
function segments({ panel }: Drawn, { values }: Series, { step }: Span): Segment[] {
  const all: Segment[] = [];
  for (const [at, value] of values) {
    const last = all.at(-1);
    const follows = last !== undefined && at - last.to < step * GAP_STEPS;
    if (follows) last.to = at;
    if (follows && last.value === value) continue;
    const state = panel.states?.find((state) => state.value === value);
    all.push({ from: at, to: at, value, text: state?.text ?? `${value}`, color: state?.color ?? 'blue' });
  }
  for (const segment of all) if (segment.to === segment.from) segment.to += step;
  return all;
}

function block(segment: Segment, span: Span, plot: Frame, y: number, height: number): Svg {
  const x = xOf(span, plot);
  const [left, right] = [Math.max(plot.x, x(segment.from)), Math.min(plot.x + plot.w, x(segment.to))];
  const rect = { class: segment.color, x: left, y, width: Math.max(2, right - left), height, rx: 2 };
  const fits = widthOf(segment.text, 11) + 8 < right - left && height >= 13;
  const middle = { x: (left + right) / 2, y: y + height / 2 + 4 };
  return group([element('rect', rect), ...(fits ? [text(middle, 'onColor', segment.text, 'middle')] : [])]);
}

/** What the colours mean. */
export function stateLegend({ panel }: Drawn, at: { x: number; y: number }): Svg {
  let x = at.x;
  return group(
    (panel.states ?? []).map(({ text: words, color }) => {
      const left = x;
      x += 18 + widthOf(words, 11) + 14;
      return group([
        element('rect', { class: color, x: left, y: at.y - 9, width: 11, height: 11, rx: 2 }),
        text({ x: left + 16, y: at.y }, 'quiet small', words),
      ]);
    }),
  );
}
