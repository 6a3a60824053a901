import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { prometheusRule, ruleFile } from '../monitoring/rules.ts';
import { RUNBOOKS, THRESHOLDS } from '../monitoring/settings.ts';
import { monitoringFiles } from '../scripts/monitoring.ts';
import { createMetrics, type MetricsSource } from '../src/observability/metrics.ts';

const ROOT = join(import.meta.dirname, '..');
const RULES = ruleFile().groups.flatMap(({ rules }) => rules);
const ALERTS = RULES.flatMap((rule) => (rule.alert === undefined ? [] : [{ ...rule, alert: rule.alert }]));

/** Not of ours: of the apiserver. */
const FOREIGN = /^kube_apiserver_/;

describe('generated files', () => {
  test.each([...monitoringFiles()])('%s is what "make docs" writes', async (name, text) => {
    expect(await readFile(join(ROOT, name), 'utf8')).toBe(text);
  });

  test('the rules for the operator are the plain ones', () => {
    expect(prometheusRule()).toMatchObject({ kind: 'PrometheusRule', spec: ruleFile() });
  });
});

describe('alerts', () => {
  test.each(ALERTS)('$alert has all that an alert needs', ({ alert, labels, annotations }) => {
    expect(alert).toMatch(/^NodePort[A-Z][A-Za-z]+$/);
    expect(labels?.['severity']).toMatch(/^(info|warning|critical)$/);
    expect(annotations?.['summary']).toMatch(/^[A-Z].*\.$/);
    expect(annotations?.['description']).toMatch(/^[A-Z{].*(\.|}})$/s);
    expect(annotations?.['runbook_url']).toBe(`${RUNBOOKS}/${alert}.md`);
  });

  test.each(Object.keys(THRESHOLDS))('the threshold of %s is used by that alert', (name) => {
    const { expr } = ALERTS.find(({ alert }) => alert === name) ?? {};
    expect(expr).toContain(`nodeport_manager:threshold{alert="${name}"}`);
  });

  test('ask only for series that exist', () => {
    const metrics = createMetrics();
    const nothing: Pick<MetricsSource, 'conflicts' | 'cacheSilences'> = {
      conflicts: () => [],
      cacheSilences: () => [],
    };
    metrics.watch(nothing as MetricsSource);
    const known = new Set([
      ...metrics.registry.getMetricsAsArray().map(({ name }) => name),
      ...RULES.map(({ record }) => record),
    ]);
    const asked = RULES.flatMap(({ expr, annotations }) => [expr, annotations?.['description'] ?? ''])
      .flatMap(
        (text) =>
          text.match(
            /\b(?:nodeport_manager|workqueue|rest_client|leader_election|kube)[a-z_:]*[_:][a-z_]+/g,
          ) ?? [],
      )
      .filter((name) => !FOREIGN.test(name));
    expect(asked.length).toBeGreaterThan(20);
    expect([...new Set(asked)].filter((name) => !known.has(name))).toEqual([]);
  });
});

describe('runbooks', () => {
  const HEADINGS = ['What users feel', 'How to look', 'How to fix', 'How to prevent'];

  test('there is one for each alert, and none without an alert', async () => {
    const files = await readdir(join(ROOT, 'docs/runbooks'));
    const named = files.filter((name) => name !== 'README.md').map((name) => name.replace(/\.md$/, ''));
    expect(named.toSorted()).toEqual(ALERTS.map(({ alert }) => alert).toSorted());
  });

  test.each(ALERTS)(
    '$alert: what users feel, how to look, to fix and to prevent',
    async ({ alert, expr }) => {
      const text = await readFile(join(ROOT, 'docs/runbooks', `${alert}.md`), 'utf8');
      expect(text.startsWith(`# ${alert}\n`)).toBe(true);
      expect([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual(HEADINGS);
      expect(text.split('## How to look')[1]?.split('## How to fix')[0], 'commands').toContain('```');
      expect(expr).not.toBe('');
    },
  );

  test('the table of all alerts names each, with its severity', async () => {
    const page = await readFile(join(ROOT, 'docs/monitoring.md'), 'utf8');
    for (const { alert, labels } of ALERTS)
      expect(page).toContain(`| [${alert}](runbooks/${alert}.md) | ${labels?.['severity']} |`);
  });
});
