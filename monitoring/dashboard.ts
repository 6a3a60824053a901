/** The Grafana dashboard: config/grafana is generated from here ("make docs"). */
import { COLUMNS, P, type Panel, ROWS, type State } from './panels.ts';

const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
const COLORS = ['green', 'yellow', 'orange', 'red'];
const COLUMNS_WIDE = 24;

/** As Grafana imports or provisions it: it names no data source, but asks for one. */
export function dashboard(): object {
  return {
    uid: 'nodeport-manager',
    title: 'Node ports',
    description: 'Segments of node ports, who has them and who waits, by nodeport-manager.',
    tags: ['nodeport-manager', 'kubernetes'],
    schemaVersion: 41,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-24h', to: 'now' },
    timezone: 'browser',
    templating: { list: variables() },
    annotations: { list: [] },
    links: [],
    panels: laidOut(),
  };
}

function variables(): object[] {
  const label = (name: string, title: string, expr: string): object => ({
    name,
    label: title,
    type: 'query',
    datasource: DATASOURCE,
    query: { query: `label_values(${expr}, ${name})`, refId: name },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    // Also where a series has no such label.
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
  });
  return [
    { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', refresh: 1 },
    label('cluster', 'Cluster', `${P}range_capacity_ports`),
    label('range', 'PortRange', `${P}range_capacity_ports{cluster=~"$cluster"}`),
  ];
}

/** From left to right, as many as fit, then below the tallest. */
function laidOut(): object[] {
  const panels: object[] = [];
  let [x, y, tallest] = [0, 0, 0];
  const newLine = (): void => {
    [x, y, tallest] = [0, y + tallest, 0];
  };
  for (const row of ROWS) {
    newLine();
    const gridPos = { x, y, w: COLUMNS_WIDE, h: 1 };
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos,
      panels: [],
    });
    y += 1;
    for (const panel of row.panels) {
      if (x + panel.width > COLUMNS_WIDE) newLine();
      const gridPos = { x, y, w: panel.width, h: panel.height };
      panels.push({ id: panels.length + 1, gridPos, ...panelOf(panel) });
      x += panel.width;
      tallest = Math.max(tallest, panel.height);
    }
  }
  return panels;
}

function panelOf(panel: Panel): object {
  const { type, title, description, queries, unit } = panel;
  const isTable = type === 'table';
  const isNow = !overTime(panel);
  return {
    type,
    title,
    description,
    datasource: DATASOURCE,
    targets: queries.map(({ expr, legend = '' }, i) => ({
      refId: String.fromCodePoint(65 + i),
      datasource: DATASOURCE,
      expr,
      legendFormat: legend,
      instant: isNow,
      range: !isNow,
      ...(isTable ? { format: 'table' } : {}),
    })),
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(unit === 'percentunit' ? { max: 1 } : {}),
        ...colors(panel),
        ...drawing(panel),
      },
      overrides: isTable ? columnUnits() : [],
    },
    options: OPTIONS[type],
    ...(isTable ? { transformations: columns() } : {}),
  };
}

/** Asked for every moment that is shown, and not only for the last one. */
export function overTime({ type }: Panel): boolean {
  return type === 'timeseries' || type === 'state-timeline';
}

function colors({ type, steps = [], states = [] }: Panel): object {
  return {
    color: { mode: type === 'timeseries' ? 'palette-classic' : 'thresholds' },
    thresholds: {
      mode: 'absolute',
      steps: [null, ...steps].map((value, i) => ({ value, color: COLORS[i] })),
    },
    ...(states.length > 0 ? { mappings: [mapping(states)] } : {}),
  };
}

function mapping(states: readonly State[]): object {
  const options = states.map(({ value, text, color }, index) => [value, { text, color, index }]);
  return { type: 'value', options: Object.fromEntries(options) };
}

/** How a time series is drawn. */
function drawing({ type, axis, steps, stacked = false }: Panel): object {
  const custom = {
    ...(axis === undefined ? {} : { axisLabel: axis }),
    ...(stacked ? { stacking: { mode: 'normal', group: 'A' }, fillOpacity: 30 } : {}),
    ...(steps === undefined ? {} : { thresholdsStyle: { mode: 'dashed' } }),
  };
  return type === 'timeseries' && Object.keys(custom).length > 0 ? { custom } : {};
}

const OPTIONS: Readonly<Record<Panel['type'], object>> = {
  stat: {
    colorMode: 'value',
    graphMode: 'none',
    reduceOptions: { calcs: ['lastNotNull'], values: false, fields: '' },
  },
  bargauge: {
    orientation: 'horizontal',
    displayMode: 'basic',
    reduceOptions: { calcs: ['lastNotNull'], values: false, fields: '' },
  },
  timeseries: {
    legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
    tooltip: { mode: 'multi', sort: 'desc' },
  },
  'state-timeline': {
    legend: { displayMode: 'list', placement: 'bottom', showLegend: false, calcs: [] },
    tooltip: { mode: 'single', sort: 'none' },
    mergeValues: true,
    rowHeight: 0.8,
    showValue: 'auto',
  },
  table: { showHeader: true },
};

/** One line a range: the answers of all queries side by side. */
function columns(): object[] {
  const values = COLUMNS.map(([title], i) => [`Value #${String.fromCodePoint(65 + i)}`, title]);
  return [
    { id: 'merge', options: {} },
    {
      id: 'organize',
      options: {
        excludeByName: { Time: true },
        indexByName: Object.fromEntries(
          ['range', ...values.map(([name]) => name)].map((name, i) => [name, i]),
        ),
        renameByName: Object.fromEntries([['range', 'PortRange'], ...values]),
      },
    },
  ];
}

function columnUnits(): object[] {
  return COLUMNS.map(([title, , unit]) => ({
    matcher: { id: 'byName', options: title },
    properties: [{ id: 'unit', value: unit }],
  }));
}
