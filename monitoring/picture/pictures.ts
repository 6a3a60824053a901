/**
 * Pictures of the dashboard: all of it, and some panels one under the other on one time axis. Drawn from the panels' own
 * queries, so that a picture shows what Grafana would.
 */
import { ROWS } from '../panels.ts';
import type { Drawn, Frame, Moment, Span } from './data.ts';
import { hasData, momentLines, nothing, panelCard } from './panel.ts';
import { heightOf, stateLegend, stateTimeline } from './states.ts';
import { element, fitted, group, picture, round, type Svg, text, widthOf } from './svg.ts';
import { legendColumn, timeAxis, timeSeries, xOf } from './timeSeries.ts';
import { clock } from './units.ts';

export interface Words {
  readonly title: string;
  /** What is to be seen, for who cannot see it. */
  readonly description: string;
  readonly subtitle: string;
}

const MARGIN = 16;
const GAP = 8;
const COLUMN = 40;
const UNIT = 25;
const WIDTH = 24 * COLUMN + 2 * MARGIN;
const LIST_COLUMNS = 3;

/** As Grafana lays them out. Rows of which no panel is drawn are left out. */
export function dashboardPicture(
  words: Words,
  drawn: readonly Drawn[],
  span: Span,
  moments: readonly Moment[],
): Svg {
  const content = [...header(words), ...momentList(moments, 66)];
  let y = 66 + Math.ceil(moments.length / LIST_COLUMNS) * 18 + 8;
  for (const row of ROWS) {
    const panels = row.panels.flatMap((panel) => drawn.find((one) => one.panel === panel) ?? []);
    if (panels.length === 0) continue;
    content.push(text({ x: MARGIN, y: y + 17 }, 'ink row', row.title));
    y += 26;
    let [x, tallest] = [0, 0];
    for (const one of panels) {
      const { width, height } = one.panel;
      if (x + width > 24) [x, y, tallest] = [0, y + tallest * UNIT, 0];
      const w = width * COLUMN - (x + width < 24 ? GAP : 0);
      const frame = { x: MARGIN + x * COLUMN, y, w, h: height * UNIT - GAP };
      content.push(panelCard(one, span, moments, frame));
      x += width;
      tallest = Math.max(tallest, height);
    }
    y += tallest * UNIT;
  }
  return picture({ w: WIDTH, h: y + MARGIN - GAP }, words.title, words.description, content);
}

function header({ title, subtitle }: Words): Svg[] {
  return [
    text({ x: MARGIN, y: 32 }, 'ink picture', title),
    text({ x: MARGIN, y: 51 }, 'quiet text', subtitle),
  ];
}

/** In the dashboard there is no room for words beside the lines. */
function momentList(moments: readonly Moment[], top: number): Svg[] {
  const width = (WIDTH - 2 * MARGIN) / LIST_COLUMNS;
  const rows = Math.ceil(moments.length / LIST_COLUMNS);
  return moments.map(({ at, text: words }, i) => {
    const place = { x: MARGIN + Math.floor(i / rows) * width, y: top + (i % rows) * 18 + 8 };
    return text(place, 'quiet small', fitted(`┆ ${clock(at)} ${words}`, 11, width - 8));
  });
}

const NAMES = 300;
const STRIP_HEIGHT = 120;
const FLAG = 17;

/** The panels one under the other, with the moments written along the time axis. */
export function stripPicture(
  words: Words,
  drawn: readonly Drawn[],
  span: Span,
  moments: readonly Moment[],
): Svg {
  const lane = { x: MARGIN + NAMES, w: WIDTH - 2 * MARGIN - NAMES };
  const flags = flagged(moments, span, { ...lane, y: 78, h: 0 });
  const top = 78 + flags.lanes * FLAG + 10;
  let y = top;
  const strips = drawn.map((one) => {
    const height = one.panel.type === 'state-timeline' ? heightOf(one) : STRIP_HEIGHT;
    const plot = { ...lane, y: y + 42, h: height };
    y = plot.y + height + 14;
    return strip(one, span, plot);
  });
  const bottom = { ...lane, y: top, h: y - top };
  return picture({ w: WIDTH, h: y + 30 }, words.title, words.description, [
    ...header(words),
    momentLines(moments, span, { ...bottom, h: bottom.h }),
    flags.draw(bottom.y),
    ...strips,
    timeAxis(span, bottom),
  ]);
}

function strip(drawn: Drawn, span: Span, plot: Frame): Svg {
  const { type, title, axis = '' } = drawn.panel;
  const names = { x: MARGIN, y: plot.y - 4, w: NAMES - 60, h: plot.h };
  const head = [
    element('path', {
      class: 'grid',
      d: `M${MARGIN} ${round(plot.y - 36)}h${round(plot.x + plot.w - MARGIN)}`,
    }),
    text({ x: MARGIN, y: plot.y - 16 }, 'ink title', title),
    text({ x: plot.x - 6, y: plot.y - 12 }, 'quiet small', axis, 'end'),
  ];
  if (!hasData(drawn)) return group([...head, nothing(plot)]);
  if (type === 'state-timeline') {
    const labels = { ...names, w: NAMES - 4 };
    const legend = stateLegend(drawn, { x: plot.x, y: plot.y - 12 });
    return group([...head, legend, stateTimeline(drawn, span, plot, labels)]);
  }
  return group([...head, legendColumn(drawn, names), timeSeries(drawn, span, plot)]);
}

/** Words beside their line, in as many lanes as it takes for none to lie on another. */
function flagged(
  moments: readonly Moment[],
  span: Span,
  plot: Frame,
): { lanes: number; draw: (bottom: number) => Svg } {
  const x = xOf(span, plot);
  const ends: number[] = [];
  const placed = moments.map(({ at, text: words }) => {
    const label = `${clock(at)} ${words}`;
    const width = widthOf(label, 11) + 10;
    // At the right edge the words stand before the line.
    const before = x(at) + width > plot.x + plot.w + MARGIN;
    const left = before ? x(at) - width : x(at);
    const free = ends.findIndex((end) => end <= left);
    const lane = free === -1 ? ends.length : free;
    ends[lane] = left + width;
    return { at: x(at), lane, label, before };
  });
  const draw = (bottom: number): Svg => {
    const yOf = (lane: number): number => plot.y + lane * FLAG;
    const poles = placed.map(({ at, lane }) =>
      element('path', { class: 'moment', d: `M${round(at)} ${round(yOf(lane) - 9)}V${round(bottom)}` }),
    );
    const labels = placed.map(({ at, lane, label, before }) =>
      text({ x: at + (before ? -5 : 5), y: yOf(lane) }, 'ink flag', label, before ? 'end' : undefined),
    );
    // No pole stands before another's words.
    return group([...poles, ...labels]);
  };
  return { lanes: ends.length, draw };
}
