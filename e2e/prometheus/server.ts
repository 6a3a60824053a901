import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { stringify } from 'yaml';
import { ruleFile } from '../../monitoring/rules.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { type Daemon, startDaemon } from '../cluster/daemon.ts';
import { startGuard } from '../cluster/guard.ts';
import { freePort } from '../cluster/ports.ts';
import type { Progress } from '../cluster/run.ts';
import { obtainPrometheus } from './obtain.ts';

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A series over time: `[Unix seconds, value]`. */
export interface Samples {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [at: number, value: number])[];
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

/** Name of an instance, its label `instance`, to where it serves /metrics (host and port). */
export type Instances = Readonly<Record<string, string>>;

export interface PrometheusOptions {
  /** Every `for` and every window of the rules is divided by it. */
  readonly speed: number;
  readonly instances: Instances;
  /** How often everything is scraped and evaluated, ms. @default 500 */
  readonly interval?: number;
  /** More about how the controllers are scraped, as in `scrape_configs`. */
  readonly scrape?: object;
  readonly onProgress?: Progress;
}

/** A real Prometheus that scrapes controllers and the apiserver, with the alerts `speed` times as fast as shipped. */
export interface PrometheusServer {
  /** @param at Unix seconds; default: now */
  query(promql: string, at?: number): Promise<Sample[]>;
  /** Unix seconds. */
  queryRange(promql: string, from: number, to: number, step: number): Promise<Samples[]>;
  alerts(): Promise<ActiveAlert[]>;
  rules(): Promise<LoadedRule[]>;
  /** Others are scraped from now on. */
  scrape(instances: Instances): Promise<void>;
  stop(): Promise<void>;
}

const UP_WITHIN_MS = 30_000;
const INTERVAL_MS = 500;

export async function startPrometheus(
  cluster: Cluster,
  options: PrometheusOptions,
): Promise<PrometheusServer> {
  const { prometheus } = await obtainPrometheus(options.onProgress);
  const dir = join(cluster.dir, 'prometheus');
  await mkdir(dir);
  const interval = `${options.interval ?? INTERVAL_MS}ms`;
  await writeFile(join(dir, 'rules.yaml'), stringify(ruleFile({ speed: options.speed, interval })));
  await writeFile(join(dir, 'prometheus.yaml'), stringify(configuration(cluster, interval, options.scrape)));
  await writeInstances(dir, options.instances);
  const port = await freePort();
  const args = [
    `--config.file=${join(dir, 'prometheus.yaml')}`,
    `--storage.tsdb.path=${join(dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--log.level=warn',
  ];
  const guard = await startGuard(dir);
  const daemon = await startDaemon(prometheus, args, dir, join(dir, 'prometheus.log'), guard);
  const get = asker(daemon, port);
  await untilUp(() => get('status/buildinfo', {}));
  return {
    async query(promql, at) {
      const { data } = await get('query', { query: promql, ...(at === undefined ? {} : { time: `${at}` }) });
      const result = (data.result ?? []) as { metric: Sample['metric']; value: [number, string] }[];
      return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    async queryRange(query, from, to, step) {
      const { data } = await get('query_range', { query, start: `${from}`, end: `${to}`, step: `${step}` });
      const result = (data.result ?? []) as { metric: Sample['metric']; values: [number, string][] }[];
      return result.map(({ metric, values }) => ({
        metric,
        values: values.map(([at, value]) => [at, Number(value)] as const),
      }));
    },
    alerts: async () => (await get('alerts', {})).data.alerts ?? [],
    rules: async () => (await get('rules', {})).data.groups?.flatMap(({ rules }) => rules) ?? [],
    scrape: (instances) => writeInstances(dir, instances),
    stop: () => guard.finish(),
  };
}

interface Answer {
  readonly error?: string;
  readonly data: {
    readonly result?: unknown[];
    readonly alerts?: ActiveAlert[];
    readonly groups?: { rules: LoadedRule[] }[];
  };
}

type Ask = (path: string, query: Record<string, string>) => Promise<Answer>;

function asker(daemon: Daemon, port: number): Ask {
  return async (path, query) => {
    if (!daemon.running()) throw new Error(`prometheus has ended: ${await daemon.logTail()}`);
    const { statusCode, body } = await request(`http://127.0.0.1:${port}/api/v1/${path}`, { query });
    const answer = (await body.json()) as Answer;
    if (statusCode !== 200) throw new Error(`${path}: ${answer.error}`);
    return answer;
  };
}

async function untilUp(ask: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + UP_WITHIN_MS;
  for (;;) {
    try {
      return void (await ask());
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(25);
    }
  }
}

function configuration(cluster: Cluster, interval: string, scrape: object = {}): object {
  return {
    global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
    rule_files: ['rules.yaml'],
    scrape_configs: [
      { job_name: 'nodeport-manager', file_sd_configs: [{ files: ['instances.json'] }], ...scrape },
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

/** In one step: Prometheus reads the file whenever it changes. */
async function writeInstances(dir: string, instances: Instances): Promise<void> {
  const groups = Object.entries(instances).map(([instance, address]) => ({
    targets: [address],
    labels: { instance },
  }));
  await writeFile(join(dir, 'instances.tmp'), JSON.stringify(groups));
  await rename(join(dir, 'instances.tmp'), join(dir, 'instances.json'));
}
