/** What the process does where a real apiserver would have to be made to hang. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { TABLE } from '../src/api/names.ts';
import { portRangePath } from '../src/api/portRange.ts';
import type { KubeObject } from '../src/kube/transport.ts';
import {
  type Answer,
  event,
  json,
  type ScriptedServer,
  scriptedServer,
  silence,
  status,
} from './kube/scriptedServer.ts';

const MAIN = join(import.meta.dirname, '../src/main.ts');
const MAPS = '/api/v1/namespaces/nodeport-manager-system/configmaps';
const BLOCK = 'nodeport-table-30000';
const SERVICE = '/api/v1/namespaces/a/services/web';
/** The 5 s that are promised, on a machine that is busy with other tests. An answer that never comes is given up after 30 s. */
const SOON = 9_000;

const created = { resourceVersion: '5', creationTimestamp: '2026-01-01T00:00:00Z', generation: 1 };

function list(...items: object[]): Answer {
  return json({ metadata: { resourceVersion: '10' }, items });
}

function block(resourceVersion: string, stamp: string): object {
  const annotations = { [TABLE.versionAnnotation]: '1', [TABLE.epochAnnotation]: stamp };
  const metadata = { ...created, name: BLOCK, namespace: 'nodeport-manager-system', uid: 'u-block' };
  return { metadata: { ...metadata, resourceVersion, annotations }, data: {} };
}

/** A cluster in which a Service waits for its number, whose write is never answered. */
function scriptCluster(server: ScriptedServer): void {
  const open: Answer = (response) => response.writeHead(200).flushHeaders();
  const service = {
    metadata: {
      ...created,
      name: 'web',
      namespace: 'a',
      uid: 'u-web',
      annotations: { 'nodeport-manager.io/range': 'low' },
    },
    spec: { type: 'NodePort', ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 31_234 }] },
  };
  const range = {
    metadata: { ...created, name: 'low', uid: 'u-low' },
    spec: { ranges: [{ from: 30_000, to: 30_009 }] },
  };
  const lists: Readonly<Record<string, Answer>> = {
    '/api/v1/services': list(service),
    '/api/v1/namespaces': list({ metadata: { ...created, name: 'a', uid: 'u-a' } }),
    [portRangePath]: list(range),
    [MAPS]: list(block('6', '5/old')),
  };
  server.on('*', status(403, { reason: 'Forbidden' }));
  for (const [path, answer] of Object.entries(lists)) {
    server.on(`GET ${path}`, answer);
    server.on(`WATCH ${path}`, open);
  }
  server.on(`PUT ${MAPS}/${BLOCK}`, (response, request) => {
    const { metadata, data } = JSON.parse(request.body) as KubeObject;
    const resourceVersion = String(Number(metadata.resourceVersion) + 1);
    json({ metadata: { ...metadata, resourceVersion }, data })(response, request);
  });
  server.on(`PATCH ${SERVICE}`, silence);
}

async function start(server: ScriptedServer): Promise<{ child: ChildProcess; log: () => string }> {
  const dir = await mkdtemp(join(tmpdir(), 'process-'));
  const kubeconfig = join(dir, 'kubeconfig');
  const [clusters, users] = [
    [{ name: 'c', cluster: { server: server.url.href } }],
    [{ name: 'u', user: {} }],
  ];
  const contexts = [{ name: 'x', context: { cluster: 'c', user: 'u' } }];
  const config = { apiVersion: 'v1', kind: 'Config', 'current-context': 'x', clusters, users, contexts };
  await writeFile(kubeconfig, JSON.stringify(config));
  const addresses = ['metrics', 'health-probe'].map((name) => `--${name}-bind-address=127.0.0.1:0`);
  const words = [MAIN, `--kubeconfig=${kubeconfig}`, '--leader-elect=false', ...addresses];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await server.close();
    await rm(dir, { recursive: true });
  });
  return { child, log: () => text };
}

/** Another leader's stamp comes by the watch, as soon as the write to the Service hangs. */
function stampWhenItHangs(server: ScriptedServer): Answer {
  return (response) => {
    response.writeHead(200).flushHeaders();
    const look = setInterval(() => {
      if (server.seen(`PATCH ${SERVICE}`).length === 0) return;
      clearInterval(look);
      response.write(event('MODIFIED', block('999', '99/another')));
    }, 10);
    response.on('close', () => clearInterval(look));
  };
}

async function stopsInTime(by: 'fatal' | 'SIGTERM'): Promise<void> {
  const server = await scriptedServer();
  scriptCluster(server);
  if (by === 'fatal') server.on(`WATCH ${MAPS}`, stampWhenItHangs(server));
  const { child, log } = await start(server);
  const exited = once(child, 'exit');
  await expect.poll(() => server.seen(`PATCH ${SERVICE}`).length, { timeout: 30_000 }).toBe(1);
  if (by === 'SIGTERM') child.kill(by);
  await expect.poll(log, { timeout: 30_000, interval: 10 }).toContain(by === 'fatal' ? 'another leader' : by);
  const began = performance.now();
  expect(await exited).toEqual([1, null]);
  expect(performance.now() - began).toBeLessThan(SOON);
  expect(log()).toContain('not drained in time');
}

test('a fatal stop while a write hangs ends with exit code 1 within 5 s, as one by a signal does', async () => {
  await Promise.all([stopsInTime('fatal'), stopsInTime('SIGTERM')]);
}, 90_000);
