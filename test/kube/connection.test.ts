import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { loadConnection } from '../../src/kube/connection.ts';
import { createTransport } from '../../src/kube/transport.ts';
import { createWire } from '../../src/kube/wire.ts';
import { manualClock } from '../support/manualClock.ts';
import { json, scriptedServer, status } from './scriptedServer.ts';
import { selfSigned } from './selfSigned.ts';

beforeEach(() => {
  // The machine's own configuration has no say here.
  vi.stubEnv('KUBECONFIG', '');
  vi.stubEnv('HOME', directory());
  onTestFinished(() => void vi.unstubAllEnvs());
});

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'connection-test-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

interface Config {
  cluster?: object;
  user?: object;
  context?: object;
}

/** A kubeconfig with the context `main`, and `other` that leads elsewhere. Returns its path. */
function kubeconfig({ cluster, user = {}, context }: Config, path = join(directory(), 'config')): string {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'main',
    contexts: [
      { name: 'main', context: { cluster: 'c', user: 'u', ...context } },
      { name: 'other', context: { cluster: 'd', user: 'u', namespace: 'shop' } },
    ],
    clusters: [
      { name: 'c', cluster: { server: 'https://one.example:6443', ...cluster } },
      { name: 'd', cluster: { server: 'https://two.example/prefix/' } },
    ],
    users: [{ name: 'u', user }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('from a kubeconfig', () => {
  test('server, namespace, TLS material as text; verified unless it says otherwise', async () => {
    const path = kubeconfig({
      cluster: { 'certificate-authority-data': base64(selfSigned.cert), 'tls-server-name': 'inside' },
      user: { 'client-certificate-data': base64('CERT'), 'client-key-data': base64('KEY') },
      context: { namespace: 'mine' },
    });
    const { server, tls, namespace, authorize } = await loadConnection({ kubeconfig: path });
    expect([server.href, namespace]).toEqual(['https://one.example:6443/', 'mine']);
    const expected = {
      ca: selfSigned.cert,
      cert: 'CERT',
      key: 'KEY',
      servername: 'inside',
      rejectUnauthorized: true,
    };
    expect(tls).toEqual(expected);
    expect(await authorize()).toEqual({});
  });

  test('files beside it are found from there', async () => {
    const home = directory();
    writeFileSync(join(home, 'ca.crt'), selfSigned.cert);
    const path = kubeconfig({ cluster: { 'certificate-authority': 'ca.crt' } }, join(home, 'config'));
    expect((await loadConnection({ kubeconfig: path })).tls.ca).toBe(selfSigned.cert);
  });

  test('another context', async () => {
    const connection = await loadConnection({ kubeconfig: kubeconfig({}), context: 'other' });
    expect([connection.server.href, connection.namespace]).toEqual(['https://two.example/prefix', 'shop']);
  });

  test('insecure-skip-tls-verify is obeyed', async () => {
    const path = kubeconfig({ cluster: { 'insecure-skip-tls-verify': true } });
    expect((await loadConnection({ kubeconfig: path })).tls.rejectUnauthorized).toBe(false);
  });

  test('KUBECONFIG is where it is looked for', async () => {
    vi.stubEnv('KUBECONFIG', kubeconfig({}));
    expect((await loadConnection({})).server.host).toBe('one.example:6443');
  });

  test('plain http is allowed, as in kubectl', async () => {
    const server = await scriptedServer();
    onTestFinished(() => server.close());
    server.on('GET /version', json({ fine: true }));
    const path = kubeconfig({ cluster: { server: server.url.origin }, user: { token: 'secret' } });
    const connection = await loadConnection({ kubeconfig: path });
    const options = {
      authorize: connection.authorize,
      host: '',
      userAgent: 't',
      clock: manualClock(),
      random: () => 0,
    };
    const transport = createTransport({ wire: createWire(connection), ...options });
    onTestFinished(() => transport.close());
    await transport.request({ method: 'GET', path: '/version' });
    expect(server.requests[0]?.headers['authorization']).toBe('Bearer secret');
  });
});

describe('an error says what is wrong and what to do', () => {
  test.each([
    [
      'a file that is not there',
      { kubeconfig: '/nowhere/config' },
      /'\/nowhere\/config'.*ENOENT.*--kubeconfig/,
    ],
    ['nothing at all', {}, /no kubeconfig at '~\/\.kube\/config'.*--kubeconfig/],
  ])('%s', async (_, options, message) => {
    await expect(loadConnection(options)).rejects.toThrow(message);
  });

  test('a context that is not there', async () => {
    const path = kubeconfig({});
    await expect(loadConnection({ kubeconfig: path, context: 'mian' })).rejects.toThrow(
      `no context 'mian' in the kubeconfig '${path}'. Choose one of 'main', 'other'`,
    );
  });

  test.each([
    [
      'a server that is no URL',
      { server: 'one.example:6443' },
      "server 'one.example:6443' is no http(s) URL",
    ],
    ['a proxy', { 'proxy-url': 'http://proxy' }, "proxy-url 'http://proxy' is not supported"],
  ])('%s', async (_, cluster, message) => {
    await expect(loadConnection({ kubeconfig: kubeconfig({ cluster }) })).rejects.toThrow(message);
  });

  test('a file that is no kubeconfig', async () => {
    const path = join(directory(), 'config');
    writeFileSync(path, '{{{');
    await expect(loadConnection({ kubeconfig: path })).rejects.toThrow(
      `cannot read the kubeconfig '${path}'`,
    );
  });

  test('a cluster that the context names and nobody knows', async () => {
    const path = kubeconfig({ context: { cluster: 'lost' } });
    await expect(loadConnection({ kubeconfig: path })).rejects.toThrow(
      "context 'main' names no known cluster",
    );
  });
});

describe('credentials', () => {
  test('a user name and password', async () => {
    const { authorize } = await loadConnection({
      kubeconfig: kubeconfig({ user: { username: 'u', password: 'p' } }),
    });
    expect(await authorize()).toEqual({ authorization: `Basic ${base64('u:p')}` });
  });

  test('a token file is read again when the server has refused the token; its line end is not part of it', async () => {
    const file = join(directory(), 'token');
    writeFileSync(file, 'old\n');
    const clock = manualClock();
    const { authorize } = await loadConnection({
      kubeconfig: kubeconfig({ user: { 'token-file': file } }),
      clock,
    });
    expect(await authorize()).toEqual({ authorization: 'Bearer old' });
    writeFileSync(file, 'new\n');
    expect(await authorize()).toEqual({ authorization: 'Bearer old' });
    expect(await authorize({ fresh: true })).toEqual({ authorization: 'Bearer new' });
  });

  test('an exec plugin is not run for every request, nor for every refusal', async () => {
    const file = join(directory(), 'runs');
    const credential = {
      kind: 'ExecCredential',
      apiVersion: 'client.authentication.k8s.io/v1',
      status: { token: 'plugged' },
    };
    const program = `require('fs').appendFileSync(${JSON.stringify(file)}, 'x'); console.log(${JSON.stringify(JSON.stringify(credential))})`;
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: process.execPath,
      args: ['-e', program],
    };
    const clock = manualClock();
    const { authorize } = await loadConnection({ kubeconfig: kubeconfig({ user: { exec } }), clock });
    const runs = async (): Promise<number> => (await import('node:fs')).readFileSync(file, 'utf8').length;
    for (let i = 0; i < 3; i++) {
      clock.advance(60_000);
      expect(await authorize()).toEqual({ authorization: 'Bearer plugged' });
    }
    expect(await runs()).toBe(1);
    for (let i = 0; i < 3; i++) await authorize({ fresh: true });
    expect(await runs()).toBe(2);
    clock.advance(5000);
    await authorize({ fresh: true });
    expect(await runs()).toBe(3);
  });

  test('files are read again after ten seconds, not for every request (client-node: for every request)', async () => {
    const home = directory();
    const ca = join(home, 'ca.crt');
    writeFileSync(ca, selfSigned.cert);
    const path = kubeconfig({ cluster: { 'certificate-authority': 'ca.crt' } }, join(home, 'config'));
    const clock = manualClock();
    const { authorize } = await loadConnection({ kubeconfig: path, clock });
    const headers = async (): Promise<object> => authorize();
    expect(await headers()).toEqual({});
    rmSync(ca);
    clock.advance(9_999);
    expect(await headers()).toEqual({});
    clock.advance(1);
    await expect(headers()).rejects.toThrow('ca.crt');
  });

  test('a plugin that fails says so', async () => {
    const exec = {
      command: process.execPath,
      args: ['-e', "console.error('log in first'); process.exit(1)"],
    };
    await expect(loadConnection({ kubeconfig: kubeconfig({ user: { exec } }) })).rejects.toThrow(
      'log in first',
    );
  });

  test('a rotated token gets through on the second try of the same request', async () => {
    const server = await scriptedServer();
    onTestFinished(() => server.close());
    server.on('POST /x', status(401), json({ fine: true }));
    const file = join(directory(), 'token');
    writeFileSync(file, 'old');
    const user = { 'token-file': file };
    const connection = await loadConnection({
      kubeconfig: kubeconfig({ cluster: { server: server.url.origin }, user }),
    });
    const options = {
      authorize: connection.authorize,
      host: '',
      userAgent: 't',
      clock: manualClock(),
      random: () => 0,
    };
    const transport = createTransport({ wire: createWire(connection), ...options });
    onTestFinished(() => transport.close());
    writeFileSync(file, 'new');
    await expect(transport.request({ method: 'POST', path: '/x', body: {} })).resolves.toEqual({
      fine: true,
    });
    expect(server.requests.map(({ headers }) => headers['authorization'])).toEqual([
      'Bearer old',
      'Bearer new',
    ]);
  });
});
