import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { freePort } from '../cluster/ports.ts';
import { BUNDLE, type ControllerProcess, NODE } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { conditionOf, keyOf } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

const STOPS_WITHIN_MS = 5000;
const RESYNCS = 4;
const SERVICES = 24;

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.range('team-a', 30100, 30119);
  await w.range('other', 30200, 30299);
});

const keys = Array.from({ length: SERVICES }, (_, i) => `a-dev/s-${i}`);

async function runOnce(args: string[], env: Record<string, string> = {}) {
  const child = spawn(NODE, [BUNDLE, ...args], { env: { ...process.env, ...env } });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const [code]: (number | null)[] = await once(child, 'close');
  return { code, stdout, stderr };
}

describe('when everything is settled', () => {
  test('served, waiting, refused and unmanaged Services, and a cooling number, are left alone', async () => {
    const { start, service, shows, remove, rangeShows, checker, writes } = world();
    controller = await start('--resync-period=1s');
    await service('a-dev/gone', { range: 'team-a' });
    await shows('a-dev/gone', 'Assigned');
    await remove('a-dev/gone');
    for (const key of keys) await service(key, { range: 'team-a' });
    await service('a-dev/claimed', { range: 'team-a', ports: [{ port: 80, nodePort: 31999 }] });
    await service('a-dev/nowhere', { range: 'nowhere' });
    await service('a-dev/bad', { range: '!' });
    await service('a-dev/cluster-ip', { range: 'team-a', type: 'ClusterIP' });
    await service('a-dev/native', {});
    await eventually(() =>
      expect(
        checker.services().filter((object) => conditionOf(object)?.reason === 'RangeExhausted').length,
      ).toBe(SERVICES - 19),
    );
    for (const [key, reason] of [
      ['a-dev/claimed', 'HeldOutOfRange'],
      ['a-dev/nowhere', 'RangeNotFound'],
      ['a-dev/bad', 'InvalidRequest'],
      ['a-dev/cluster-ip', 'NoNodePorts'],
    ] as const)
      await shows(key, reason);
    await checker.untilTableIsTrue();
    await rangeShows('team-a', { free: 0, coolingDown: 1, pending: SERVICES - 19 + 1, outOfRange: 1 });
    await resynced(1);
    const before = { state: checker.state(), writes: (await writes()).length };
    await resynced(RESYNCS);
    expect((await writes()).slice(before.writes)).toEqual([]);
    expect(checker.state()).toEqual(before.state);
  });

  /** So many times more, everything has been looked at again. */
  async function resynced(times: number): Promise<void> {
    for (let i = 0; i < times; i += 1) {
      const last = await lastSync();
      await eventually(async () => expect(await lastSync()).toBeGreaterThan(last));
    }
    await eventually(async () =>
      expect((await controller.metrics()).get('workqueue_depth{name="services"}')).toBe(0),
    );
  }

  async function lastSync(): Promise<number> {
    return (await controller.metrics()).get('nodeport_manager_last_sync_timestamp_seconds') ?? 0;
  }
});

describe('SIGTERM', () => {
  test('at rest: exits 0 within 5 s', async () => {
    const since = performance.now();
    expect(await controller.kill('SIGTERM')).toBe(0);
    expect(performance.now() - since).toBeLessThan(STOPS_WITHIN_MS);
    expect((await controller.logs()).at(-1)).toMatchObject({ msg: 'stopped', exitCode: 0 });
  });

  test('in the middle of work: exits 0 within 5 s, and nothing is half done', async () => {
    const { start, service, checker } = world();
    controller = await start();
    const created = Promise.all(
      Array.from({ length: 60 }, (_, i) => service(`a-dev/t-${i}`, { range: 'other' })),
    );
    await eventually(() => expect(served('a-dev/t-').length).toBeGreaterThan(5));
    const since = performance.now();
    expect(await controller.kill('SIGTERM')).toBe(0);
    expect(performance.now() - since).toBeLessThan(STOPS_WITHIN_MS);
    await created;
    // Whoever has a number of the range was told so, and the table has it.
    await checker.untilTableIsTrue();
    const has = checker
      .services()
      .filter((object) => keyOf(object).startsWith('a-dev/t-'))
      .filter(({ spec }) => spec.ports.some(({ nodePort = 0 }) => nodePort >= 30200 && nodePort < 30300));
    expect(has.map(keyOf).toSorted()).toEqual(served('a-dev/t-'));
  });

  test('and the next start goes on', async () => {
    controller = await world().start();
    await eventually(() => expect(served('a-dev/t-')).toHaveLength(60));
    await world().checker.untilTableIsTrue();
  });

  function served(prefix: string): string[] {
    return world()
      .checker.services()
      .filter((object) => conditionOf(object)?.status === 'True')
      .map(keyOf)
      .filter((key) => key.startsWith(prefix))
      .toSorted();
  }
});

