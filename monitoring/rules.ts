import { stringify } from 'yaml';
import { type Alert, alerts, recordings, type Time } from './alerts.ts';
import { RUNBOOKS, THRESHOLDS } from './settings.ts';

export interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface RuleFile {
  readonly groups: readonly {
    readonly name: string;
    readonly interval?: string;
    readonly rules: readonly Rule[];
  }[];
}

/**
 * The rules as Prometheus reads them. One group: its rules run in order, so that alerts see what was just recorded.
 * @param options.speed tests live faster: every `for` and every window is divided by it
 */
export function ruleFile(options: { speed?: number; interval?: string } = {}): RuleFile {
  const { speed = 1, interval } = options;
  const time: Time = (seconds) => duration(seconds / speed);
  const thresholds = Object.entries(THRESHOLDS).map(([alert, value]) => ({
    record: 'nodeport_manager:threshold',
    expr: `vector(${value})`,
    labels: { alert },
  }));
  const rules = [...thresholds, ...recordings(time), ...alerts(time).map((alert) => alertRule(alert, time))];
  return { groups: [{ name: 'nodeport-manager', ...(interval === undefined ? {} : { interval }), rules }] };
}

function alertRule({ alert, severity, holds, expr, summary, description }: Alert, time: Time): Rule {
  return {
    alert,
    expr: expr.trim(),
    ...(holds === 0 ? {} : { for: time(holds) }),
    labels: { severity },
    annotations: { summary, description, runbook_url: `${RUNBOOKS}/${alert}.md` },
  };
}

/** As Prometheus writes durations, `1d`, `90s`; less than a second is `1ms` at least. */
function duration(seconds: number): string {
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    if (seconds >= size && seconds % size === 0) return `${seconds / size}${unit}`;
  }
  return `${Math.max(1, Math.round(seconds * 1000))}ms`;
}

/** For the Prometheus operator, which reads its rules from this kind. */
export function prometheusRule(): object {
  return {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: {
      name: 'nodeport-manager',
      namespace: 'nodeport-manager-system',
      labels: {
        'app.kubernetes.io/name': 'nodeport-manager',
        'app.kubernetes.io/part-of': 'nodeport-manager',
      },
    },
    spec: ruleFile(),
  };
}

export function toYaml(value: object): string {
  return stringify(value, { lineWidth: 0, blockQuote: 'literal' });
}
