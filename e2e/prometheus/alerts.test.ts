/** A real Prometheus scrapes the controller as users run it, and its alerts come and go with what happens. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { request } from 'undici';
import { afterAll, describe, expect, test } from 'vitest';
import { dashboard } from '../../monitoring/dashboard.ts';
import { ruleFile } from '../../monitoring/rules.ts';
import { run } from '../cluster/run.ts';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useWorld, type World } from '../support/world.ts';
import { untilFiring } from './firing.ts';
import { obtainPrometheus } from './obtain.ts';
import { type PrometheusServer, startPrometheus } from './server.ts';

/** A day is 4.8 minutes, `for: 2m` is 400 ms. */
const SPEED = 300;
const RUNBOOKS = join(import.meta.dirname, '../../docs/runbooks');

let controller: ControllerProcess;
let prometheus: PrometheusServer;

/** It may not read /flagz in the standard install, so it is told the apiserver's own range. */
const knowing = ({ cluster }: World): string => `--service-node-port-range=${cluster.nodePortRange}`;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.range('team-a', 30100, 30103, { cooldown: '1s' });
  await w.range('team-b', 30110, 30129, { cooldown: '1s' });
  controller = await w.start(knowing(w));
  const instances = { 'nodeport-manager-1': controller.metricsAddress };
  prometheus = await startPrometheus(w.cluster, { speed: SPEED, instances });
});

afterAll(() => prometheus?.stop());

const valueOf = async (promql: string): Promise<number | undefined> =>
  (await prometheus.query(promql))[0]?.value;

test('the page of metrics is as promtool wants it', async () => {
  const { body } = await request(`http://${controller.metricsAddress}/metrics`);
  const { promtool } = await obtainPrometheus();
  const file = join(world().cluster.dir, 'metrics.txt');
  await writeFile(file, await body.text());
  expect(await run('/bin/sh', ['-c', '"$0" check metrics < "$1" 2>&1', promtool, file])).toBe('');
});

test('Prometheus loads every rule, and evaluates it without an error', async () => {
  const names = ruleFile().groups.flatMap(({ rules }) => rules.map(({ alert, record }) => alert ?? record));
  await eventually(async () => {
    const rules = await prometheus.rules();
    expect(rules.map(({ name }) => name)).toEqual(names);
    expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
  });
});

test('nothing fires while all is well', async () => {
  await eventually(async () =>
    expect(await valueOf('nodeport_manager:range_free_ports{range="team-a"}')).toBe(4),
  );
  await untilFiring(prometheus, []);
});

describe('a range that runs out', () => {
  const about = { range: 'team-a' };
  const full = [
    { alertname: 'NodePortRangeFillingUp', severity: 'info', ...about },
    { alertname: 'NodePortRangeNearlyFull', severity: 'warning', ...about },
    { alertname: 'NodePortRangeAlmostExhausted', severity: 'critical', ...about },
    { alertname: 'NodePortRangeExhausted', severity: 'critical', ...about },
  ];
  const waiting = { alertname: 'NodePortServicesPending', reason: 'RangeExhausted', ...about };

  test('three of four ports: it is filling up', async () => {
    const { service, shows } = world();
    for (const name of ['one', 'two', 'three']) await service(`a-dev/${name}`, { range: 'team-a' });
    await shows('a-dev/three', 'Assigned');
    await untilFiring(prometheus, full.slice(0, 1));
  });

  test('none is free: every alert about it fires, with numbers and a runbook', async () => {
    const { service, shows } = world();
    await service('a-dev/four', { range: 'team-a' });
    await shows('a-dev/four', 'Assigned');
    const firing = await untilFiring(prometheus, full);
    const exhausted = firing.find(({ labels }) => labels['alertname'] === 'NodePortRangeExhausted');
    expect(exhausted?.annotations).toMatchObject({
      summary: 'A PortRange has no free port: new Services wait.',
      description:
        'None of the 4 node ports of PortRange team-a is free: its Services hold 4, others hold 0, 0 are cooling down.',
      runbook_url: expect.stringMatching(/\/docs\/runbooks\/NodePortRangeExhausted\.md$/),
    });
  });

  test('a Service that waits fires, too, and each resolves once ports are released', async () => {
    const { service, shows, remove } = world();
    await service('a-dev/five', { range: 'team-a' });
    await shows('a-dev/five', 'RangeExhausted');
    await untilFiring(prometheus, [...full, waiting]);
    for (const name of ['one', 'two']) await remove(`a-dev/${name}`);
    await shows('a-dev/five', 'Assigned');
    await untilFiring(prometheus, full.slice(0, 1));
    await remove('a-dev/five');
    await untilFiring(prometheus, []);
  });

  test('a controller that stops is told, and its successor ends that', async () => {
    await controller.kill('SIGTERM');
    await untilFiring(prometheus, [{ alertname: 'NodePortControllerDown', severity: 'critical' }]);
    const metricsPort = Number(controller.metricsAddress.split(':')[1]);
    controller = await world().launch({ flags: [knowing(world())], metricsPort });
    await controller.ready();
    await untilFiring(prometheus, []);
  });
});

