import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { type Findings, show } from './report.ts';
import type { Bench } from './rig.ts';
import { median } from './stats.ts';

const PAIRS = 15;
const FIRST_REQUEST_WITHIN_MS = 20_000;

/** The size of the bundle, and how long it takes from its start to its first request. */
export async function bundle(bench: Bench): Promise<Findings> {
  const { size } = await stat(bench.bundle);
  const server = createServer((_, response) => void response.writeHead(503).end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const pairs: { ours: number; bare: number }[] = [];
  try {
    const kubeconfig = await kubeconfigOf(bench, server);
    for (let i = 0; i < PAIRS; i++) {
      pairs.push({ ours: await untilFirstRequest(bench, server, kubeconfig), bare: await emptyNode() });
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
  return {
    figures: [
      {
        what: 'bundle, minified',
        ours: `${size} bytes`,
        bare: '',
        value: size / 1e6,
        budget: 2.5,
        unit: ' MB',
      },
      {
        what: `start to first request, median of ${PAIRS} pairs, against node -e 0`,
        ours: `${show(median(pairs.map(({ ours }) => ours)))} ms`,
        bare: `${show(median(pairs.map(({ bare }) => bare)))} ms`,
        value: median(pairs.map(({ ours, bare }) => ours / bare)),
        budget: 8,
        ifMissed: 'lighter imports, or a compile cache beside the bundle.',
      },
    ],
    raw: [
      ['pair', 'ours, ms', 'bare, ms', 'ratio'],
      ...pairs.map(({ ours, bare }, i) => [String(i + 1), show(ours), show(bare), show(ours / bare)]),
    ],
    notes: [
      'Ours: from spawning the process to its first request at a server on the loopback. Bare: `node -e 0` to its end.',
    ],
  };
}

async function kubeconfigOf({ dir }: Bench, server: Server): Promise<string> {
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const path = join(dir, 'loopback.kubeconfig');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'loopback', cluster: { server: `http://127.0.0.1:${port}` } }],
    users: [{ name: 'nobody', user: { token: 'none' } }],
    contexts: [{ name: 'loopback', context: { cluster: 'loopback', user: 'nobody' } }],
    'current-context': 'loopback',
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

async function untilFirstRequest(bench: Bench, server: Server, kubeconfig: string): Promise<number> {
  const first = once(server, 'request', { signal: AbortSignal.timeout(FIRST_REQUEST_WITHIN_MS) });
  const began = performance.now();
  const child = spawn(
    process.execPath,
    [
      bench.bundle,
      `--kubeconfig=${kubeconfig}`,
      '--metrics-bind-address=127.0.0.1:0',
      '--health-probe-bind-address=127.0.0.1:0',
    ],
    { stdio: 'ignore' },
  );
  const ended = once(child, 'exit');
  try {
    await first;
    return performance.now() - began;
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

async function emptyNode(): Promise<number> {
  const began = performance.now();
  await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'exit');
  return performance.now() - began;
}
