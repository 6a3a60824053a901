import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { type Put, registerComputed } from './computed.ts';
import { createRangeMetrics, type OUTCOMES, type RangeSource } from './rangeMetrics.ts';

const PREFIX = 'nodeport_manager_';

/** What gauges read when a scrape comes: present state, recomputed, never counted up and down. */
export interface MetricsSource extends RangeSource {
  waiting(): Iterable<{ readonly range: string; readonly reason: string }>;
  queue(): { readonly depth: number; readonly ages: { readonly longest: number; readonly sum: number } };
  tableSizes(): Iterable<readonly [string, number]>;
  /** Active conflicts by kind, every kind included; undefined: not known. */
  conflicts(): Iterable<readonly [string, number | undefined]>;
  nodePortRangeSize(): number | undefined;
  nodePortsInUse(): number | undefined;
  /** ms, by cache */
  cacheSilences(): Iterable<readonly [string, number]>;
  /** ms since 1970 */
  lastSync(): number | undefined;
}

export interface Metrics {
  readonly registry: Registry;
  /** Gauges read from here from now on. */
  watch(source: MetricsSource): void;
  allocated(range: string, outcome: (typeof OUTCOMES)[number]): void;
  took(seconds: number): void;
  released(range: string): void;
  conflictSeen(kind: string): void;
  tableWrote(result: string): void;
  tableHealed(kind: string): void;
  eventDropped(): void;
  readonly workqueue: {
    added(): void;
    started(waitedSeconds: number): void;
    finished(workedSeconds: number): void;
    retried(): void;
  };
  request(info: { verb: string; method: string; code: string; seconds: number; host: string }): void;
  listed(info: { name: string; items: number; seconds: number }): void;
  watched(name: string): void;
  /** Whether this process leads, by the Lease of that name. */
  leads(name: string, leads: boolean): void;
}

/** Round trips: 1 ms for a read on an idle cluster, a minute until it is given up. */
const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** Within the process: a decision takes microseconds, a round of a burst seconds. */
const QUEUE_SECONDS = [0.0001, 0.00025, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 60];
/** From two round trips on an idle cluster to a wait for somebody else's release. */
const ALLOCATION_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** The queue is the only one; client-go's metrics name theirs in a label. */
const QUEUE = { name: 'services' };

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectProcessMetrics(registry);
  const counter = (name: string, help: string, labelNames: string[] = []): Counter =>
    new Counter({ name, help, labelNames, registers });
  const histogram = (name: string, help: string, buckets: number[], labelNames: string[] = []): Histogram =>
    new Histogram({ name, help, labelNames, buckets, registers });

  const ranges = createRangeMetrics(registry);
  const conflicts = counter(
    `${PREFIX}conflicts_total`,
    'Conflicts seen for the first time, by kind: foreign_in_range, out_of_range, port_taken, range_overlap, table_drift, duplicate.',
    ['kind'],
  );
  const duration = histogram(
    `${PREFIX}allocation_duration_seconds`,
    'Seconds from a Service first seen needing ports to its ports written.',
    ALLOCATION_SECONDS,
  );
  const tableWrites = counter(
    `${PREFIX}table_writes_total`,
    'Writes of table blocks by result: ok, conflict, error.',
    ['result'],
  );
  const tableHeals = counter(
    `${PREFIX}table_heals_total`,
    'Table blocks mended, by what was wrong: edited, deleted, corrupt.',
    ['kind'],
  );
  const eventsDropped = counter(
    `${PREFIX}events_dropped_total`,
    'Events not sent because of their rate limits.',
  );
  const added = counter('workqueue_adds_total', 'Keys added to the queue.', ['name']);
  const retries = counter('workqueue_retries_total', 'Keys that wait a backoff.', ['name']);
  const queued = histogram(
    'workqueue_queue_duration_seconds',
    'Seconds that keys wait in the queue.',
    QUEUE_SECONDS,
    ['name'],
  );
  const worked = histogram(
    'workqueue_work_duration_seconds',
    'Seconds that a key is processed.',
    QUEUE_SECONDS,
    ['name'],
  );
  const requests = counter('rest_client_requests_total', 'HTTP requests by status code, method and host.', [
    'code',
    'method',
    'host',
  ]);
  const requestSeconds = histogram(
    'rest_client_request_duration_seconds',
    'Seconds until the head of an answer, by verb and host.',
    REQUEST_SECONDS,
    ['verb', 'host'],
  );
  const lists = counter('reflector_lists_total', 'Lists from the apiserver.', ['name']);
  const listSeconds = histogram(
    'reflector_list_duration_seconds',
    'Seconds that a list of all pages takes.',
    REQUEST_SECONDS,
    ['name'],
  );
  const listItems = new Gauge({
    name: 'reflector_items_per_list',
    help: 'Objects in the last list.',
    labelNames: ['name'],
    registers,
  });
  const watches = counter('reflector_watches_total', 'Watches that the apiserver accepted.', ['name']);
  const leading = new Gauge({
    name: 'leader_election_master_status',
    help: 'Whether this process leads (1) or waits for its turn (0), by Lease; absent without leader election.',
    labelNames: ['name'],
    registers,
  });
  for (const count of [added, retries]) count.inc(QUEUE, 0);
  for (const times of [queued, worked]) times.zero(QUEUE);
  for (const result of ['ok', 'conflict', 'error']) tableWrites.inc({ result }, 0);
  for (const kind of ['edited', 'deleted', 'corrupt']) tableHeals.inc({ kind }, 0);

  return {
    registry,
    watch(source) {
      ranges.watch(source);
      registerGauges(registry, source, ranges.labelOf);
      for (const [kind] of source.conflicts()) conflicts.inc({ kind }, 0);
      for (const [name] of source.cacheSilences()) {
        for (const count of [lists, watches]) count.inc({ name }, 0);
        listSeconds.zero({ name });
      }
    },
    allocated: ranges.allocated,
    took: (seconds) => duration.observe(seconds),
    released: ranges.released,
    conflictSeen: (kind) => conflicts.inc({ kind }),
    tableWrote: (result) => tableWrites.inc({ result }),
    tableHealed: (kind) => tableHeals.inc({ kind }),
    eventDropped: () => eventsDropped.inc(),
    workqueue: {
      added: () => added.inc(QUEUE),
      started: (seconds) => queued.observe(QUEUE, seconds),
      finished: (seconds) => worked.observe(QUEUE, seconds),
      retried: () => retries.inc(QUEUE),
    },
    request({ verb, method, code, seconds, host }) {
      requests.inc({ code, method, host });
      requestSeconds.observe({ verb, host }, seconds);
    },
    listed({ name, items, seconds }) {
      lists.inc({ name });
      listSeconds.observe({ name }, seconds);
      listItems.set({ name }, items);
    },
    watched: (name) => watches.inc({ name }),
    leads: (name, leads) => leading.set({ name }, leads ? 1 : 0),
  };
}

