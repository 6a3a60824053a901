/** What the Grafana dashboard shows, and what it asks for that. */

/** What a panel asks. `legend` is empty where there is one series only. */
export interface Query {
  readonly expr: string;
  readonly legend?: string;
}

export interface Panel {
  readonly type: 'stat' | 'bargauge' | 'timeseries' | 'state-timeline' | 'table';
  readonly title: string;
  readonly description: string;
  readonly queries: readonly Query[];
  readonly unit: string;
  /** What the vertical axis counts, where the unit does not say it. */
  readonly axis?: string;
  /** Of 24 columns. */
  readonly width: number;
  readonly height: number;
  /** From which values on it turns yellow, orange, red; lines in a time series. */
  readonly steps?: readonly number[];
  /** Stacked areas rather than lines. */
  readonly stacked?: boolean;
  /** Of a state timeline: what its values mean. */
  readonly states?: readonly State[];
}

export interface State {
  readonly value: number;
  readonly text: string;
  readonly color: 'green' | 'yellow' | 'red' | 'blue';
}

interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export const P = 'nodeport_manager_';
const ALL = '{cluster=~"$cluster"}';
const OF = '{cluster=~"$cluster",range=~"$range"}';
const RATE = '[$__rate_interval]';
/** Metrics with names that other controllers have, too: only of processes that have ours. */
const ours = `and on (job, instance) ${P}last_sync_timestamp_seconds${ALL}`;
const quantile = (q: number, metric: string): string =>
  `histogram_quantile(${q}, sum by (le) (rate(${metric}_bucket${ALL}${RATE}) ${ours}))`;

/** One alert in one state at a time: 1 for pending, 2 for firing. */
const alertsThat = (state: string): string =>
  `max by (alertname, range, kind, reason) (ALERTS{alertname=~"NodePort.+",alertstate="${state}",cluster=~"$cluster"})`;
const ALERTS = `2 * ${alertsThat('firing')} or ${alertsThat('pending')}`;

/** Absent where nobody waits. Who asks for a PortRange that does not exist has no line. */
const WAITING = `sum by (range) (max by (range, reason) (${P}pending_services{cluster=~"$cluster",range=~"$range",range!=""}))`;

/** The columns of the table of segments, in this order. */
export const COLUMNS: readonly (readonly [title: string, expr: string, unit: string])[] = [
  ['Used', `max by (range) (${P}range_usage_ratio${OF})`, 'percentunit'],
  ['Capacity', `max by (range) (${P}range_capacity_ports${OF})`, 'short'],
  ['Allocated', `max by (range) (${P}range_allocated_ports${OF})`, 'short'],
  ['Foreign', `max by (range) (${P}range_foreign_ports${OF})`, 'short'],
  ['Cooling', `max by (range) (${P}range_cooling_down_ports${OF})`, 'short'],
  ['Free', `min by (range) (${P}range_free_ports${OF})`, 'short'],
  ['Outside', `max by (range) (${P}range_out_of_range_ports${OF})`, 'short'],
  ['Waiting', `${WAITING} or 0 * max by (range) (${P}range_capacity_ports${OF})`, 'short'],
  [
    'Full on',
    `(time() + min by (range) (nodeport_manager:range_exhaustion_seconds${OF})) * 1000`,
    'dateTimeAsIso',
  ],
];

