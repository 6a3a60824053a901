/** One panel of the dashboard as a card. */
import { type Drawn, type Frame, type Moment, seriesOf, type Span } from './data.ts';
import { barGauge, stat, table } from './now.ts';
import { stateLegend, stateTimeline } from './states.ts';
import { element, fitted, group, round, type Svg, text, widthOf } from './svg.ts';
import { legend, plotIn, timeAxis, timeSeries, xOf } from './timeSeries.ts';

const PADDING = 12;
const TITLE = 26;
/** Of a card: what the legend may take. */
const LEGEND_LINES = 3;

export function panelCard(drawn: Drawn, span: Span, moments: readonly Moment[], frame: Frame): Svg {
  const inner = {
    x: frame.x + PADDING,
    y: frame.y + TITLE + 4,
    w: frame.w - 2 * PADDING,
    h: frame.h - TITLE - 4 - 8,
  };
  const { title, axis = '' } = drawn.panel;
  const right = { x: inner.x + inner.w, y: frame.y + 20 };
  return group([
    element('rect', { class: 'card', x: frame.x, y: frame.y, width: frame.w, height: frame.h, rx: 6 }),
    text({ x: inner.x, y: frame.y + 20 }, 'ink title', fitted(title, 13.5, inner.w - widthOf(axis, 11))),
    text(right, 'quiet small', axis, 'end'),
    hasData(drawn) ? content(drawn, span, moments, inner) : nothing(inner),
  ]);
}

export function hasData(drawn: Drawn): boolean {
  return seriesOf(drawn).length > 0;
}

export function nothing(frame: Frame): Svg {
  return text({ x: frame.x + frame.w / 2, y: frame.y + frame.h / 2 + 4 }, 'quiet text', 'no data', 'middle');
}

function content(drawn: Drawn, span: Span, moments: readonly Moment[], frame: Frame): Svg {
  switch (drawn.panel.type) {
    case 'stat':
      return stat(drawn, frame);
    case 'bargauge':
      return barGauge(drawn, frame);
    case 'table':
      return table(drawn, frame);
    case 'timeseries': {
      const names = legend(drawn, frame, LEGEND_LINES);
      const plot = plotIn(frame, names.lines);
      return group([
        momentLines(moments, span, plot),
        timeSeries(drawn, span, plot),
        timeAxis(span, plot),
        names.draw(),
      ]);
    }
    case 'state-timeline': {
      const labels = { ...frame, w: Math.min(310, frame.w * 0.4) };
      const plot = {
        x: frame.x + labels.w + 10,
        y: frame.y + 6,
        w: frame.w - labels.w - 18,
        h: frame.h - 42,
      };
      return group([
        stateTimeline(drawn, span, plot, labels),
        momentLines(moments, span, plot),
        timeAxis(span, plot),
        stateLegend(drawn, { x: frame.x, y: frame.y + frame.h - 2 }),
      ]);
    }
  }
}

export function momentLines(moments: readonly Moment[], span: Span, plot: Frame): Svg {
  const x = xOf(span, plot);
  return group(
    moments.map(({ at }) =>
      element('path', { class: 'moment', d: `M${round(x(at))} ${round(plot.y)}v${round(plot.h)}` }),
    ),
  );
}
