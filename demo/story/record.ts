/** Asks Prometheus what the dashboard would, for the pictures. */
import type { Sample, Samples } from '../../e2e/prometheus/server.ts';
import { overTime } from '../../monitoring/dashboard.ts';
import { COLUMNS, type Panel, ROWS } from '../../monitoring/panels.ts';
import type { Answer, Drawn, Span } from '../../monitoring/picture/data.ts';
import type { Pace } from './pace.ts';
import type { Stage } from './stage.ts';

/** In our time, Unix ms. */
export interface Period {
  readonly from: number;
  readonly to: number;
  readonly step: number;
}

/** What every panel shows at the end of the period, with the story's clock. */
export async function record({ prometheus }: Stage, pace: Pace, period: Period): Promise<Drawn[]> {
  const [from, to, step] = [period.from / 1000, period.to / 1000, period.step / 1000];
  // As Grafana: four scrapes.
  const asked = (expr: string): string =>
    expr
      .replaceAll('$__rate_interval', `${4 * period.step}ms`)
      .replaceAll('$cluster', '.*')
      .replaceAll('$range', '.*');
  const answer = async (panel: Panel, expr: string, i: number): Promise<Answer[]> => {
    if (overTime(panel))
      return (await prometheus.queryRange(asked(expr), from, to, step)).map((samples) =>
        overThePeriod(samples, pace),
      );
    const isDate = panel.type === 'table' && COLUMNS[i]?.[2] === 'dateTimeAsIso';
    return (await prometheus.query(asked(expr), to)).map((sample) => atItsEnd(sample, pace, period, isDate));
  };
  const drawn: Drawn[] = [];
  for (const panel of ROWS.flatMap(({ panels }) => panels)) {
    const answers: Answer[][] = [];
    for (const [i, { expr }] of panel.queries.entries()) answers.push(await answer(panel, expr, i));
    drawn.push({ panel, answers });
  }
  return drawn;
}

function overThePeriod({ metric, values }: Samples, pace: Pace): Answer {
  return { labels: metric, values: values.map(([at, value]) => [pace.told(at * 1000), value] as const) };
}

function atItsEnd({ metric, value }: Sample, pace: Pace, { to }: Period, isDate: boolean): Answer {
  return { labels: metric, values: [[pace.told(to), isDate ? pace.told(value) : value]] };
}

export function spanOf(pace: Pace, { from, to, step }: Period): Span {
  return { from: pace.told(from), to: pace.told(to), step: step * pace.speed };
}
