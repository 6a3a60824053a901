import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Client, createClient } from './cluster/client.ts';
import { type Cluster, startCluster } from './cluster/cluster.ts';
import { obtainControlPlane } from './cluster/obtain.ts';
import { freePort } from './cluster/ports.ts';

interface Service {
  spec: { clusterIP: string; ports: { nodePort?: number }[] };
}

const SERVICES = '/api/v1/namespaces/default/services';

function nodePortService(name: string, nodePort?: number) {
  const port = nodePort === undefined ? { port: 80 } : { port: 80, nodePort };
  return { metadata: { name }, spec: { type: 'NodePort', ports: [port] } };
}

describe('a cluster', () => {
  let cluster: Cluster;
  let admin: Client;

  beforeAll(async () => {
    cluster = await startCluster();
    admin = createClient(cluster);
  });

  afterAll(async () => {
    await admin?.close();
    await cluster?.stop();
  });

  test('says which version it is, and kubectl reaches it', async () => {
    const { stdout, code } = await cluster.kubectl(['version', '--output=json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).serverVersion.gitVersion).toBe(cluster.version);
    expect(cluster.version).toMatch(/^v1\.\d+\.\d+$/);
  });

  test('is verified by the authority it names, and by nothing else', async () => {
    expect(await admin.raw('GET', '/readyz')).toMatchObject({ status: 200, body: 'ok' });
    await expect(request(`${cluster.url}/readyz`)).rejects.toThrow(
      /self-signed certificate|unable to verify/,
    );
    const kubeconfig = readFileSync(cluster.kubeconfig('admin'), 'utf8');
    expect(kubeconfig).toContain(cluster.caFile);
    expect(kubeconfig).not.toContain('insecure');
  });

  test('refuses a token that it did not give out', async () => {
    const stranger = createClient({ ...cluster, token: () => 'guessed' });
    expect((await stranger.raw('GET', '/api/v1/namespaces')).status).toBe(401);
    await stranger.close();
  });

  test.for(['controller', 'team-a', 'team-b', 'team-c'] as const)(
    '%s has no rights until RBAC objects grant them',
    async (user) => {
      const client = createClient(cluster, user);
      await expect(client.list('/api/v1/services')).rejects.toMatchObject({ status: 403 });
      await expect(client.create(SERVICES, nodePortService('mine'))).rejects.toMatchObject({ status: 403 });
      await client.close();
    },
  );

  test('knows the controller by the name and groups of its service account', async () => {
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    const client = createClient(cluster, 'controller');
    const { status } = await client.create<{ status: { userInfo: { username: string; groups: string[] } } }>(
      '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      review,
    );
    await client.close();
    expect(status.userInfo.username).toBe('system:serviceaccount:nodeport-manager-system:nodeport-manager');
    expect(status.userInfo.groups.toSorted()).toEqual([
      'system:authenticated',
      'system:serviceaccounts',
      'system:serviceaccounts:nodeport-manager-system',
    ]);
  });

  test('gives a team what an RBAC object grants it, and kubectl speaks as that team', async () => {
    const may = () => cluster.kubectl(['get', 'services', '-n', 'granted'], { user: 'team-a' });
    await cluster.kubectl(['create', 'namespace', 'granted']);
    expect(await may()).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('User "team-a" cannot list'),
    });
    const granted = ['-n', 'granted', 'create'];
    await cluster.kubectl([...granted, 'role', 'reader', '--verb=list', '--resource=services']);
    await cluster.kubectl([...granted, 'rolebinding', 'readers', '--role=reader', '--group=teams']);
    await vi.waitFor(async () => expect((await may()).code).toBe(0), 10_000);
  });

  test('gives kubectl its standard input', async () => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'piped' }, data: { a: 'b' } };
    const applied = await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(object) });
    expect(applied).toMatchObject({ code: 0, stdout: 'configmap/piped created\n' });
  });

  test('keeps its data, its port and its certificate when the apiserver is restarted', async () => {
    const created = await admin.create<Service>(SERVICES, nodePortService('kept', 30500));
    const before = { ...cluster.pids(), url: cluster.url, ca: await readFile(cluster.caFile, 'utf8') };
    await cluster.restartApiserver();
    expect(await admin.get<Service>(`${SERVICES}/kept`)).toMatchObject({ spec: created.spec });
    expect(cluster.pids()).toMatchObject({ etcd: before.etcd, guard: before.guard });
    expect(cluster.pids().apiserver).not.toBe(before.apiserver);
    expect({ url: cluster.url, ca: await readFile(cluster.caFile, 'utf8') }).toEqual({
      url: before.url,
      ca: before.ca,
    });
  });

  test.for(['SIGTERM', 'SIGKILL'] as const)('refuses connections while stopped by %s', async (signal) => {
    await cluster.stopApiserver(signal);
    await expect(admin.get('/version')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(cluster.pids().apiserver).toBeUndefined();
    await cluster.startApiserver();
    expect(await admin.get('/version')).toMatchObject({ gitVersion: cluster.version });
  });

  test('does not start an apiserver that runs', async () => {
    await expect(cluster.startApiserver()).rejects.toThrow('the apiserver runs already: stop it first');
  });
});