/**
 * The lag of the event loop is measured when a scrape comes. Its distribution between scrapes would need a timer that
 * wakes the process 100 times a second, more than everything else that a settled controller does.
 */
function collectProcessMetrics(registry: Registry): void {
  const anHour = 3_600_000;
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: anHour });
  for (const figure of ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'])
    registry.removeSingleMetric(`nodejs_eventloop_lag_${figure}_seconds`);
  // Gauges that are named like counters: `promtool check metrics` objects, and who takes their rate gets nonsense.
  for (const what of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${what}_total`);
}

function registerGauges(registry: Registry, source: MetricsSource, labelOf: (range: string) => string): void {
  const gauge = (name: string, help: string, labelNames: string[], collect: (put: Put) => void): void =>
    registerComputed(registry, { name, help, labelNames }, collect);
  gauge(
    `${PREFIX}pending_services`,
    'Services that wait, by the PortRange they ask first and why.',
    ['range', 'reason'],
    (put) => {
      for (const [range, reasons] of pending(source, labelOf))
        for (const [reason, count] of reasons) put({ range, reason }, count);
    },
  );
  gauge(`${PREFIX}table_bytes`, 'Bytes of the allocation table by block.', ['block'], (put) => {
    for (const [block, bytes] of source.tableSizes()) put({ block }, bytes);
  });
  gauge(
    `${PREFIX}active_conflicts`,
    'Conflicts that last, by kind: foreign_in_range, out_of_range, port_taken, range_overlap, table_drift, duplicate; absent on a standby.',
    ['kind'],
    (put) => {
      // 0 would say that there are none.
      for (const [kind, count] of source.conflicts()) if (count !== undefined) put({ kind }, count);
    },
  );
  gauge(
    `${PREFIX}node_port_range_ports`,
    "Size of the apiserver's own node port range; absent while unknown.",
    [],
    (put) => {
      const size = source.nodePortRangeSize();
      if (size !== undefined) put({}, size);
    },
  );
  gauge(
    `${PREFIX}node_port_range_used_ports`,
    'Node ports that the Services of the cluster have, managed or not; absent until they are known.',
    [],
    (put) => {
      const inUse = source.nodePortsInUse();
      if (inUse !== undefined) put({}, inUse);
    },
  );
  gauge(
    `${PREFIX}cache_silence_seconds`,
    'Seconds since the apiserver last said anything, by what is cached.',
    ['name'],
    (put) => {
      for (const [name, silence] of source.cacheSilences()) put({ name }, silence / 1_000);
    },
  );
  gauge(
    `${PREFIX}last_sync_timestamp_seconds`,
    'Unix time at which everything was last looked at; 0 before the first time, and on a standby.',
    [],
    (put) => put({}, (source.lastSync() ?? 0) / 1_000),
  );
  gauge('workqueue_depth', 'Keys ready in the queue.', ['name'], (put) => put(QUEUE, source.queue().depth));
  gauge('workqueue_unfinished_work_seconds', 'Seconds of work in progress.', ['name'], (put) =>
    put(QUEUE, source.queue().ages.sum),
  );
  gauge(
    'workqueue_longest_running_processor_seconds',
    'Seconds that the longest key in progress has taken so far.',
    ['name'],
    (put) => put(QUEUE, source.queue().ages.longest),
  );
}

/** How many wait, by range and reason. */
function pending(
  { waiting }: MetricsSource,
  labelOf: (range: string) => string,
): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const counts = new Map<string, Map<string, number>>();
  for (const { range, reason } of waiting()) {
    const label = labelOf(range);
    const reasons = counts.get(label) ?? new Map<string, number>();
    counts.set(label, reasons.set(reason, (reasons.get(reason) ?? 0) + 1));
  }
  return counts;
}
