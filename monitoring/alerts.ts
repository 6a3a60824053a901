/** Every alert and every recorded series, as data: config/prometheus is generated from here ("make docs"). */
import {
  EXCLUDED_CONFLICTS,
  EXCLUDED_RANGES,
  FORECAST_CAPACITY,
  FORECAST_SHARE,
  type THRESHOLDS,
} from './settings.ts';

/** info: look at it this week; warning: today; critical: now. */
export type Severity = 'info' | 'warning' | 'critical';

export interface Recording {
  readonly record: string;
  readonly expr: string;
}

export interface Alert {
  readonly alert: string;
  readonly severity: Severity;
  /** Seconds that it must hold before it fires. */
  readonly holds: number;
  readonly expr: string;
  readonly summary: string;
  /** Says it with numbers. */
  readonly description: string;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const P = 'nodeport_manager_';
const THRESHOLD = 'nodeport_manager:threshold';
const EXCLUDED_RANGE = 'nodeport_manager:excluded_range';
const EXCLUDED_CONFLICT = 'nodeport_manager:excluded_conflict';
const COUNTS = 'nodeport_manager:counts';
const USAGE = 'nodeport_manager:range_usage_ratio';
const FREE = 'nodeport_manager:range_free_ports';
const PENDING = 'nodeport_manager:pending_services';
const CONFLICTS = 'nodeport_manager:active_conflicts';
const SPACE = 'nodeport_manager:node_port_range_usage_ratio';
const SECONDS_LEFT = 'nodeport_manager:range_exhaustion_seconds';

const threshold = (alert: keyof typeof THRESHOLDS): string => `scalar(${THRESHOLD}{alert="${alert}"})`;

/** Turns seconds into a duration, `5m`. */
export type Time = (seconds: number) => string;

/** How long what was last known is held while nobody counts. */
const HELD = 10 * MINUTE;

/**
 * What alerts ask: what is seen now, and while no leader counts (one is replaced, or has died and its lease runs out) what
 * this same series was before. So a change of leaders neither resolves an alert nor begins its `for` anew. Where somebody
 * counts, a series that is gone is gone: nobody waits, or the PortRange was deleted.
 */
function held(record: string, seen: string, time: Time): Recording {
  const countedLately = `on (cluster) last_over_time(${COUNTS}[${time(HELD)}])`;
  return { record, expr: `${seen} or ((${record} unless on (cluster) ${COUNTS}) and ${countedLately})` };
}

const notExcluded = (time: Time): string =>
  `unless on (cluster, range) last_over_time(${EXCLUDED_RANGE}[${time(HELD)}])`;

/** A number in a description: the largest value of a series of the alert's range. */
function ofRange(metric: string, time: Time): string {
  const series = `${P}${metric}{cluster=%[1]q, range=%[2]q}`;
  return (
    `{{ with printf "max(${series}) or max(last_over_time(${series}[${time(HELD)}]))" ` +
    '$labels.cluster $labels.range | query }}{{ . | first | value | printf "%.0f" }}{{ end }}'
  );
}

/** Series that alerts and dashboards share. They have no label of the process, so that a restart does not break a trend. */
export function recordings(time: Time): readonly Recording[] {
  return [
    {
      record: EXCLUDED_RANGE,
      expr: `max by (cluster, range) (${P}range_capacity_ports{range=~"${EXCLUDED_RANGES}"})`,
    },
    {
      record: EXCLUDED_CONFLICT,
      expr: `max by (cluster, kind) (${P}active_conflicts{kind=~"${EXCLUDED_CONFLICTS}"})`,
    },
    // A standby has none, nor has a leader before it knows what is held.
    { record: COUNTS, expr: `group by (cluster) (${P}active_conflicts)` },
    held(USAGE, `max by (cluster, range) (${P}range_usage_ratio)`, time),
    held(FREE, `min by (cluster, range) (${P}range_free_ports)`, time),
    held(PENDING, `max by (cluster, range, reason) (${P}pending_services)`, time),
    held(CONFLICTS, `max by (cluster, kind) (${P}active_conflicts)`, time),
    held(SPACE, `max by (cluster) (${P}node_port_range_used_ports / ${P}node_port_range_ports)`, time),
    {
      // At the rate of the last day; absent where nothing is taken.
      record: SECONDS_LEFT,
      expr: `(${FREE} > 0) / (0 - deriv(${FREE}[${time(DAY)}]) > 0)`,
    },
  ];
}

export function alerts(time: Time): readonly Alert[] {
  return [
    ...aboutRanges(time),
    ...aboutServices(time),
    aboutTheSpace(),
    ...aboutTheTable(time),
    ...aboutTheController(time),
  ];
}

function aboutRanges(time: Time): Alert[] {
  const fill = (
    alert: 'NodePortRangeFillingUp' | 'NodePortRangeNearlyFull' | 'NodePortRangeAlmostExhausted',
    severity: Severity,
    holds: number,
    summary: string,
  ): Alert => ({
    alert,
    severity,
    holds,
    expr: `
${USAGE} >= ${threshold(alert)}
${notExcluded(time)}`,
    summary,
    description:
      'PortRange {{ $labels.range }} has used {{ $value | humanizePercentage }} of its ' +
      `${ofRange('range_capacity_ports', time)} node ports; ${ofRange('range_free_ports', time)} are free.`,
  });
  return [
    fill('NodePortRangeFillingUp', 'info', 15 * MINUTE, 'A PortRange is filling up.'),
    fill('NodePortRangeNearlyFull', 'warning', 10 * MINUTE, 'A PortRange is nearly full.'),
    fill('NodePortRangeAlmostExhausted', 'critical', 5 * MINUTE, 'A PortRange has hardly any free port.'),
    {
      alert: 'NodePortRangeExhausted',
      severity: 'critical',
      holds: 2 * MINUTE,
      // A PortRange may be there for requests by number only: what is free of it then is nobody's trouble until somebody waits.
      expr: `
${FREE} == 0
unless on (cluster, range) (
  max by (cluster, range) (last_over_time(${P}range_explicit_only_free_ports[${time(HELD)}])) > 0
  unless on (cluster, range) ${PENDING}{reason="RangeExhausted"}
)
${notExcluded(time)}`,
      summary: 'A PortRange has no free port: new Services wait.',
      description:
        `None of the ${ofRange('range_capacity_ports', time)} node ports of PortRange {{ $labels.range }} is free: ` +
        `its Services hold ${ofRange('range_allocated_ports', time)}, ` +
        `others hold ${ofRange('range_foreign_ports', time)}, ` +
        `${ofRange('range_cooling_down_ports', time)} are cooling down.`,
    },
    forecast(time),
  ];
}

/**
 * The regression of a whole day; a drop in each half of it, for a single deploy or a change of the PortRange falls into
 * one half; and the halves' averages differ, for ports that come and go are no trend. Small ranges are below the floor.
 */
function forecast(time: Time): Alert {
  const alert = 'NodePortRangeExhaustionForecast';
  const [day, half] = [time(DAY), time(DAY / 2)];
  const capacity = `max by (cluster, range) (last_over_time(${P}range_capacity_ports[${time(HELD)}]))`;
  return {
    alert,
    severity: 'warning',
    holds: HOUR,
    expr: `
round(${SECONDS_LEFT}, ${HOUR}) < ${threshold(alert)}
and predict_linear(${FREE}[${day}], ${threshold(alert)}) < 0
and delta(${FREE}[${half}]) < 0
and delta(${FREE}[${half}] offset ${half}) < 0
and on (cluster, range)
  (${capacity} >= ${FORECAST_CAPACITY})
and on (cluster, range)
  (avg_over_time(${FREE}[${half}] offset ${half}) - avg_over_time(${FREE}[${half}])
    > ${FORECAST_SHARE / 2} * ${capacity})
${notExcluded(time)}`,
    summary: 'A PortRange will have no free port within days.',
    description:
      'At the rate of the last day, the ' +
      `${ofRange('range_free_ports', time)} free node ports of PortRange {{ $labels.range }} ` +
      `(of ${ofRange('range_capacity_ports', time)}) are gone in {{ $value | humanizeDuration }}.`,
  };
}

function aboutServices(time: Time): Alert[] {
  return [
    {
      alert: 'NodePortServicesPending',
      severity: 'warning',
      holds: 10 * MINUTE,
      expr: `
${PENDING} > ${threshold('NodePortServicesPending')}
${notExcluded(time)}`,
      summary: 'Services have waited for their node ports for more than 10 minutes.',
      description:
        'Services that wait for node ports' +
        '{{ if $labels.range }} of PortRange {{ $labels.range }}{{ end }} with the reason {{ $labels.reason }}: ' +
        '{{ $value }}. For 10 minutes there was always one.',
    },
    {
      alert: 'NodePortConflicts',
      severity: 'warning',
      holds: 30 * MINUTE,
      expr: `
${CONFLICTS} > 0
unless on (cluster, kind) last_over_time(${EXCLUDED_CONFLICT}[${time(HELD)}])`,
      summary: 'There are conflicts about node ports.',
      description:
        'Conflicts of the kind {{ $labels.kind }}: {{ $value }}. For 30 minutes there was always one.',
    },
    {
      alert: 'NodePortDuplicate',
      severity: 'critical',
      holds: MINUTE,
      expr: `sum by (cluster) (${CONFLICTS}{kind="duplicate"}) > 0`,
      summary: 'Two Services have the same node port.',
      description:
        'Node ports that more than one Service has: {{ $value }}. Traffic may reach the wrong one.',
    },
  ];
}

function aboutTheSpace(): Alert {
  return {
    alert: 'NodePortSpaceNearlyFull',
    severity: 'warning',
    holds: 10 * MINUTE,
    // The apiserver counts for itself; where only one of the two is scraped, that one counts.
    expr: `
max by (cluster) (
  ${SPACE}
  or
  max by (cluster) (
    kube_apiserver_nodeport_allocator_allocated_ports
      / (kube_apiserver_nodeport_allocator_allocated_ports + kube_apiserver_nodeport_allocator_available_ports)
  )
) >= ${threshold('NodePortSpaceNearlyFull')}`,
    summary: "The cluster's own node port range is nearly full.",
    description:
      "{{ $value | humanizePercentage }} of the apiserver's node port range is used, in all PortRanges and beside them.",
  };
}

function aboutTheTable(time: Time): Alert[] {
  const hour = time(HOUR);
  const mended = (kinds: string): string =>
    `sum by (cluster, namespace) (increase(${P}table_heals_total{kind=~"${kinds}"}[${hour}]))`;
  return [
    {
      alert: 'NodePortTableDrift',
      severity: 'warning',
      holds: 10 * MINUTE,
      expr: `
${mended('edited|deleted')} >= ${threshold('NodePortTableDrift')}
or
max by (cluster, namespace) (${P}active_conflicts{kind="table_drift"}) > 0`,
      summary: 'Something keeps changing the allocation table, or it cannot be mended.',
      description:
        'Something edits or deletes the allocation table again and again, or blocks of it could not be mended for 10 ' +
        'minutes: {{ printf "%.0f" $value }} times in the last hour, or blocks.',
    },
    {
      alert: 'NodePortTableCorrupt',
      severity: 'critical',
      holds: 0,
      // A block found corrupt at start is counted before the first scrape: then the series begins with 1.
      expr: `
sum by (cluster, namespace) (
  (increase(${P}table_heals_total{kind="corrupt"}[${hour}]) > 0)
  or
  (${P}table_heals_total{kind="corrupt"} > 0 unless ${P}table_heals_total{kind="corrupt"} offset ${hour})
)`,
      summary: 'A block of the allocation table could not be read and was rebuilt.',
      description:
        'Blocks of the allocation table that could not be read in the last hour: {{ printf "%.0f" $value }}. They were ' +
        'rebuilt; what was in them is kept in ConfigMaps nodeport-table-…-corrupt-….',
    },
  ];
}

function aboutTheController(time: Time): Alert[] {
  const window = time(10 * MINUTE);
  return [
    {
      alert: 'NodePortControllerDown',
      severity: 'critical',
      holds: 5 * MINUTE,
      // One Prometheus may see several clusters: the one that was seen and is not, or none ever.
      expr: `
(
  group by (cluster) (present_over_time(${P}last_sync_timestamp_seconds[${time(DAY)}]))
  unless
  group by (cluster) (${P}last_sync_timestamp_seconds)
)
or
absent_over_time(${P}last_sync_timestamp_seconds[${time(DAY)}])`,
      summary: 'No nodeport-manager is scraped.',
      description:
        'For 5 minutes no metrics of nodeport-manager were seen{{ if $labels.cluster }} in the cluster ' +
        '{{ $labels.cluster }}{{ end }}. Node ports work, but new Services wait.',
    },
    {
      alert: 'NodePortNoLeader',
      severity: 'critical',
      holds: 2 * MINUTE,
      expr: 'sum by (cluster, namespace) (leader_election_master_status{name="nodeport-manager"}) == 0',
      summary: 'No nodeport-manager leads.',
      description: 'Instances of nodeport-manager run, and none has the lease: new Services wait.',
    },
    {
      alert: 'NodePortControllerStalled',
      severity: 'critical',
      holds: 5 * MINUTE,
      // Who stands by looks at nothing; that nobody leads is another alert.
      expr: `
time() - max by (cluster, namespace) (
  ${P}last_sync_timestamp_seconds
  unless on (cluster, job, instance) (leader_election_master_status{name="nodeport-manager"} == 0)
) > ${threshold('NodePortControllerStalled')}`,
      summary: 'The controller has not looked at everything for a long time.',
      description:
        '{{ if gt $value 1e9 }}nodeport-manager has not passed its startup barrier.' +
        '{{ else }}nodeport-manager last looked at everything {{ $value | humanizeDuration }} ago.{{ end }}',
    },
    {
      alert: 'NodePortCacheStale',
      severity: 'warning',
      holds: 2 * MINUTE,
      expr: `
max by (cluster, namespace, name) (${P}cache_silence_seconds) > ${threshold('NodePortCacheStale')}`,
      summary: 'The controller hears nothing from the apiserver.',
      description:
        'For {{ $value | humanizeDuration }} the apiserver has said nothing about {{ $labels.name }}: what the ' +
        'controller knows may be out of date.',
    },
    {
      alert: 'NodePortWritesFailing',
      severity: 'warning',
      holds: 15 * MINUTE,
      // Other controllers have metrics of this name: only targets that have ours, too. 404, 409 and 422 are answers
      // that the controller expects and deals with.
      expr: `
sum by (cluster, namespace) (
  increase(rest_client_requests_total{method=~"POST|PUT|PATCH|DELETE", code!~"2..|404|409|422"}[${window}])
  and on (job, instance) ${P}last_sync_timestamp_seconds
) > ${threshold('NodePortWritesFailing')}`,
      summary: 'Writes of nodeport-manager fail.',
      description:
        'Writes of nodeport-manager that failed in the last 10 minutes: {{ printf "%.0f" $value }}, and that for 15 minutes.',
    },
  ];
}
