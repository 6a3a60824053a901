import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../cluster/ports.ts';
import { BUNDLE, NODE } from '../support/controller.ts';
import {
  type Answer,
  json,
  type ScriptedServer,
  scriptedServer,
  status,
} from '../../test/kube/scriptedServer.ts';
import { selfSigned } from '../../test/kube/selfSigned.ts';

/** Told apart from everything else that a log may say. */
const TOKEN = 'tkn-5f0c2a9e77d14b3c';
const PASSWORD = 'pwd-93b1c07a52ee4d68';
const KEY = selfSigned.key.split('\n')[1] ?? '';
const SECRETS = [TOKEN, PASSWORD, KEY].flatMap((secret) => [
  secret,
  Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  // As a parser quotes the beginning of what it does not understand.
  secret.slice(0, 12),
]);

const dir = mkdtempSync(join(tmpdir(), 'nodeport-manager-credentials-'));
const servers: ScriptedServer[] = [];

afterAll(async () => {
  await Promise.all(servers.map((server) => server.close()));
  rmSync(dir, { recursive: true, force: true });
});

async function serve(answer: Answer, tls?: typeof selfSigned): Promise<ScriptedServer> {
  const server = await scriptedServer(tls);
  servers.push(server);
  server.on('*', answer);
  return server;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

let files = 0;

function file(text: string): string {
  const path = join(dir, `file-${(files += 1)}`);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function kubeconfig(cluster: object, user: object): string {
  return file(
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'main',
      contexts: [{ name: 'main', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
    }),
  );
}

/** All that the controller prints at level debug until it has said this, or has ended. */
async function printed(path: string, until: RegExp, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const args = [
    BUNDLE,
    `--kubeconfig=${path}`,
    '--leader-elect=false',
    '--log-level=debug',
    `--log-format=${files % 2 === 0 ? 'json' : 'text'}`,
    '--metrics-bind-address=127.0.0.1:0',
    '--health-probe-bind-address=127.0.0.1:0',
  ];
  const child = spawn(NODE, args, { cwd: dir, env: { ...process.env, ...env } });
  let output = '';
  const hear = (chunk: Buffer): void => {
    output += String(chunk);
    if (until.test(output)) child.kill('SIGTERM');
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  await once(child, 'close');
  expect(output).toMatch(until);
  return output;
}

/** A plugin that prints this and ends with this code. */
function plugin(stdout: string, code: number, stderr = ''): object {
  const program = file(
    `process.stdout.write(${JSON.stringify(stdout)}); process.stderr.write(${JSON.stringify(stderr)}); process.exitCode = ${code};`,
  );
  return {
    exec: { apiVersion: 'client.authentication.k8s.io/v1', command: process.execPath, args: [program] },
  };
}

/** A page as some proxies show it: with all that was asked. */
const echo: Answer = (response, { headers }) => {
  response.writeHead(500, { 'content-type': 'text/plain' });
  response.end(`cannot reach the server. Request headers: ${JSON.stringify(headers)}`);
};

const basic = { username: 'u', password: PASSWORD };
const token = { token: TOKEN };

describe('no token, password or key is printed, at level debug, when', () => {
  let nobody: string;
  let here: (answer: Answer, tls?: typeof selfSigned) => Promise<string>;

  beforeAll(async () => {
    nobody = `https://127.0.0.1:${await freePort()}`;
    here = async (answer, tls) => (await serve(answer, tls)).url.origin;
  });

  async function staysSecret(path: string, until: RegExp, env?: NodeJS.ProcessEnv): Promise<void> {
    const output = await printed(path, until, env);
    for (const secret of SECRETS) expect(output).not.toContain(secret);
  }

  test('the server does not know the token', async () => {
    await staysSecret(kubeconfig({ server: await here(status(401)) }, token), /401/);
  });

  test('the server does not know the user name and password', async () => {
    await staysSecret(kubeconfig({ server: await here(status(401)) }, basic), /401/);
  });

  test('the server forbids everything', async () => {
    await staysSecret(kubeconfig({ server: await here(status(403)) }, token), /403/);
  });

  test('nobody listens', async () => {
    await staysSecret(kubeconfig({ server: nobody }, token), /ECONNREFUSED/);
  });

  test('nobody vouches for the server', async () => {
    const user = {
      ...token,
      'client-certificate-data': base64(selfSigned.cert),
      'client-key-data': base64(selfSigned.key),
    };
    await staysSecret(
      kubeconfig({ server: await here(json({}), selfSigned) }, user),
      /self-signed certificate/,
    );
  });

  test('the client key is none', async () => {
    const key = `-----BEGIN PRIVATE KEY-----\n${KEY}\n-----END PRIVATE KEY-----`;
    const user = { 'client-certificate-data': base64(selfSigned.cert), 'client-key-data': base64(key) };
    await staysSecret(kubeconfig({ server: nobody }, user), /"level":"(error|warn)"|error |warn /);
  });

  test.each([
    ['a proxy answers with all that it was asked', token],
    ['the same with user name and password', basic],
  ])('%s', async (_, user) => {
    await staysSecret(kubeconfig({ server: await here(echo) }, user), /cannot reach the server/);
  });

  test('the kubeconfig is no YAML, near the token', async () => {
    const text = `users:\n- name: u\n  user:\n    token: "${TOKEN}\n   password: [${PASSWORD}\n`;
    await staysSecret(file(text), /cannot read the kubeconfig/);
  });

  test('the kubeconfig is no YAML, on the line of the token', async () => {
    await staysSecret(file(`users:\n- user:\n    token: a: ${TOKEN}\n`), /cannot read the kubeconfig/);
  });

  test('the address of the server has user name and password in it', async () => {
    const server = nobody.replace('//', `//u:${PASSWORD}@`);
    await staysSecret(kubeconfig({ server }, token), /ECONNREFUSED/);
  });

  test('the address of the server is none', async () => {
    await staysSecret(kubeconfig({ server: `ftp://u:${PASSWORD}@host` }, token), /is no http\(s\) URL/);
  });

  test('a proxy is asked for, with user name and password', async () => {
    const cluster = { server: nobody, 'proxy-url': `http://u:${PASSWORD}@proxy:3128` };
    await staysSecret(kubeconfig(cluster, token), /proxy-url .* is not supported/);
  });

  test('a plugin fails, and has printed the token', async () => {
    const user = plugin(`{"status":{"token":"${TOKEN}"}}`, 1, 'log in first');
    await staysSecret(kubeconfig({ server: nobody }, user), /log in first/);
  });

  test.each([
    ['the bare token', TOKEN],
    ['the token and something else', `{"kind":"ExecCredential","status":{"token":"${TOKEN}"}} ok`],
    ['half of it', `{"kind":"ExecCredential","status":{"token":"${TOKEN}`],
  ])('a plugin prints %s', async (_, stdout) => {
    await staysSecret(kubeconfig({ server: nobody }, plugin(stdout, 0)), /cannot run/);
  });

  test('a plugin prints something else than credentials', async () => {
    await staysSecret(kubeconfig({ server: nobody }, plugin(`{"token":"${TOKEN}"}`, 0)), /cannot run/);
  });

  test('a plugin is missing', async () => {
    const user = {
      exec: { command: '/nowhere/plugin', args: [TOKEN], env: [{ name: 'P', value: PASSWORD }] },
    };
    await staysSecret(kubeconfig({ server: nobody }, user), /ENOENT/);
  });

  test('the token has a line break in it, which no header may', async () => {
    await staysSecret(kubeconfig({ server: nobody }, { token: `${TOKEN}\n${TOKEN}` }), /header|ECONNREFUSED/);
  });
});

describe('the server is verified', () => {
  const trusting = { 'insecure-skip-tls-verify': true };

  test('also when the environment tells Node not to', async () => {
    const server = await serve(json({}), selfSigned);
    const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    await printed(kubeconfig({ server: server.url.origin }, token), /self-signed certificate/, env);
    expect(server.requests).toEqual([]);
  });

  test('unless the kubeconfig says insecure-skip-tls-verify, and then the log warns', async () => {
    const server = await serve(status(503), selfSigned);
    const output = await printed(kubeconfig({ server: server.url.origin, ...trusting }, token), /503/);
    expect(output).toMatch(/warn.*insecure-skip-tls-verify/);
    expect(server.requests[0]?.headers['authorization']).toBe(`Bearer ${TOKEN}`);
  });

  test('or that it is reached by plain http, and then the log warns', async () => {
    const output = await printed(kubeconfig({ server: (await serve(status(503))).url.origin }, token), /503/);
    expect(output).toMatch(/warn.*plain http/);
  });

  test('and where it is, nothing is warned of', async () => {
    const { url } = await serve(status(503), selfSigned);
    const cluster = { server: url.origin, 'certificate-authority-data': base64(selfSigned.cert) };
    const output = await printed(kubeconfig(cluster, token), /503/);
    expect(output).not.toMatch(/insecure-skip-tls-verify|plain http/);
  });

  test('and credentials go nowhere else: a redirect is an error, not followed', async () => {
    const elsewhere = await serve(json({}));
    const server = await serve((response) => {
      response.writeHead(307, { location: `${elsewhere.url.origin}/api/v1/services` });
      response.end();
    });
    await printed(kubeconfig({ server: server.url.origin }, token), /307/);
    expect(elsewhere.requests).toEqual([]);
  });
});
