import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ControllerProcess, Series } from '../e2e/support/controller.ts';
import { complaintOf, medianOf, type Point, type Tolerance } from './growth.ts';

export interface Sample {
  /** s since the start. */
  readonly at: number;
  readonly pid: number;
  readonly leads: boolean;
  /** MB (10⁶ bytes). */
  readonly rss: number;
  readonly heap: number;
  readonly sockets: number;
  readonly queue: number;
  /** ms */
  readonly lag: number;
  /** Requests so far, and those of them that write. */
  readonly requests: number;
  readonly writes: number;
}

const ANSWERS_WITHIN_MS = 3_000;

/** Undefined: it does not answer, being stopped or on its way out. */
export async function sampleOf(controller: ControllerProcess, at: number): Promise<Sample | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ANSWERS_WITHIN_MS);
  const began = Promise.all([controller.metrics(), socketsOf(controller.pid)]).catch(() => undefined);
  const answer = await Promise.race([began, late.promise]);
  clearTimeout(timer);
  if (answer === undefined) return undefined;
  const [series, sockets] = answer;
  const value = (name: string): number => series.get(name) ?? Number.NaN;
  return {
    at,
    pid: controller.pid,
    leads: value('leader_election_master_status{name="nodeport-manager"}') === 1,
    rss: value('process_resident_memory_bytes') / 1e6,
    heap: value('nodejs_heap_size_used_bytes') / 1e6,
    sockets,
    queue: value('workqueue_depth{name="services"}'),
    lag: value('nodejs_eventloop_lag_seconds') * 1_000,
    requests: requestsOf(series, () => true),
    writes: requestsOf(series, (labels) => !labels.includes('method="GET"')),
  };
}

function requestsOf(series: Series, which: (labels: string) => boolean): number {
  let sum = 0;
  for (const [name, count] of series)
    if (name.startsWith('rest_client_requests_total{') && which(name)) sum += count;
  return sum;
}

async function socketsOf(pid: number): Promise<number> {
  const dir = `/proc/${pid}/fd`;
  const links = await Promise.all((await readdir(dir)).map((fd) => readlink(join(dir, fd)).catch(() => '')));
  return links.filter((link) => link.startsWith('socket:')).length;
}

/**
 * What a process may grow by while it is judged, nearly half the run.
 *
 * heap: its floor was seen to wander by 4 MB in a quarter of an hour, with the number of Services; 3 KB kept of each that
 *   goes, four a second, would be 9 MB.
 * rss: never given back after a burst, so each higher peak of the heap raises it for good: 7 MB in steps were seen, while
 *   the floor of the heap was flat. It is here for what is not in the heap.
 */
const TOLERANCES: Readonly<Record<'rss' | 'heap', Tolerance>> = {
  heap: { share: 0.1, amount: 6 },
  rss: { share: 0.1, amount: 10 },
};

/**
 * As many requests as may be under way at once (32 writes to Services, 8 of statuses, the table's), the watches, the Lease
 * and who reads the metrics. Fewer come and go with the load; one that is not closed is one more for ever.
 */
const MOST_SOCKETS = 64;

/** Of every process that lived through all of the time from `since`: what grows, and what is more than ever needed. */
export function complaintsAboutGrowth(samples: readonly Sample[], since: number): string[] {
  const pids = new Set(samples.map(({ pid }) => pid));
  return [...pids].flatMap((pid) => {
    const own = samples.filter((sample) => sample.pid === pid && sample.at >= since);
    const sockets = Math.max(0, ...own.map((sample) => sample.sockets));
    const tooMany =
      sockets > MOST_SOCKETS ? [`process ${pid} has ${sockets} sockets, more than ${MOST_SOCKETS}`] : [];
    const growing = Object.entries(TOLERANCES).flatMap(([name, tolerance]) => {
      const points = own.map((sample): Point => ({ at: sample.at, value: sample[name as 'rss'] }));
      return complaintOf(`${name} of process ${pid}`, points, tolerance) ?? [];
    });
    return [...tooMany, ...growing];
  });
}

/** One line a minute, of who leads; writes and requests a second from the counters of both. */
export function tableOf(samples: readonly Sample[], notes: readonly { at: number; what: string }[]): string {
  const minutes = new Set(samples.map(({ at }) => Math.floor(at / 60)));
  const header = [
    'min',
    'RSS',
    'standby',
    'heap',
    'sockets',
    'queue',
    'requests/s',
    'writes/s',
    'lag ms',
    'what',
  ];
  const rows = [...minutes].map((minute) => {
    const own = samples.filter(({ at }) => Math.floor(at / 60) === minute);
    const [leads, others] = [own.filter((s) => s.leads), own.filter((s) => !s.leads)];
    const median = (of: readonly Sample[], name: keyof Sample): string =>
      of.length === 0 ? '–' : medianOf(of.map((s) => Number(s[name]))).toFixed(0);
    const most = (name: keyof Sample): string => Math.max(...own.map((s) => Number(s[name]))).toFixed(0);
    const what = notes.filter(({ at }) => Math.floor(at / 60) === minute).map((note) => note.what);
    return [
      `${minute}`,
      median(leads, 'rss'),
      median(others, 'rss'),
      median(leads, 'heap'),
      median(leads, 'sockets'),
      most('queue'),
      rateOf(own, 'requests').toFixed(1),
      rateOf(own, 'writes').toFixed(1),
      `${median(leads, 'lag')} (${most('lag')})`,
      what.join('; '),
    ];
  });
  const all = [header, header.map(() => '---'), ...rows];
  return all.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** A second, all processes together. */
export function rateOf(samples: readonly Sample[], name: 'requests' | 'writes'): number {
  let sum = 0;
  const last = new Map<number, Sample>();
  for (const sample of samples) {
    const before = last.get(sample.pid);
    if (before !== undefined) sum += Math.max(0, sample[name] - before[name]);
    last.set(sample.pid, sample);
  }
  const span = (samples.at(-1)?.at ?? 0) - (samples[0]?.at ?? 0);
  return span === 0 ? 0 : sum / span;
}

export function asCsv(samples: readonly Sample[]): string {
  const names = Object.keys(samples[0] ?? {}) as (keyof Sample)[];
  const lines = samples.map((sample) => names.map((name) => Number(sample[name])).join(','));
  return `${[names.join(','), ...lines].join('\n')}\n`;
}