describe('what pages and panels ask', () => {
  test('conflicts, releases, a trend and a Service that waits: there is something to be shown', async () => {
    const { service, shows, remove, rangeShows } = world();
    await service('a-dev/stranger', { ports: [{ port: 80, nodePort: 30129 }] });
    await rangeShows('team-b', { foreign: 1 });
    for (let i = 0; i < 8; i += 1) {
      await service(`a-dev/trend-${i}`, { range: 'team-b' });
      await shows(`a-dev/trend-${i}`, 'Assigned');
    }
    await remove('a-dev/trend-0');
    await service('a-dev/lost', { range: 'nowhere' });
    await shows('a-dev/lost', 'RangeNotFound');
    await eventually(async () =>
      expect(await valueOf('nodeport_manager:range_exhaustion_seconds{range="team-b"}')).toBeGreaterThan(0),
    );
  });

  const panels = (dashboard() as { panels: { title: string; targets?: { expr: string }[] }[] }).panels;
  const asked = panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }, i) => [`${title} ${i + 1}`, expr] as const),
  );

  test.each(asked)('panel %s has data', async (_, expr) => {
    const promql = expr
      .replaceAll('$__rate_interval', '2m')
      .replaceAll('$cluster', '.*')
      .replaceAll('$range', '.*');
    await eventually(async () => {
      const values = (await prometheus.query(promql)).map(({ value }) => value);
      expect(values.filter(Number.isFinite), promql).not.toEqual([]);
    }, 5_000);
  });

  test("the cluster's own range is what the apiserver counts", async () => {
    const { cluster } = world();
    const [from = 0, to = 0] = cluster.nodePortRange.split('-').map(Number);
    await eventually(async () => {
      expect(await valueOf('nodeport_manager_node_port_range_ports')).toBe(to - from + 1);
      const used = await valueOf('nodeport_manager_node_port_range_used_ports');
      expect(used).toBe(await valueOf('kube_apiserver_nodeport_allocator_allocated_ports'));
      expect(used).toBeGreaterThan(8);
    });
  });

  test('the series of a PortRange that is deleted are gone', async () => {
    const { kubectl, range } = world();
    await range('brief', 30130, 30131);
    const series = '{__name__=~"nodeport_manager.*",range="brief"}';
    await eventually(async () => expect((await prometheus.query(series)).length).toBeGreaterThan(8));
    await kubectl('delete portrange brief');
    await eventually(async () => expect(await prometheus.query(series)).toEqual([]));
  });
});

/** Commands that have nothing to say here: no Pods, nothing corrupt or doubled, no webhooks. */
const QUIET = /get events|get pods|logs|corrupt|n\[p\] > 1|get leases|webhook/;

describe('runbooks', () => {
  async function blocks(language: string): Promise<[file: string, line: string][]> {
    const found: [string, string][] = [];
    for (const file of await readdir(RUNBOOKS)) {
      const [, look = ''] =
        /## How to look\n(.*?)\n## How to fix/s.exec(await readFile(join(RUNBOOKS, file), 'utf8')) ?? [];
      for (const [, block = ''] of look.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 'gs')))
        found.push(
          ...block
            .trim()
            .split('\n')
            .map((line): [string, string] => [file, line]),
        );
    }
    return found;
  }

  test('every query can be asked', async () => {
    const queries = await blocks('promql');
    expect(queries.length).toBeGreaterThan(30);
    for (const [file, query] of queries) {
      await prometheus
        .query(query)
        .catch((error: unknown) => expect.fail(`${file}: ${query}: ${String(error)}`));
    }
  });

  test('every command runs', async () => {
    const { cluster } = world();
    const path = `${dirname(cluster.kubectlPath)}:${process.env['PATH']}`;
    const env = { ...process.env, PATH: path, KUBECONFIG: cluster.kubeconfig('admin') };
    const commands = await blocks('sh');
    expect(commands.length).toBeGreaterThan(20);
    const said = new Map<string, string>();
    for (const line of new Set(commands.map(([, line]) => line))) {
      said.set(line, await run('bash', ['-o', 'pipefail', '-c', line], { env }));
    }
    const sayNothing = [...said].filter(([, output]) => output.trim() === '').map(([line]) => line);
    expect(sayNothing.filter((line) => !QUIET.test(line))).toEqual([]);
  });
});
