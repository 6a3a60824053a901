import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Rule, type RuleFile, ruleFile } from '../../monitoring/rules.ts';
import { run } from '../cluster/run.ts';
import { obtainPrometheus } from './obtain.ts';

const RULES = join(import.meta.dirname, '../../config/prometheus/rules.yaml');

export const P = 'nodeport_manager_';

/** `name{label="value"}` → values as promtool writes them: `25x60`, `0 0 1 _x5`, `0+1x100`. One a minute, or each `step`. */
export type InputSeries = Readonly<Record<string, string>>;

export interface Firing {
  readonly labels?: Readonly<Record<string, string>>;
  readonly description: string;
}

export interface Case {
  readonly series: InputSeries;
  /** How far the values, and the evaluations, are apart. @default "1m" */
  readonly step?: string;
  /** When to look, `10m`. */
  readonly at: string | readonly string[];
  /** All that fire then, each time, of this alert. */
  readonly fires: readonly Firing[];
  /** By a record, or by the alert whose threshold it is: the expression that an admin put there. */
  readonly adjusted?: Readonly<Record<string, string>>;
}

/** What cases looked at so far: alerts that were to fire, and that were to stay quiet. */
export const looked = { fires: new Set<string>(), quiet: new Set<string>() };

/** `promtool test rules` on the shipped rules; throws with its words when the alert does not do what the case says. */
export async function expectAlert(alert: string, given: Case): Promise<void> {
  const { series, step = '1m', at, fires, adjusted } = given;
  const rule = ruleOf(alert);
  (fires.length > 0 ? looked.fires : looked.quiet).add(alert);
  const expected = fires.map(({ labels = {}, description }) => ({
    exp_labels: { ...rule.labels, ...labels },
    exp_annotations: { ...rule.annotations, description },
  }));
  await test(adjusted, {
    evaluation_interval: step,
    tests: [
      {
        interval: step,
        input_series: Object.entries(series).map(([series, values]) => ({ series, values })),
        alert_rule_test: [at].flat().map((at) => ({ eval_time: at, alertname: alert, exp_alerts: expected })),
      },
    ],
  });
}

async function test(adjusted: Case['adjusted'], file: object): Promise<void> {
  const { promtool } = await obtainPrometheus();
  const dir = await mkdtemp(join(tmpdir(), 'promtool-'));
  try {
    const path = join(dir, 'test.yaml');
    const rules = adjusted === undefined ? RULES : join(dir, 'rules.yaml');
    if (adjusted !== undefined) await writeFile(rules, stringify(rulesWith(adjusted)));
    await writeFile(path, stringify({ rule_files: [rules], ...file }));
    await run(promtool, ['test', 'rules', path]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function rulesWith(adjusted: Readonly<Record<string, string>>): RuleFile {
  const adjust = (rule: Rule): Rule => {
    const expr = adjusted[rule.labels?.['alert'] ?? rule.record ?? ''];
    return expr === undefined ? rule : { ...rule, expr };
  };
  return { groups: ruleFile().groups.map((group) => ({ ...group, rules: group.rules.map(adjust) })) };
}

function ruleOf(alert: string): Rule {
  const rule = ruleFile()
    .groups.flatMap(({ rules }) => rules)
    .find((rule) => rule.alert === alert);
  if (rule === undefined) throw new Error(`there is no alert ${alert}`);
  return rule;
}

/** A PortRange of which nothing is cooling down or foreign; `free` as promtool writes values. */
export function range(name: string, capacity: number, free: string, usage: string): InputSeries {
  const of = (metric: string) => `${P}range_${metric}{range="${name}",instance="a",job="j"}`;
  return {
    [of('capacity_ports')]: `${capacity}x3000`,
    [of('free_ports')]: free,
    [of('usage_ratio')]: usage,
    [of('allocated_ports')]: `${capacity}x3000`,
    [of('foreign_ports')]: '0x3000',
    [of('cooling_down_ports')]: '0x3000',
  };
}
