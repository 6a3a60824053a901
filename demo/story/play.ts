import { setTimeout as sleep } from 'node:timers/promises';
import type { Drawn, Moment, Span } from '../../monitoring/picture/data.ts';
import { clock } from '../../monitoring/picture/units.ts';
import type { Progress } from '../../e2e/cluster/run.ts';
import { type Turn, watchAlerts } from './alerts.ts';
import { startPace } from './pace.ts';
import { record, spanOf } from './record.ts';
import { MOVED_IN, moveIn, type Play, SCRIPT } from './script.ts';
import { type Stage, startStage } from './stage.ts';

/** Between two scrapes of the story: half a minute, which is usual. */
const SCRAPE_S = 30;
const RESYNC_MIN = 10;
/** The teams have moved in, and Prometheus has seen it. */
const READY = `sum(nodeport_manager_range_allocated_ports) == ${MOVED_IN}`;
const READY_WITHIN_MS = 30_000;

export interface PlayOptions {
  /** So many times as fast as it is told, the alerts with it. */
  readonly speed: number;
  readonly onProgress: Progress;
  /** `09:14`, and what happens. */
  readonly onStep: (time: string, says: string) => void;
  readonly onAlert: (time: string, turn: Turn) => void;
}

/** What was seen. */
export interface Told {
  /** Every panel at the end. */
  readonly drawn: readonly Drawn[];
  /** Every panel as it was just before each moment, by the moment's text. */
  readonly before: ReadonlyMap<string, readonly Drawn[]>;
  readonly span: Span;
  readonly moments: readonly Moment[];
  readonly turns: readonly Turn[];
}

/** Plays the story on a stage of its own, of which nothing is left. Throws when something does not come as scripted. */
export async function playStory(options: PlayOptions): Promise<Told> {
  const { speed, onProgress } = options;
  const interval = (SCRAPE_S * 1000) / speed;
  const broken = Promise.withResolvers<never>();
  const resync = startPace(speed, 0).seconds(RESYNC_MIN);
  const stage = await startStage({ speed, interval, resync, onProgress, onBroken: broken.reject });
  try {
    return await Promise.race([perform(stage, options, interval), broken.promise]);
  } finally {
    await stage.close();
  }
}

async function perform(stage: Stage, options: PlayOptions, interval: number): Promise<Told> {
  const { speed, onStep, onAlert } = options;
  await moveIn(stage, startPace(speed, Date.now()));
  await untilCalm(stage, interval);
  const began = Date.now();
  const pace = startPace(speed, began);
  const time = (): string => clock(pace.told(Date.now()));
  const alerts = watchAlerts(stage.prometheus, interval, (turn) => onAlert(time(), turn));
  const play: Play = { ...stage, pace, alerts };
  const begun = new Map<string, number>();
  try {
    for (const { minute, moment, act } of SCRIPT.toSorted((a, b) => a.minute - b.minute)) {
      await pace.until(minute);
      if (moment !== undefined) begun.set(moment, Date.now());
      const says = await act(play);
      if (says !== undefined) onStep(time(), says);
    }
  } finally {
    await alerts.stop();
  }
  const period = { from: began, to: Date.now(), step: interval };
  const before = new Map<string, readonly Drawn[]>();
  for (const [text, at] of begun) before.set(text, await record(stage, pace, { ...period, to: at }));
  return {
    drawn: await record(stage, pace, period),
    before,
    span: spanOf(pace, period),
    moments: [...begun].map(([text, at]) => ({ at: pace.told(at), text })),
    turns: alerts.turns,
  };
}

/** Until the alerts about what was not there yet are gone, too. */
async function untilCalm({ prometheus }: Stage, interval: number): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  for (;;) {
    const [seen, alerts] = await Promise.all([prometheus.query(READY), prometheus.alerts()]);
    if (seen.length > 0 && alerts.length === 0) return;
    if (performance.now() > deadline)
      throw new Error(`Prometheus has not seen the teams, or alerts of ${alerts.length}`);
    await sleep(interval);
  }
}