describe('its options', () => {
  const started: Cluster[] = [];
  const start = async (...options: Parameters<typeof startCluster>) => {
    const cluster = await startCluster(...options);
    started.push(cluster);
    return cluster;
  };

  afterEach(async () => {
    await Promise.all(started.splice(0).map((cluster) => cluster.stop()));
  });

  test('two clusters at once have nothing in common, and each its own node port range', async () => {
    const [narrow, usual] = await Promise.all([start({ nodePortRange: '31000-31009' }), start()]);
    const outside = (client: Client) => client.create<Service>(SERVICES, nodePortService('outside', 32000));
    const [inNarrow, inUsual] = [createClient(narrow), createClient(usual)];
    await expect(outside(inNarrow)).rejects.toMatchObject({
      status: 422,
      message: expect.stringMatching(/The range of valid ports is 31000-31009$/),
    });
    expect((await outside(inUsual)).spec.ports).toMatchObject([{ nodePort: 32000 }]);
    expect(await inNarrow.list('/api/v1/services')).toMatchObject({
      items: [{ metadata: { name: 'kubernetes' } }],
    });
    expect([narrow.nodePortRange, usual.nodePortRange]).toEqual(['31000-31009', '30000-32767']);

    const foreign = createClient({ ...narrow, token: (user) => usual.token(user) });
    expect((await foreign.raw('GET', '/api')).status).toBe(401);
    await Promise.all([inNarrow, inUsual, foreign].map((client) => client.close()));
  });

  test('flags of the caller win over its own', async () => {
    const cluster = await start({ apiserverFlags: ['--service-cluster-ip-range=10.99.0.0/24'] });
    const client = createClient(cluster);
    expect(await client.get(`${SERVICES}/kubernetes`)).toMatchObject({ spec: { clusterIP: '10.99.0.1' } });
    await client.close();
  });

  test('a port that somebody else takes before the apiserver binds it is given up for another', async () => {
    const thief = createServer();
    thief.listen(await freePort(), '127.0.0.1');
    await once(thief, 'listening');
    const stolen = (thief.address() as { port: number }).port;
    const other = await freePort();
    const ports = [stolen, other];
    const cluster = await start({ choosePort: async () => ports.shift() ?? 0 });
    thief.close();
    expect(ports).toEqual([]);
    expect(cluster.url).toBe(`https://127.0.0.1:${other}`);
  });
});

