import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Agent, request } from 'undici';
import { readFileSync } from 'node:fs';
import { type Client, createClient } from '../cluster/client.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import type { Fault, Proxy, WatchFault } from './proxy.ts';
import { startProxy } from './proxy.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
/** Nothing comes for so long: nothing comes. */
const SILENT_MS = 300;
const LOST = /^(ECONNRESET|UND_ERR_SOCKET)$/;

let cluster: Cluster;
let client: Client;
let proxy: Proxy;
let url: string;
let agent: Agent;
let made = 0;

beforeAll(async () => {
  cluster = await startCluster();
  client = createClient(cluster);
  proxy = await startProxy(cluster);
  agent = new Agent();
  url =
    /server: "?([^"\s]+)|"server": "([^"]+)"/
      .exec(readFileSync(proxy.kubeconfig, 'utf8'))
      ?.slice(1)
      .join('') ?? '';
});
afterAll(async () => {
  await agent?.destroy();
  await proxy?.close();
  await client?.close();
  await cluster?.stop();
});

interface Heard {
  status: number;
  headers: Record<string, unknown>;
  text: string;
}

async function send(method: 'GET' | 'POST', path: string, body?: object, ms = 10_000): Promise<Heard> {
  const {
    statusCode,
    headers,
    body: answer,
  } = await request(url + path, {
    dispatcher: agent,
    method,
    headers: { authorization: `Bearer ${cluster.token('admin')}`, 'content-type': 'application/json' },
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(ms),
  });
  return { status: statusCode, headers, text: await answer.text() };
}

/** Creates a ConfigMap this way: what was heard, or the code of the error, and whether it is there now. */
async function create(fault?: Fault, ms?: number): Promise<{ heard: Heard | string; isThere: boolean }> {
  const name = `map-${(made += 1)}`;
  proxy.play(fault === undefined ? {} : { onRequest: () => fault });
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } };
  const heard = await send('POST', MAPS, body, ms).catch((error: { code?: unknown; name: string }) =>
    typeof error.code === 'string' ? error.code : error.name,
  );
  proxy.play({});
  const { status } = await client.raw('GET', `${MAPS}/${name}`);
  return { heard, isThere: status === 200 };
}

describe('a request', () => {
  test('passes with its rights, and each write that was answered is noted', async () => {
    proxy.forget();
    const { heard, isThere } = await create();
    expect(heard).toMatchObject({ status: 201 });
    expect(isThere).toBe(true);
    const { resourceVersion } = (
      JSON.parse((heard as Heard).text) as { metadata: { resourceVersion: string } }
    ).metadata;
    expect(proxy.answered).toMatchObject([
      { resource: 'configmaps', object: `map-${made}`, status: 201, resourceVersion },
    ]);
    const stranger = await request(`${url}${MAPS}`, { headers: { authorization: 'Bearer nobody' } });
    await stranger.body.dump();
    expect(stranger.statusCode).toBe(401);
  });

  test.each<[string, Fault, RegExp, boolean]>([
    ['is lost before it takes effect', { at: 'before', do: 'reset' }, LOST, false],
    ['is lost after it took effect', { at: 'after', do: 'reset' }, LOST, true],
    ['hangs before it takes effect', { at: 'before', do: 'hang' }, /^TimeoutError$/, false],
    ['hangs after it took effect', { at: 'after', do: 'hang' }, /^TimeoutError$/, true],
  ])('%s', async (_, fault, heard, isThere) => {
    const result = await create(fault, SILENT_MS);
    expect(result.heard).toMatch(heard);
    expect(result.isThere).toBe(isThere);
  });

  test('is refused with Retry-After, and nothing is done', async () => {
    const fault: Fault = {
      at: 'before',
      do: 'answer',
      status: 429,
      reason: 'TooManyRequests',
      retryAfterSeconds: 2,
    };
    const { heard, isThere } = await create(fault);
    expect(heard).toMatchObject({ status: 429, headers: { 'retry-after': '2' } });
    expect(JSON.parse((heard as Heard).text)).toMatchObject({ kind: 'Status', reason: 'TooManyRequests' });
    expect(isThere).toBe(false);
  });

  test('is answered with half of the answer, or the connection breaks in it', async () => {
    const { heard, isThere } = await create({ at: 'after', do: 'cut' });
    expect(() => JSON.parse((heard as Heard).text) as unknown).toThrow(SyntaxError);
    expect(isThere).toBe(true);
    const broken = await create({ at: 'after', do: 'break' });
    expect(broken).toMatchObject({ heard: expect.any(String), isThere: true });
  });

  test('a list may be an older one', async () => {
    proxy.forget();
    const before = await send('GET', MAPS);
    await create();
    proxy.play({ onRequest: () => ({ at: 'before', do: 'replay', age: 0 }) });
    const stale = await send('GET', MAPS);
    proxy.play({});
    expect(stale.text).toBe(before.text);
    expect((await send('GET', MAPS)).text).not.toBe(before.text);
  });

  test('that was not sent on when its sender died never takes effect', async () => {
    proxy.freeze();
    const lost = create();
    await sleep(SILENT_MS);
    proxy.resetConnections();
    proxy.thaw();
    expect(await lost).toMatchObject({ heard: expect.any(String), isThere: false });
  });

  test('on a connection that is half-open is never answered; on a new one it is', async () => {
    await create();
    proxy.halfOpen();
    expect(await create(undefined, SILENT_MS)).toEqual({ heard: 'TimeoutError', isThere: false });
    proxy.mend();
    expect((await create()).isThere).toBe(true);
  });

  test('of who is cut off is never answered, on a new connection neither; of others it is', async () => {
    const from = (name: string) => send('GET', `/${name}${MAPS}`, undefined, SILENT_MS);
    const reconnect = proxy.cutOff('process-1');
    await expect(from('process-1')).rejects.toThrow(/timeout/);
    await expect(from('process-1')).rejects.toThrow(/timeout/);
    expect(await from('process-2')).toMatchObject({ status: 200 });
    reconnect();
    expect(await from('process-1')).toMatchObject({ status: 200 });
  });

  test('finds nobody who listens while it is down', async () => {
    await proxy.goDown();
    await expect.poll(() => create()).toMatchObject({ heard: 'ECONNREFUSED' });
    await proxy.comeUp();
    expect((await create()).isThere).toBe(true);
  });
});

