/** Lines, or stacked areas, over time. */
import type { Panel } from '../panels.ts';
import { type Drawn, type Frame, type Series, seriesOf, type Span, type Values } from './data.ts';
import { element, fitted, group, round, seriesClass, type Svg, text, widthOf } from './svg.ts';
import { clock, formatted, ticks, timeTicks } from './units.ts';

/** Longer silences than so many steps are drawn as gaps. */
const GAP_STEPS = 2.5;
const AXIS_WIDTH = 46;
const AXIS_HEIGHT = 18;
const LINE = 15;
const TIME_LABEL = 70;

/** @param plot where values are drawn; what is left of it belongs to the axis */
export function timeSeries(drawn: Drawn, span: Span, plot: Frame): Svg {
  const { panel } = drawn;
  const series = seriesOf(drawn);
  const layers = panel.stacked === true ? stacked(series) : series;
  const most = Math.max(0, ...layers.flatMap(({ values }) => values.map(([, value]) => value)));
  const marks = ticks(
    panel.unit,
    panel.unit === 'percentunit' ? Math.max(1, most) : most,
    Math.max(2, plot.h / 32),
  );
  const top = marks.at(-1) ?? 1;
  const x = xOf(span, plot);
  const y = (value: number): number => plot.y + plot.h - (value / top) * plot.h;
  const lines = layers.map(({ values }) =>
    runsOf(values, span.step).map((run) => shortened(run.map(([at, v]): Point => [x(at), y(v)]))),
  );
  const paths = lines.map((runs, i) => {
    // All layers of a stack have the same moments, and so the same gaps.
    const areas = panel.stacked === true ? runs.map((run, n) => area(run, lines[i - 1]?.[n], plot, i)) : [];
    return group([...areas, ...runs.map((run) => lineOf(run, i))]);
  });
  return group([
    ...marks.map((mark) => horizontal(panel.unit, mark, y(mark), plot)),
    ...(panel.steps ?? []).filter((step) => step <= top).map((step, i) => limit(y(step), i, plot)),
    // The first is drawn last: in a stack it lies in front.
    ...paths.toReversed(),
  ]);
}

/** The time axis under a plot. */
export function timeAxis(span: Span, plot: Frame): Svg {
  const x = xOf(span, plot);
  const bottom = plot.y + plot.h;
  return group([
    element('path', { class: 'axis', d: `M${round(plot.x)} ${round(bottom)}h${round(plot.w)}` }),
    ...timeTicks(span, plot.w / TIME_LABEL).flatMap((at) => [
      element('path', { class: 'axis', d: `M${round(x(at))} ${round(bottom)}v4` }),
      text({ x: x(at), y: bottom + 15 }, 'quiet small', clock(at), 'middle'),
    ]),
  ]);
}

export function xOf(span: Span, plot: Frame): (at: number) => number {
  return (at) => plot.x + ((at - span.from) / (span.to - span.from)) * plot.w;
}

/** What the axes leave of a frame whose legend stands below. */
export function plotIn(frame: Frame, legendLines: number): Frame {
  return {
    x: frame.x + AXIS_WIDTH,
    y: frame.y + 10,
    w: frame.w - AXIS_WIDTH - 8,
    h: frame.h - 10 - AXIS_HEIGHT - legendLines * LINE - 4,
  };
}

/** Names with their colours, from left to right in as many lines as it takes; at most `most`. */
export function legend(drawn: Drawn, frame: Frame, most: number): { lines: number; draw: () => Svg } {
  const names = seriesOf(drawn).map(({ name }) => name);
  const placed: { x: number; line: number; name: string; i: number }[] = [];
  let [x, line] = [0, 0];
  for (const [i, name] of names.entries()) {
    const shown = fitted(name, 11, frame.w - 24);
    const width = 16 + widthOf(shown, 11) + 8;
    if (x > 0 && x + width > frame.w) [x, line] = [0, line + 1];
    placed.push({ x, line, name: shown, i });
    x += width;
  }
  const isEmpty = names.every((name) => name === '');
  const lines = isEmpty ? 0 : Math.min(most, line + 1);
  const first = frame.y + frame.h - lines * LINE;
  const draw = (): Svg =>
    group(
      placed
        .filter(({ line }) => line < lines)
        .map(({ x, line, name, i }) => entry({ x: frame.x + x, y: first + line * LINE + 11 }, name, i)),
    );
  return { lines, draw };
}