describe('a cluster that cannot start', () => {
  let temp: string;

  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(temp, { recursive: true, force: true });
  });

  const inFolderOfItsOwn = async () => {
    temp = await mkdtemp(join(tmpdir(), 'cluster-test-'));
    await mkdir(join(temp, 'tmp'));
    vi.stubEnv('TMPDIR', join(temp, 'tmp'));
  };

  test('shows the end of the apiserver log, and leaves nothing behind', async () => {
    await inFolderOfItsOwn();
    const start = startCluster({ apiserverFlags: ['--no-such-flag'] });
    await expect(start).rejects.toThrow(/kube-apiserver ended:[^]*unknown flag: --no-such-flag/);
    expect(await readdir(join(temp, 'tmp'))).toEqual([]);
  });

  test("shows the end of etcd's log when that is the cause", async () => {
    const real = await obtainControlPlane();
    await inFolderOfItsOwn();
    await writeFile(join(temp, 'etcd'), '#!/bin/sh\necho "the disk is full"; exit 1\n');
    await chmod(join(temp, 'etcd'), 0o755);
    await symlink(real.kubeApiserver, join(temp, 'kube-apiserver'));
    await symlink(real.kubectl, join(temp, 'kubectl'));
    vi.stubEnv('KUBEBUILDER_ASSETS', temp);
    await expect(startCluster()).rejects.toThrow(/^etcd ended:\nthe disk is full$/);
    expect(await readdir(join(temp, 'tmp'))).toEqual([]);
  });
});

describe('nothing is left', () => {
  interface Held {
    etcd: number;
    apiserver: number;
    guard: number;
    dir: string;
  }

  const all: Held[] = [];

  /** A test that fails must not leave behind what it complains about. */
  afterEach(async () => {
    for (const held of all.splice(0)) {
      for (const pid of traces(held).running) process.kill(pid, 'SIGKILL');
      await rm(held.dir, { recursive: true, force: true });
    }
  });

  /** A process that starts a cluster, tells about it, and then does what `then` says. */
  async function holder(then: string) {
    const script = `
      const { startCluster } = await import(${JSON.stringify(join(import.meta.dirname, 'cluster/cluster.ts'))});
      const cluster = await startCluster();
      console.log(JSON.stringify({ ...cluster.pids(), dir: cluster.dir }));
      ${then}`;
    // In a group of its own, so that a signal to the group is what Ctrl-C in a terminal does.
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exited = once(child, 'exit');
    const [line]: unknown[] = await once(child.stdout, 'data');
    const held: Held = JSON.parse(String(line));
    all.push(held);
    return { pid: child.pid ?? 0, exited, held };
  }

  /** Dead and unburied counts as ended: some containers' first process does not bury. */
  function isRunning(pid: number): boolean {
    try {
      process.kill(pid, 0);
    } catch {
      return false;
    }
    return !existsSync(`/proc/${pid}/stat`) || !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  }

  const traces = ({ etcd, apiserver, guard, dir }: Held) => ({
    running: [etcd, apiserver, guard].filter(isRunning),
    folder: existsSync(dir),
  });
  const untilGone = (held: Held) =>
    vi.waitFor(() => expect(traces(held)).toEqual({ running: [], folder: false }), 15_000);

  const WAIT = 'setInterval(() => {}, 1000);';

  test.for(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'when the process that started it and its whole group get %s',
    async (signal) => {
      const { pid, exited, held } = await holder(WAIT);
      expect(traces(held)).toEqual({ running: [held.etcd, held.apiserver, held.guard], folder: true });
      process.kill(-pid, signal);
      await exited;
      await untilGone(held);
    },
  );

  test('when that process crashes', async () => {
    const { exited, held } = await holder('throw new Error("crash");');
    expect(await exited).toEqual([1, null]);
    await untilGone(held);
  });

  test('when that process comes to its end and forgot to stop it', async () => {
    const { exited, held } = await holder('');
    expect(await exited).toEqual([0, null]);
    await untilGone(held);
  });

  test('once stop() has resolved, however often it is called', async () => {
    const cluster = await startCluster();
    const { etcd, apiserver, guard } = cluster.pids();
    const held: Held = { etcd, apiserver: apiserver ?? 0, guard, dir: cluster.dir };
    expect(traces(held).running).toHaveLength(3);
    await Promise.all([cluster.stop(), cluster.stop()]);
    expect(traces(held)).toEqual({ running: [], folder: false });
    await cluster.stop();
  });

  test('once stop() has resolved, even if somebody killed the guard', async () => {
    const cluster = await startCluster();
    const { etcd, apiserver, guard } = cluster.pids();
    const held: Held = { etcd, apiserver: apiserver ?? 0, guard, dir: cluster.dir };
    process.kill(guard, 'SIGKILL');
    await cluster.stop();
    expect(traces(held)).toEqual({ running: [], folder: false });
  });
});