describe('a watch', () => {
  /** What is heard of a watch until it ends, or nothing came for a while; `during` once it is open. */
  async function watch(
    fault: WatchFault | undefined,
    during: () => Promise<unknown>,
  ): Promise<{ status: number; text: string; end: string }> {
    const from = (await client.list(MAPS)).resourceVersion;
    proxy.play(fault === undefined ? {} : { onWatch: () => fault });
    const gone = new AbortController();
    const { statusCode, body } = await request(`${url}${MAPS}?watch=true&resourceVersion=${from}`, {
      dispatcher: agent,
      headers: { authorization: `Bearer ${cluster.token('admin')}` },
      signal: gone.signal,
    });
    let text = '';
    let timer = setTimeout(() => gone.abort(), 4 * SILENT_MS);
    try {
      await during();
      for await (const chunk of body) {
        text += String(chunk);
        clearTimeout(timer);
        timer = setTimeout(() => gone.abort(), 4 * SILENT_MS);
      }
      return { status: statusCode, text, end: 'ended' };
    } catch {
      return { status: statusCode, text, end: gone.signal.aborted ? 'silent' : 'broken' };
    } finally {
      clearTimeout(timer);
      proxy.play({});
    }
  }
  const createOne = () =>
    client.create(MAPS, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `map-${(made += 1)}` } });

  test('passes line by line', async () => {
    const { text, end } = await watch(undefined, createOne);
    expect(end).toBe('silent');
    expect(text.split('\n').filter((line) => line.includes(`"map-${made}"`))).toHaveLength(1);
  });

  test('is refused by 410, as a status or as an event', async () => {
    expect(await watch({ do: 'gone', as: 'status' }, createOne)).toMatchObject({ status: 410, end: 'ended' });
    const { status, text } = await watch({ do: 'gone', as: 'event' }, createOne);
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ type: 'ERROR', object: { code: 410, reason: 'Expired' } });
  });

  test.each<[WatchFault, string]>([
    [{ do: 'end', after: SILENT_MS }, 'ended'],
    [{ do: 'reset', after: SILENT_MS }, 'broken'],
    [{ do: 'silence', after: 0 }, 'silent'],
  ])('%o', async (fault, end) => {
    expect((await watch(fault, async () => undefined)).end).toBe(end);
  });

  test('is cut in the middle of a line', async () => {
    const { text, end } = await watch({ do: 'cut line', after: SILENT_MS }, async () => undefined);
    expect([text, end]).toEqual(['{"type":"MODIFIED","obj', 'ended']);
  });

  test('loses each so manieth event, and tells when', async () => {
    let lost = 0;
    const { text } = await watch({ do: 'drop', each: 2, happened: () => (lost += 1) }, async () => {
      for (let i = 0; i < 4; i += 1) await createOne();
    });
    const names = text.split('\n').flatMap((line) => /"name":"(map-\d+)"/.exec(line)?.[1] ?? []);
    expect(names).toEqual([`map-${made - 3}`, `map-${made - 1}`]);
    expect(lost).toBe(2);
  });

  test('tells only the last of changes that come close together', async () => {
    let lost = 0;
    const { text } = await watch(
      { do: 'coalesce', within: SILENT_MS, happened: () => (lost += 1) },
      async () => {
        await createOne();
        for (const at of ['1', '2', '3'])
          await client.patch(`${MAPS}/map-${made}`, 'merge', { data: { at } });
      },
    );
    const told = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; object: { data?: { at: string } } });
    expect(told.map(({ type, object }) => [type, object.data?.at])).toEqual([
      ['ADDED', undefined],
      ['MODIFIED', '3'],
    ]);
    expect(lost).toBe(2);
  });

  test('that is silent tells nothing more, one that lags tells it later', async () => {
    const silent = await watch({ do: 'silence', after: 0 }, async () => {
      await sleep(SILENT_MS);
      await createOne();
    });
    expect(silent).toMatchObject({ text: '', end: 'silent' });
    const since = performance.now();
    const late = await watch({ do: 'lag', ms: 3 * SILENT_MS }, createOne);
    expect(late.text).toContain(`"map-${made}"`);
    expect(performance.now() - since).toBeGreaterThan(3 * SILENT_MS);
  });
});
