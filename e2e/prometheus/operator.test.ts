/** What we write for the Prometheus operator is what its own definitions allow, on a real apiserver that has them. */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { requireGo } from '../cluster/build.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { run } from '../cluster/run.ts';

const ROOT = join(import.meta.dirname, '../..');
const OPERATOR = 'github.com/prometheus-operator/prometheus-operator@v0.85.0';
const KINDS = ['servicemonitors', 'podmonitors', 'prometheusrules'];

let cluster: Cluster;

interface Manifest {
  apiVersion: string;
  kind: string;
  spec: { endpoints: Record<string, unknown>[]; groups: { rules: Record<string, unknown>[] }[] };
}

beforeAll(async () => {
  cluster = await startCluster();
  const definitions = await operatorDefinitions();
  for (const kind of KINDS)
    await kubectl('create', '-f', join(definitions, `monitoring.coreos.com_${kind}.yaml`));
  const names = KINDS.map((kind) => `crd/${kind}.monitoring.coreos.com`);
  await kubectl('wait', '--for=condition=Established', '--timeout=60s', ...names);
  await kubectl('create', 'namespace', 'nodeport-manager-system');
  for (const part of ['config', 'crds'])
    await cp(join(ROOT, part), join(cluster.dir, 'checkout', part), { recursive: true });
});

afterAll(() => cluster?.stop());

async function kubectl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.kubectl(args);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** The folder of the operator's CRDs in its Go module, which Go keeps once it was fetched. */
async function operatorDefinitions(): Promise<string> {
  await requireGo();
  const env = { ...process.env, GO111MODULE: 'on', GOWORK: 'off' };
  const { Dir } = JSON.parse(await run('go', ['mod', 'download', '-json', OPERATOR], { env })) as {
    Dir: string;
  };
  return join(Dir, 'example/prometheus-operator-crd');
}

/** What is for the operator among all that kubectl makes of a folder. */
async function rendered(folder: string): Promise<Manifest[]> {
  const text = await kubectl('kustomize', join(cluster.dir, 'checkout', folder));
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest)
    .filter(({ apiVersion }) => apiVersion.startsWith('monitoring.coreos.com/'));
}

async function one(folder: string, kind: string): Promise<Manifest> {
  const found = (await rendered(folder)).find((manifest) => manifest.kind === kind);
  if (found === undefined) throw new Error(`there is no ${kind} in ${folder}`);
  return found;
}

async function tryOn(manifest: Manifest): Promise<string> {
  const { stdout, stderr } = await cluster.kubectl(
    ['apply', '--dry-run=server', '--validate=strict', '-f', '-'],
    { input: stringify(manifest) },
  );
  return stdout + stderr;
}

async function secureOverlay(): Promise<void> {
  const page = await readFile(join(ROOT, 'docs/monitoring.md'), 'utf8');
  const [, overlay = ''] = /```yaml\n# secure\/kustomization\.yaml[^\n]*\n(.*?)```/s.exec(page) ?? [];
  await mkdir(join(cluster.dir, 'checkout/secure'), { recursive: true });
  await writeFile(join(cluster.dir, 'checkout/secure/kustomization.yaml'), overlay);
}

test.each([
  ['config/prometheus', ['PrometheusRule', 'ServiceMonitor']],
  ['config/prometheus/podmonitor', ['PodMonitor']],
  ['secure', ['PrometheusRule', 'ServiceMonitor']],
])('%s is what the operator understands, to the last field', async (folder, kinds) => {
  if (folder === 'secure') await secureOverlay();
  const manifests = await rendered(folder);
  expect(manifests.map(({ kind }) => kind).toSorted()).toEqual(kinds);
  for (const manifest of manifests)
    expect(await tryOn(manifest)).toMatch(/^\S+ created \(server dry run\)\n$/);
});

describe('would be noticed', () => {
  test('a field that the operator does not know', async () => {
    const monitor = await one('secure', 'ServiceMonitor');
    const endpoints = monitor.spec.endpoints.map((endpoint) => ({ ...endpoint, bearerTokenPath: '/token' }));
    expect(await tryOn({ ...monitor, spec: { ...monitor.spec, endpoints } })).toContain(
      'unknown field "spec.endpoints[0].bearerTokenPath"',
    );
  });

  test('a duration that is none', async () => {
    const rules = await one('config/prometheus', 'PrometheusRule');
    const groups = rules.spec.groups.map((group) => ({
      ...group,
      rules: group.rules.map((rule) => ('alert' in rule ? { ...rule, for: 'soon' } : rule)),
    }));
    expect(await tryOn({ ...rules, spec: { ...rules.spec, groups } })).toContain(
      'for: Invalid value: "soon"',
    );
  });
});

test('the ServiceMonitor of the overlay sends the token by https', async () => {
  await secureOverlay();
  const monitor = await one('secure', 'ServiceMonitor');
  expect(monitor.spec.endpoints).toEqual([
    expect.objectContaining({
      scheme: 'https',
      port: 'metrics',
      bearerTokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
    }),
  ]);
});
