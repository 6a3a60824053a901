import type { Panel } from '../panels.ts';

/** Part of a picture, in pixels. */
export interface Frame {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

export type Values = readonly (readonly [at: number, value: number])[];

/** What a query was answered. */
export interface Answer {
  readonly labels: Readonly<Record<string, string>>;
  /** In order; of a panel about now only the last one counts. `at`: ms since 1970. */
  readonly values: Values;
}

/** A panel and, for each of its queries, the answers. */
export interface Drawn {
  readonly panel: Panel;
  readonly answers: readonly (readonly Answer[])[];
}

/** What happened when. */
export interface Moment {
  /** ms since 1970 */
  readonly at: number;
  readonly text: string;
}

/** What the time axis shows; ms since 1970, and `step` between two values. */
export interface Span {
  readonly from: number;
  readonly to: number;
  readonly step: number;
}

export interface Series {
  readonly name: string;
  readonly values: Values;
}

/** All series of a panel that have a value, named as its legend says. */
export function seriesOf({ panel, answers }: Drawn): Series[] {
  return answers.flatMap((answer, i) =>
    answer
      .map(({ labels, values }) => ({
        name: named(panel.queries[i]?.legend ?? '', labels),
        values: values.filter(([, value]) => Number.isFinite(value)),
      }))
      .filter(({ values }) => values.length > 0)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  );
}

/** `{{range}} {{outcome}}` → `team-a assigned`; a label that is missing leaves no gap. */
function named(legend: string, labels: Readonly<Record<string, string>>): string {
  return legend
    .replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? '')
    .replaceAll(/ +/g, ' ')
    .trim();
}

export function lastOf(values: Values): number | undefined {
  return values.at(-1)?.[1];
}

/** The colour that a value has by the panel's steps. */
export function colorOf({ steps = [] }: Panel, value: number): string {
  const passed = steps.filter((step) => value >= step).length;
  return ['green', 'yellow', 'orange', 'red'][passed] ?? 'red';
}
