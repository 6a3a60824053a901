import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import type { Daemon } from './daemon.ts';

const LOOK_AGAIN_MS = 50;
const READY_WITHIN_MS = 120_000;
const REQUEST_WITHIN_MS = 5000;

/**
 * etcd listens on unix sockets in the cluster's own folder: no port to choose, none to lose to somebody else, and
 * nobody but this user can reach it. (The peer's address must look like host:port; it is a file of that name.)
 */
const PEER = 'unix://127.0.0.1:0';

function etcdSocket(dir: string): string {
  return `unix://${join(dir, 'etcd.sock')}`;
}

/** Without fsync: nothing here must survive a power cut, and it is what makes writes fast on a slow disk. */
export function etcdArgs(dir: string): string[] {
  return [
    '--name=test',
    `--data-dir=${join(dir, 'etcd')}`,
    '--unsafe-no-fsync',
    `--listen-client-urls=${etcdSocket(dir)}`,
    '--advertise-client-urls=http://127.0.0.1:0',
    `--listen-peer-urls=${PEER}`,
    `--initial-advertise-peer-urls=${PEER}`,
    `--initial-cluster=test=${PEER}`,
    '--log-level=error',
  ];
}

/** `flags` come last, so that they win. */
export function apiserverArgs(
  dir: string,
  port: number,
  nodePortRange: string,
  flags: readonly string[],
): string[] {
  return [
    `--etcd-servers=${etcdSocket(dir)}`,
    `--secure-port=${port}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    // An endpoint of the loopback address is refused by validation again and again: do not try.
    '--endpoint-reconciler-type=none',
    `--cert-dir=${join(dir, 'certs')}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${join(dir, 'sa.pub')}`,
    `--service-account-signing-key-file=${join(dir, 'sa.key')}`,
    `--token-auth-file=${join(dir, 'tokens.csv')}`,
    '--authorization-mode=RBAC',
    // No controller makes the default service accounts that it would ask of every Pod.
    '--disable-admission-plugins=ServiceAccount',
    '--service-cluster-ip-range=10.0.0.0/16',
    `--service-node-port-range=${nodePortRange}`,
    '--allow-privileged=true',
    '--profiling=false',
    ...flags,
  ];
}

/** The apiserver signs its certificate itself and writes its authority behind it into the same file. */
export function caFileIn(dir: string): string {
  return join(dir, 'certs', 'apiserver.crt');
}

/**
 * Waits until the apiserver is ready and has made what it makes itself: the namespaces and the `kubernetes` Service
 * (a Service created earlier may still be refused for want of an address range). Returns its version ("v1.36.3").
 * Throws with the end of its log when one of the processes ends, with both logs after 120 s.
 */
export async function untilReady(
  daemons: readonly Daemon[],
  url: string,
  dir: string,
  token: string,
): Promise<string> {
  const deadline = performance.now() + READY_WITHIN_MS;
  for (;;) {
    // Whoever took our port may accept connections and never answer: the end of the process is the sooner news.
    const ready = versionIfReady(url, dir, token);
    const version = await Promise.race([
      ready,
      ...daemons.map((daemon) => daemon.ended.then(() => undefined)),
    ]);
    if (version !== undefined) return version;
    for (const daemon of daemons) {
      if (!daemon.running()) throw new Error(`${daemon.name} ended:\n${await daemon.logTail()}`);
    }
    if (performance.now() > deadline) {
      const logs = await Promise.all(
        daemons.map(async (daemon) => `${daemon.name}:\n${await daemon.logTail()}`),
      );
      throw new Error(`kube-apiserver is not ready after ${READY_WITHIN_MS / 1000} s:\n${logs.join('\n')}`);
    }
    await sleep(LOOK_AGAIN_MS);
  }
}

async function versionIfReady(url: string, dir: string, token: string): Promise<string | undefined> {
  let agent: Agent | undefined;
  try {
    agent = new Agent({ connect: { ca: await readFile(caFileIn(dir)) } });
    const headers = { authorization: `Bearer ${token}` };
    for (const path of [
      '/readyz',
      '/api/v1/namespaces/default',
      '/api/v1/namespaces/default/services/kubernetes',
    ]) {
      const { statusCode, body } = await request(url + path, options(agent, headers));
      await body.dump();
      if (statusCode !== 200) return undefined;
    }
    const { body } = await request(`${url}/version`, options(agent, headers));
    const { gitVersion }: { gitVersion: string } = JSON.parse(await body.text());
    return gitVersion;
  } catch {
    return undefined;
  } finally {
    await agent?.destroy();
  }
}

function options(dispatcher: Agent, headers: Record<string, string>) {
  return { dispatcher, headers, signal: AbortSignal.timeout(REQUEST_WITHIN_MS) };
}