describe('bad usage exits 2 with one line', () => {
  test.each([
    ['an unknown flag', ['--unknown'], {}, /--unknown/],
    ['a bad value', ['--concurrency=many'], {}, /many.*1 to 256/],
    ['a bad duration', ['--resync-period=1d'], {}, /1d.*duration/],
    ['a bad address', ['--metrics-bind-address=here'], {}, /"here" is not an address/],
    ['a bad value in the environment', [], { NODEPORT_MANAGER_CONCURRENCY: '0' }, /'0'.*1 to 256/],
    [
      'a lease as long as the renew deadline',
      ['--leader-elect-lease-duration=7s'],
      {},
      /lease.*7000ms.*longer/,
    ],
    [
      'a renew deadline near the retry',
      ['--leader-elect-retry-period=6s'],
      {},
      /renew.*longer.*1.2 times.*7200ms/,
    ],
    ['a lease of a fraction', ['--leader-elect-lease-duration=8500ms'], {}, /8500ms.*whole seconds/],
    ['neither true nor false', ['--leader-elect=maybe'], {}, /maybe.*true or false/],
    ['a certificate for what is served without', ['--metrics-cert-dir=/tls'], {}, /--metrics-secure/],
    ['a stray argument', ['run'], {}, /argument/],
  ])('%s', async (_, args, env, message) => {
    const { code, stdout, stderr } = await runOnce(args, env);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr.trimEnd().split('\n')).toEqual([expect.stringMatching(/^nodeport-manager: /)]);
    expect(stderr).toMatch(message);
  });

  test('--help and --version exit 0', async () => {
    const help = await runOnce(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('--resync-period');
    expect(await runOnce(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });

  test('a kubeconfig that is not there exits 1 and names it', async () => {
    const { code, stdout } = await runOnce(['--kubeconfig=/nowhere/config']);
    expect(code).toBe(1);
    expect(stdout).toContain('/nowhere/config');
  });
});

test('an apiserver that cannot be reached at start: it keeps trying, alive and not ready', async () => {
  const { cluster, launch } = world();
  const text = await readFile(cluster.kubeconfig('controller'), 'utf8');
  const kubeconfig = join(cluster.dir, 'unreachable.kubeconfig');
  await writeFile(kubeconfig, text.replaceAll(cluster.url, `https://127.0.0.1:${await freePort()}`));
  const lost = await launch({ kubeconfig });
  await eventually(async () => {
    const failed = (await lost.logs()).filter(({ msg }) => msg === 'list or watch failed');
    expect(failed.length).toBeGreaterThan(8);
  });
  expect(await lost.readyz()).toEqual({
    status: 503,
    body: 'not ready: the startup barrier is not passed\n',
  });
  expect(await lost.healthz()).toEqual({ status: 200, body: 'ok\n' });
  expect((await lost.metrics()).size).toBeGreaterThan(10);
  expect(lost.running()).toBe(true);
  const since = performance.now();
  expect(await lost.kill('SIGTERM')).toBe(0);
  expect(performance.now() - since).toBeLessThan(STOPS_WITHIN_MS);
});
