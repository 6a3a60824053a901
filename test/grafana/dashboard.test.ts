import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { COLUMNS, ROWS } from '../../monitoring/panels.ts';
import { faultsOf, type Schema } from '../support/jsonSchema.ts';

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: { uid: string };
  targets?: { expr: string; datasource: { uid: string } }[];
  [key: string]: unknown;
}

interface Dashboard {
  uid: string;
  id?: unknown;
  panels: Panel[];
  templating: { list: { name: string; type: string; allValue?: string }[] };
}

let schema: Schema & { definitions: Record<string, Schema> };
let text: string;

beforeAll(async () => {
  const file = join(import.meta.dirname, '../../config/grafana/nodeport-manager.json');
  schema = JSON.parse(await readFile(join(import.meta.dirname, 'dashboard.schema.json'), 'utf8'));
  text = await readFile(file, 'utf8');
});

const read = (): Dashboard => JSON.parse(text) as Dashboard;

describe('the dashboard', () => {
  test("fits Grafana's own schema", () => expect(faultsOf(schema, read())).toEqual([]));

  test.each<[string, (panel: Panel) => void, RegExp]>([
    [
      'an option that Grafana does not have',
      (p) => Object.assign(p['options'] as object, { colour: 1 }),
      /colour is unknown/,
    ],
    ['a wrong type', (p) => Object.assign(p, { title: 7 }), /title: is no string/],
    ['another kind of panel', (p) => Object.assign(p, { type: 'pie' }), /type: is none of/],
    [
      'a wrong value',
      (p) => Object.assign(p['options'] as object, { graphMode: 'bars' }),
      /graphMode: is none of/,
    ],
  ])('the schema sees %s', (_, spoil, says) => {
    const dashboard = read();
    const panel = dashboard.panels.find(({ type }) => type === 'stat');
    if (panel === undefined) throw new Error('there is no stat');
    spoil(panel);
    expect(faultsOf(schema, dashboard).join('\n')).toMatch(says);
  });

  test('can be provisioned anywhere: it names no data source and has no id of one Grafana', () => {
    const { panels, templating, id } = read();
    expect(id).toBeUndefined();
    expect(templating.list[0]).toMatchObject({ name: 'datasource', type: 'datasource' });
    for (const { type, datasource, targets = [] } of panels.filter(({ type }) => type !== 'row')) {
      expect(datasource?.uid, type).toBe('${datasource}');
      for (const target of targets) expect(target.datasource.uid).toBe('${datasource}');
    }
    expect([...text.matchAll(/"uid": "([^"$]+)"/g)].map(([, uid]) => uid)).toEqual(['nodeport-manager']);
  });

  test('shows every panel once, none over another, and asks for each with a query', () => {
    const { panels } = read();
    expect(panels.filter(({ type }) => type !== 'row').map(({ title }) => title)).toEqual(
      ROWS.flatMap(({ panels }) => panels.map(({ title }) => title)),
    );
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)}/${y + Math.floor(i / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    for (const { type, targets = [] } of panels) expect(targets.length > 0, type).toBe(type !== 'row');
  });

  test('segments at a glance: usage, what is free and the date on which it is used up', () => {
    expect(COLUMNS.map(([title]) => title)).toEqual(expect.arrayContaining(['Used', 'Free', 'Full on']));
  });
});
