import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { request } from 'undici';
import { expect } from 'vitest';
import { stringify } from 'yaml';
import { ruleFile } from '../../monitoring/rules.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { startDaemon } from '../cluster/daemon.ts';
import { startGuard } from '../cluster/guard.ts';
import { freePort } from '../cluster/ports.ts';
import { eventually } from '../support/eventually.ts';
import { obtainPrometheus } from './obtain.ts';

/** How often everything is scraped and evaluated. */
const INTERVAL = '500ms';

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ActiveAlert {
  readonly state: 'pending' | 'firing';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface LoadedRule {
  readonly name: string;
  readonly health: string;
  readonly lastError?: string;
}

/** A real Prometheus that scrapes a controller and the apiserver, with the alerts `speed` times as fast as shipped. */
export interface PrometheusServer {
  query(promql: string): Promise<Sample[]>;
  alerts(): Promise<ActiveAlert[]>;
  rules(): Promise<LoadedRule[]>;
  stop(): Promise<void>;
}

export async function startPrometheus(
  cluster: Cluster,
  target: string,
  speed: number,
): Promise<PrometheusServer> {
  const { prometheus } = await obtainPrometheus();
  const dir = join(cluster.dir, 'prometheus');
  await mkdir(dir);
  await writeFile(join(dir, 'rules.yaml'), stringify(ruleFile({ speed, interval: INTERVAL })));
  await writeFile(join(dir, 'prometheus.yaml'), stringify(configuration(cluster, target)));
  const port = await freePort();
  const args = [
    `--config.file=${join(dir, 'prometheus.yaml')}`,
    `--storage.tsdb.path=${join(dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--log.level=warn',
  ];
  const guard = await startGuard(dir);
  const daemon = await startDaemon(prometheus, args, dir, join(dir, 'prometheus.log'), guard);
  const get = async (path: string): Promise<Answer> => {
    if (!daemon.running()) throw new Error(`prometheus has ended: ${await daemon.logTail()}`);
    const { statusCode, body } = await request(`http://127.0.0.1:${port}/api/v1/${path}`);
    const answer = (await body.json()) as Answer;
    if (statusCode !== 200) throw new Error(`${path}: ${answer.error}`);
    return answer;
  };
  await eventually(() => get('status/buildinfo'));
  return {
    async query(promql) {
      const { data } = await get(`query?query=${encodeURIComponent(promql)}`);
      return (data.result ?? []).map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    alerts: async () => (await get('alerts')).data.alerts ?? [],
    rules: async () => (await get('rules')).data.groups?.flatMap(({ rules }) => rules) ?? [],
    stop: () => guard.finish(),
  };
}

interface Answer {
  readonly error?: string;
  readonly data: {
    readonly result?: { metric: Record<string, string>; value: [number, string] }[];
    readonly alerts?: ActiveAlert[];
    readonly groups?: { rules: LoadedRule[] }[];
  };
}

function configuration(cluster: Cluster, target: string): object {
  return {
    global: { scrape_interval: INTERVAL, scrape_timeout: INTERVAL, evaluation_interval: INTERVAL },
    rule_files: ['rules.yaml'],
    scrape_configs: [
      { job_name: 'nodeport-manager', static_configs: [{ targets: [target] }] },
      {
        job_name: 'apiserver',
        // It has thousands of series, and takes its time.
        scrape_interval: '5s',
        scrape_timeout: '5s',
        scheme: 'https',
        tls_config: { ca_file: cluster.caFile },
        authorization: { credentials: cluster.token('admin') },
        static_configs: [{ targets: [new URL(cluster.url).host] }],
      },
    ],
  };
}

/** Waits until exactly these alerts fire, by name and given labels, and returns them. */
export function untilFiring(
  server: PrometheusServer,
  expected: readonly Readonly<Record<string, string>>[],
): Promise<ActiveAlert[]> {
  return eventually(async () => {
    const firing = (await server.alerts()).filter(({ state }) => state === 'firing');
    const byName = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>) =>
      `${a['alertname']}${a['range']}` < `${b['alertname']}${b['range']}` ? -1 : 1;
    const labels = firing.map(({ labels }) => labels).toSorted(byName);
    expect(labels).toEqual(expected.toSorted(byName).map((wanted) => expect.objectContaining(wanted)));
    return firing;
  });
}