export const ROWS: readonly Row[] = [
  {
    title: 'Segments',
    panels: [
      {
        type: 'stat',
        title: 'Free ports',
        description: 'In the PortRanges that are shown.',
        queries: [{ expr: `sum(min by (range) (${P}range_free_ports${OF}))` }],
        unit: 'short',
        width: 6,
        height: 4,
      },
      {
        type: 'stat',
        title: 'Services that wait',
        description: 'For node ports, whatever the reason.',
        queries: [{ expr: `sum(max by (range, reason) (${P}pending_services${ALL})) or vector(0)` }],
        unit: 'short',
        width: 6,
        height: 4,
        steps: [1],
      },
      {
        type: 'stat',
        title: 'Conflicts',
        description: 'That last now, of every kind.',
        queries: [{ expr: `sum(max by (kind) (${P}active_conflicts${ALL}))` }],
        unit: 'short',
        width: 6,
        height: 4,
        steps: [1],
      },
      {
        type: 'stat',
        title: "The cluster's own range",
        description: "Share of the apiserver's node port range that is used, in PortRanges and beside them.",
        queries: [
          {
            expr: `max(${P}node_port_range_used_ports${ALL} / ${P}node_port_range_ports${ALL}) or max(kube_apiserver_nodeport_allocator_allocated_ports / (kube_apiserver_nodeport_allocator_allocated_ports + kube_apiserver_nodeport_allocator_available_ports))`,
          },
        ],
        unit: 'percentunit',
        width: 6,
        height: 4,
        steps: [0.75, 0.85, 0.95],
      },
      {
        type: 'bargauge',
        title: 'Usage',
        description: 'Share of each PortRange that is not free.',
        queries: [{ expr: `max by (range) (${P}range_usage_ratio${OF})`, legend: '{{range}}' }],
        unit: 'percentunit',
        width: 8,
        height: 8,
        steps: [0.75, 0.85, 0.95],
      },
      {
        type: 'table',
        title: 'Who has the ports, and until when they last',
        description:
          'Cooling: released a short time ago. Outside: held, but no longer in the range. Full on: at the rate of the last day; empty where nothing is being used up.',
        queries: COLUMNS.map(([, expr]) => ({ expr })),
        unit: 'short',
        width: 16,
        height: 8,
      },
      {
        type: 'timeseries',
        title: 'Usage over time',
        description: 'With the shares from which on the alerts speak, as they are shipped.',
        queries: [{ expr: `max by (range) (${P}range_usage_ratio${OF})`, legend: '{{range}}' }],
        unit: 'percentunit',
        width: 12,
        height: 8,
        steps: [0.75, 0.85, 0.95],
      },
      {
        type: 'timeseries',
        title: 'Free ports over time',
        description: 'What a new Service could get.',
        queries: [{ expr: `min by (range) (${P}range_free_ports${OF})`, legend: '{{range}}' }],
        unit: 'short',
        axis: 'ports',
        width: 12,
        height: 8,
      },
    ],
  },
  {
    title: 'Alerts',
    panels: [
      {
        type: 'state-timeline',
        title: 'Alerts',
        description: 'Of the rules in config/prometheus; nothing is shown while all is well.',
        queries: [{ expr: ALERTS, legend: '{{alertname}} {{range}} {{kind}} {{reason}}' }],
        unit: 'short',
        width: 24,
        height: 10,
        states: [
          { value: 1, text: 'pending', color: 'yellow' },
          { value: 2, text: 'firing', color: 'red' },
        ],
      },
    ],
  },
  {
    title: 'Allocations and releases',
    panels: [
      {
        type: 'timeseries',
        title: 'Allocations',
        description: 'Decisions about Services.',
        queries: [
          {
            expr: `sum by (range, outcome) (increase(${P}allocations_total${OF}${RATE}))`,
            legend: '{{range}} {{outcome}}',
          },
        ],
        unit: 'short',
        axis: 'decisions',
        width: 8,
        height: 7,
      },
      {
        type: 'timeseries',
        title: 'Releases',
        description: 'Numbers that came free.',
        queries: [{ expr: `sum by (range) (increase(${P}releases_total${OF}${RATE}))`, legend: '{{range}}' }],
        unit: 'short',
        axis: 'ports',
        width: 8,
        height: 7,
      },
      {
        type: 'timeseries',
        title: 'Time to a port',
        description: 'From a Service that needs ports to its ports written.',
        queries: [
          { expr: quantile(0.5, `${P}allocation_duration_seconds`), legend: 'half of them within' },
          { expr: quantile(0.99, `${P}allocation_duration_seconds`), legend: '99 % within' },
        ],
        unit: 's',
        width: 8,
        height: 7,
      },
    ],
  },
  {
    title: 'Waiting and conflicts',
    panels: [
      {
        type: 'timeseries',
        title: 'Services that wait, by reason',
        description: 'Under the PortRange that they ask first; no name: it does not exist.',
        queries: [
          {
            expr: `max by (range, reason) (${P}pending_services${ALL})`,
            legend: '{{range}} {{reason}}',
          },
        ],
        unit: 'short',
        axis: 'Services',
        width: 8,
        height: 7,
        stacked: true,
      },
      {
        type: 'timeseries',
        title: 'Conflicts that last',
        description: 'By kind; the runbook of NodePortConflicts says what each means.',
        queries: [{ expr: `max by (kind) (${P}active_conflicts${ALL})`, legend: '{{kind}}' }],
        unit: 'short',
        axis: 'conflicts',
        width: 8,
        height: 7,
        stacked: true,
      },
      {
        type: 'timeseries',
        title: 'New conflicts',
        description: 'Seen for the first time.',
        queries: [{ expr: `sum by (kind) (increase(${P}conflicts_total${ALL}${RATE}))`, legend: '{{kind}}' }],
        unit: 'short',
        axis: 'conflicts',
        width: 8,
        height: 7,
      },
    ],
  },
  {
    title: 'The controller',
    panels: [
      {
        type: 'stat',
        title: 'Last full look',
        description: 'It looks at everything every 10 minutes by default.',
        queries: [{ expr: `time() - max(${P}last_sync_timestamp_seconds${ALL})` }],
        unit: 's',
        width: 4,
        height: 7,
        steps: [1200, 1500, 1800],
      },
      {
        type: 'state-timeline',
        title: 'Who leads',
        description: 'One instance leads, the others stand by.',
        queries: [
          {
            expr: `max by (instance) (leader_election_master_status{name="nodeport-manager",cluster=~"$cluster"})`,
            legend: '{{instance}}',
          },
        ],
        unit: 'short',
        width: 8,
        height: 7,
        states: [
          { value: 0, text: 'stands by', color: 'blue' },
          { value: 1, text: 'leads', color: 'green' },
        ],
      },
      {
        type: 'timeseries',
        title: 'Silence of the apiserver',
        description:
          'Since it last said anything about each kind; a watch says something about once a minute.',
        queries: [{ expr: `max by (name) (${P}cache_silence_seconds${ALL})`, legend: '{{name}}' }],
        unit: 's',
        width: 6,
        height: 7,
      },
      {
        type: 'timeseries',
        title: 'Requests to the apiserver',
        description: 'By method and answer.',
        queries: [
          {
            expr: `sum by (method, code) (rate(rest_client_requests_total${ALL}${RATE}) ${ours})`,
            legend: '{{method}} {{code}}',
          },
        ],
        unit: 'reqps',
        width: 6,
        height: 7,
      },
      {
        type: 'timeseries',
        title: 'Queue',
        description: 'Services that are ready to be decided on, and how long 99 % of them wait for that.',
        queries: [
          { expr: `sum(workqueue_depth${ALL} ${ours})`, legend: 'ready' },
          { expr: quantile(0.99, 'workqueue_queue_duration_seconds'), legend: 'seconds, 99 % within' },
        ],
        unit: 'short',
        width: 8,
        height: 7,
      },
      {
        type: 'timeseries',
        title: 'The table',
        description: 'Writes by result, and blocks that were mended.',
        queries: [
          {
            expr: `sum by (result) (increase(${P}table_writes_total${ALL}${RATE}))`,
            legend: 'written: {{result}}',
          },
          {
            expr: `sum by (kind) (increase(${P}table_heals_total${ALL}${RATE}))`,
            legend: 'mended: {{kind}}',
          },
        ],
        unit: 'short',
        axis: 'blocks',
        width: 8,
        height: 7,
      },
      {
        type: 'timeseries',
        title: 'Memory',
        description: 'Resident, of each process.',
        queries: [{ expr: `process_resident_memory_bytes${ALL} ${ours}`, legend: '{{instance}}' }],
        unit: 'bytes',
        width: 4,
        height: 7,
      },
      {
        type: 'timeseries',
        title: 'Processor',
        description: 'Of each process; 1 is a core.',
        queries: [{ expr: `rate(process_cpu_seconds_total${ALL}${RATE}) ${ours}`, legend: '{{instance}}' }],
        unit: 'short',
        axis: 'cores',
        width: 4,
        height: 7,
      },
    ],
  },
];
