/** config/prometheus as kubectl renders it: it selects what is installed, and an overlay can adjust the alerts. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type Rule, ruleFile } from '../../monitoring/rules.ts';
import { obtainControlPlane } from '../cluster/obtain.ts';
import { run } from '../cluster/run.ts';

const ROOT = join(import.meta.dirname, '../..');

type Labels = Record<string, string>;

interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Labels };
  spec: {
    selector: { matchLabels: Labels };
    endpoints: { port: string }[];
    podMetricsEndpoints: { port: string }[];
    ports: { name: string }[];
    template: { metadata: { labels: Labels }; spec: { containers: { ports: { name: string }[] }[] } };
    groups: { rules: Rule[] }[];
  };
}

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'monitoring-'));
  await cp(join(ROOT, 'config'), join(folder, 'config'), { recursive: true });
  await cp(join(ROOT, 'crds'), join(folder, 'crds'), { recursive: true });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function render(path: string): Promise<Manifest[]> {
  const { kubectl } = await obtainControlPlane();
  const text = await run(kubectl, ['kustomize', join(folder, path)]);
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

function only(manifests: readonly Manifest[], kind: string): Manifest {
  const [found, ...others] = manifests.filter((manifest) => manifest.kind === kind);
  if (found === undefined || others.length > 0) throw new Error(`not one ${kind}`);
  return found;
}

test('the ServiceMonitor selects the metrics Service and names its port', async () => {
  const { spec, metadata } = only(await render('config/prometheus'), 'ServiceMonitor');
  const service = only(await render('config/default'), 'Service');
  expect(service.metadata).toMatchObject({
    namespace: metadata.namespace,
    labels: spec.selector.matchLabels,
  });
  expect(service.spec.ports.map(({ name }) => name)).toContain(spec.endpoints[0]?.port);
});

test('the PodMonitor selects the Pods and names their port', async () => {
  const { spec, metadata } = only(await render('config/prometheus/podmonitor'), 'PodMonitor');
  const deployment = only(await render('config/default'), 'Deployment');
  expect(deployment.metadata.namespace).toBe(metadata.namespace);
  expect(deployment.spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
  const ports = deployment.spec.template.spec.containers.flatMap(({ ports }) => ports);
  expect(ports.map(({ name }) => name)).toContain(spec.podMetricsEndpoints[0]?.port);
});

test('the overlay in docs/monitoring.md changes a threshold, leaves ranges out and moves the runbooks, nothing else', async () => {
  const page = await readFile(join(ROOT, 'docs/monitoring.md'), 'utf8');
  const [, overlay = ''] = /```yaml\n# overlay\/kustomization\.yaml[^\n]*\n(.*?)```/s.exec(page) ?? [];
  await mkdir(join(folder, 'overlay'));
  await writeFile(join(folder, 'overlay/kustomization.yaml'), overlay);
  const adjusted = only(await render('overlay'), 'PrometheusRule').spec.groups[0]?.rules ?? [];
  const shipped = ruleFile().groups[0]?.rules ?? [];
  expect(adjusted).toHaveLength(shipped.length);
  const changed = adjusted.filter((rule, i) => rule.expr !== shipped[i]?.expr);
  expect(changed).toEqual([
    {
      record: 'nodeport_manager:threshold',
      labels: { alert: 'NodePortRangeNearlyFull' },
      expr: 'vector(0.9)',
    },
    {
      record: 'nodeport_manager:excluded_range',
      expr: 'max by (cluster, range) (nodeport_manager_range_capacity_ports{range=~"scratch|test-.*"})',
    },
  ]);
  const elsewhere = (rule: Rule): Rule['annotations'] =>
    rule.annotations && {
      ...rule.annotations,
      runbook_url: `https://wiki.example.com/node-ports/${rule.alert}.md`,
    };
  expect(adjusted.map(({ annotations }) => annotations)).toEqual(shipped.map(elsewhere));
});