/** The same, one below the other. */
export function legendColumn(drawn: Drawn, frame: Frame): Svg {
  const shown = seriesOf(drawn).slice(0, Math.floor(frame.h / LINE));
  return group(
    shown.map(({ name }, i) =>
      entry({ x: frame.x, y: frame.y + i * LINE + 11 }, fitted(name, 11, frame.w - 24), i),
    ),
  );
}

function entry({ x, y }: { x: number; y: number }, name: string, i: number): Svg {
  const swatch = element('rect', {
    class: seriesClass('f', i),
    x,
    y: y - 6,
    width: 11,
    height: 4,
    rx: 2,
  });
  return group([swatch, text({ x: x + 16, y }, 'ink small', name)]);
}

function horizontal(unit: Panel['unit'], mark: number, y: number, plot: Frame): Svg {
  return group([
    element('path', { class: 'grid', d: `M${round(plot.x)} ${round(y)}h${round(plot.w)}` }),
    text({ x: plot.x - 6, y: y + 4 }, 'quiet small', formatted(unit, mark), 'end'),
  ]);
}

function limit(y: number, i: number, plot: Frame): Svg {
  const color = ['yellow', 'orange', 'red'][i] ?? 'red';
  return element('path', {
    class: `limit ${color}-line`,
    d: `M${round(plot.x)} ${round(y)}h${round(plot.w)}`,
  });
}

/** Each upon those before it; whoever has no value at a moment adds nothing. */
function stacked(series: readonly Series[]): Series[] {
  const moments = [...new Set(series.flatMap(({ values }) => values.map(([at]) => at)))].toSorted(
    (a, b) => a - b,
  );
  const sums = new Map(moments.map((at) => [at, 0]));
  return series.map(({ name, values }) => {
    for (const [at, value] of values) sums.set(at, (sums.get(at) ?? 0) + value);
    return { name, values: moments.map((at) => [at, sums.get(at) ?? 0] as const) };
  });
}

type Point = readonly [x: number, y: number];

/** Down to the layer under it, or to the axis. */
function area(run: readonly Point[], under: readonly Point[] | undefined, plot: Frame, i: number): Svg {
  const bottom = plot.y + plot.h;
  const ends = [run[0], run.at(-1)].flatMap((point): Point[] => (point ? [[point[0], bottom]] : []));
  const edge = (under ?? ends).toReversed();
  return element('path', { class: `area ${seriesClass('f', i)}`, d: `${path([...run, ...edge])}Z` });
}

function lineOf(run: readonly Point[], i: number): Svg {
  const [x = 0, y = 0] = run[0] ?? [];
  return run.length === 1
    ? element('circle', { class: seriesClass('f', i), cx: x, cy: y, r: 2 })
    : element('path', { class: `line ${seriesClass('s', i)}`, d: path(run) });
}

const path = (points: readonly Point[]): string =>
  `M${points.map(([x, y]) => `${round(x)} ${round(y)}`).join('L')}`;

/** Parts without a gap. */
function runsOf(values: Values, step: number): [number, number][][] {
  const runs: [number, number][][] = [];
  let before = Number.NEGATIVE_INFINITY;
  for (const [at, value] of values) {
    if (at - before > step * GAP_STEPS) runs.push([]);
    runs.at(-1)?.push([at, value]);
    before = at;
  }
  return runs;
}

/** Without the points inside a level stretch: most lines are level most of the time. */
function shortened(points: readonly Point[]): Point[] {
  return points.filter(
    ([, y], i) => i === 0 || i === points.length - 1 || points[i - 1]?.[1] !== y || points[i + 1]?.[1] !== y,
  );
}
