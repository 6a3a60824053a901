import { once } from 'node:events';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { isAmbiguous, isKubeError, type KubeError } from '../../src/kube/errors.ts';
import { createTransport } from '../../src/kube/transport.ts';
import { createWire, type Wire, wireError, wireFailureOf } from '../../src/kube/wire.ts';
import { manualClock } from '../support/manualClock.ts';
import { rig, until } from './rig.ts';
import { json, type ScriptedServer, scriptedServer, silence, stream } from './scriptedServer.ts';
import { selfSigned } from './selfSigned.ts';

const authorize = async (): Promise<Record<string, string>> => ({});

/** A wire, and a transport over it, to a server that the test has made. */
function connect(
  url: URL,
  tls: { ca?: string; rejectUnauthorized?: boolean } = {},
  maxConnections = 64,
  mayWrite = (): boolean => true,
) {
  const wire = createWire(
    { server: url, tls: { rejectUnauthorized: true, ...tls }, authorize },
    { maxConnections, mayWrite },
  );
  const clock = manualClock();
  const transport = createTransport({
    wire,
    authorize,
    host: url.host,
    userAgent: 't',
    clock,
    random: () => 0,
  });
  onTestFinished(() => transport.close());
  return { wire, clock, transport };
}

async function serve(tls?: { key: string; cert: string }): Promise<ScriptedServer> {
  const server = await scriptedServer(tls);
  onTestFinished(() => server.close());
  return server;
}

async function failure(promise: Promise<unknown>): Promise<KubeError> {
  const e = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!isKubeError(e)) throw new Error('it did not fail with a KubeError', { cause: e });
  return e;
}

describe('connections', () => {
  test('200 GETs in a row share one connection (client-node opens 200)', async () => {
    const { server, transport } = await rig();
    server.on('GET /', json({}));
    for (let i = 0; i < 200; i++) await transport.request({ method: 'GET', path: '/' });
    expect(server.connections.opened).toBeLessThanOrEqual(2);
  });

  test('over TLS as well', async () => {
    const server = await serve(selfSigned);
    server.on('GET /', json({}));
    const { transport } = connect(server.url, { ca: selfSigned.cert });
    for (let i = 0; i < 200; i++) await transport.request({ method: 'GET', path: '/' });
    expect(server.connections.opened).toBeLessThanOrEqual(2);
  });

  test('as many as requests in flight, up to maxConnections; the rest wait and are not lost', async () => {
    const server = await serve();
    const held: (() => void)[] = [];
    server.on('GET /', (response) => void held.push(() => response.end('{}')));
    const { transport } = connect(server.url, {}, 4);
    const all = Promise.all(
      Array.from({ length: 10 }, () => transport.request({ method: 'GET', path: '/' })),
    );
    await until(() => held.length === 4);
    expect(server.connections.open).toBe(4);
    let answered = 0;
    while (answered < 10) {
      await until(() => held.length > answered);
      held[answered++]?.();
    }
    await all;
    expect(server.connections.opened).toBe(4);
  });

  test('watches never hold the connection of a request', async () => {
    const server = await serve();
    server.on('WATCH /', stream([]));
    server.on('GET /', json({ fine: true }));
    const { transport } = connect(server.url, {}, 1);
    const abort = new AbortController();
    const watches = Array.from({ length: 5 }, async () => {
      for await (const _ of transport.watch({
        path: '/',
        query: {},
        inactivityMs: 1000,
        signal: abort.signal,
      }));
    });
    await until(() => server.requests.length === 5);
    await expect(transport.request({ method: 'GET', path: '/' })).resolves.toEqual({ fine: true });
    abort.abort();
    await Promise.allSettled(watches);
  });

  test('HTTP/1.1 even to a server that would speak HTTP/2: a black-holed HTTP/2 session outlives every aborted call', async () => {
    const versions: string[] = [];
    const server = createSecureServer({ ...selfSigned, allowHTTP1: true }, (request, response) => {
      versions.push(request.httpVersion);
      response.end('{}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const url = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const { transport } = connect(url, { ca: selfSigned.cert });
    await transport.request({ method: 'GET', path: '/' });
    expect(versions).toEqual(['1.1']);
  });

  test('an address with a path, as of a proxy in front of many clusters, is put before every path', async () => {
    const server = await serve();
    server.on('GET /k8s/clusters/c-1/api', json({ fine: true }));
    const { transport } = connect(new URL('/k8s/clusters/c-1/', server.url));
    await expect(transport.request({ method: 'GET', path: '/api' })).resolves.toEqual({ fine: true });
  });
});

describe('a wire that asks whether it may write', () => {
  async function asking(tls?: { key: string; cert: string }) {
    const server = await serve(tls);
    server.on('GET /', json({}));
    server.on('PUT /', json({}));
    const may = { write: true };
    const ca = tls === undefined ? {} : { ca: tls.cert };
    const connected = connect(server.url, ca, undefined, () => may.write);
    return { server, may, ...connected };
  }

  test('sends no write when it may not, and says that nothing has happened; it reads on', async () => {
    const { server, may, transport } = await asking();
    await transport.request({ method: 'PUT', path: '/', body: {} });
    may.write = false;
    const refused = await failure(transport.request({ method: 'PUT', path: '/', body: {} }));
    expect([refused.code, isAmbiguous(refused)]).toEqual(['Aborted', false]);
    await transport.request({ method: 'GET', path: '/' });
    may.write = true;
    await transport.request({ method: 'PUT', path: '/', body: {} });
    expect(server.requests.map(({ method }) => method)).toEqual(['PUT', 'GET', 'PUT']);
    expect(server.connections.opened - server.connections.open).toBe(0);
  });

  test('asks when the connection stands, not before: a handshake may outlast the right to write', async () => {
    const { server, may, wire } = await asking(selfSigned);
    const bounds = { headersTimeoutMs: 0, bodyTimeoutMs: 0 };
    const written = wire.send('requests', { method: 'PUT', path: '/', headers: {}, body: '{}', ...bounds });
    may.write = false;
    expect(wireFailureOf(await written.catch((e: unknown) => e))).toBe('closed');
    // There was a connection: only the right was missing.
    await until(() => server.connections.opened === 1);
    expect(server.requests).toEqual([]);
  });
});

describe('half-open connections', () => {
  /** A wire with `count` idle connections, all of which the server then forgets without a FIN. */
  async function blackHoled(
    count: number,
  ): Promise<{ server: ScriptedServer; wire: Wire } & ReturnType<typeof connect>> {
    const server = await serve();
    const connected = connect(server.url);
    const held: (() => void)[] = [];
    server.on('GET /', (response) => void held.push(() => response.end('{}')));
    const all = Array.from({ length: count }, () =>
      connected.transport.request({ method: 'GET', path: '/' }),
    );
    await until(() => held.length === count);
    for (const answer of held) answer();
    await Promise.all(all);
    server.on('GET /', (response, request) =>
      request.connection <= count ? silence(response, request) : json({ fine: true })(response, request),
    );
    return { server, ...connected };
  }

  test('the first request that times out unheard retires the idle ones: no other pays', async () => {
    const { server, clock, transport } = await blackHoled(3);
    const first = failure(transport.request({ method: 'GET', path: '/', timeoutMs: 1000 }));
    await until(() => server.requests.length === 4);
    clock.advance(1000);
    expect((await first).code).toBe('Timeout');
    for (let i = 0; i < 3; i++) {
      await expect(transport.request({ method: 'GET', path: '/', timeoutMs: 1000 })).resolves.toEqual({
        fine: true,
      });
    }
  });

  test('a single slow request does not cost the others their connections', async () => {
    const { server, clock, transport } = await rig();
    server.on('GET /slow', silence);
    server.on('GET /', json({}));
    await transport.request({ method: 'GET', path: '/' });
    const slow = failure(transport.request({ method: 'GET', path: '/slow', timeoutMs: 1000 }));
    await until(() => server.seen('GET /slow').length === 1);
    await transport.request({ method: 'GET', path: '/' });
    clock.advance(1000);
    expect((await slow).code).toBe('Timeout');
    await transport.request({ method: 'GET', path: '/' });
    for (let i = 0; i < 3; i++) await transport.request({ method: 'GET', path: '/' });
    // Only the slow one's is gone.
    expect(server.connections.opened - server.connections.open).toBe(1);
  });

  test('a retired connection that was only slow may still answer', async () => {
    const server = await serve();
    const { transport, clock } = connect(server.url);
    let answer: (() => void) | undefined;
    server.on('GET /slow', (response) => void (answer = () => response.end('{"slow":true}')));
    server.on('GET /', silence);
    const slow = transport.request({ method: 'GET', path: '/slow' });
    const silent = failure(transport.request({ method: 'GET', path: '/', timeoutMs: 1000 }));
    await until(() => server.requests.length === 2);
    clock.advance(1000);
    expect((await silent).code).toBe('Timeout');
    answer?.();
    await expect(slow).resolves.toEqual({ slow: true });
  });

  test('an aborted request gives its connection up', async () => {
    const { server, transport } = await rig();
    server.on('GET /', silence);
    const abort = new AbortController();
    const request = failure(transport.request({ method: 'GET', path: '/', signal: abort.signal }));
    await until(() => server.requests.length === 1);
    abort.abort();
    expect((await request).code).toBe('Aborted');
    await until(() => server.connections.open === 0);
  });
});

describe('TLS', () => {
  test('a server that nobody vouches for is refused, and nothing is sent to it', async () => {
    const server = await serve(selfSigned);
    server.on('POST /', json({}));
    const e = await failure(connect(server.url).transport.request({ method: 'POST', path: '/', body: {} }));
    expect([e.code, e.reason]).toEqual(['Network', 'NotSent']);
    expect(isAmbiguous(e)).toBe(false);
    expect(server.requests).toEqual([]);
  });

  test('its CA makes it trusted', async () => {
    const server = await serve(selfSigned);
    server.on('GET /', json({ fine: true }));
    const { transport } = connect(server.url, { ca: selfSigned.cert });
    await expect(transport.request({ method: 'GET', path: '/' })).resolves.toEqual({ fine: true });
  });

  test('insecure-skip-tls-verify does as well, and only that', async () => {
    const server = await serve(selfSigned);
    server.on('GET /', json({ fine: true }));
    const { transport } = connect(server.url, { rejectUnauthorized: false });
    await expect(transport.request({ method: 'GET', path: '/' })).resolves.toEqual({ fine: true });
  });
});

describe("a silent server, by the wire's own time", () => {
  const request = { method: 'GET', path: '/', headers: {}, headersTimeoutMs: 50, bodyTimeoutMs: 50 };
  const failed = async (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => 'answered',
      (e: unknown) => wireFailureOf(e),
    );

  test('no headers, or no more of the body', async () => {
    const server = await serve();
    const { wire } = connect(server.url);
    server.on('GET /', silence, stream(['{']));
    await expect(failed(wire.send('requests', request))).resolves.toBe('timeout');
    await expect(failed(wire.send('requests', request).then(({ body }) => body.text()))).resolves.toBe(
      'timeout',
    );
  });

  test('repeated headers are joined', async () => {
    const server = await serve();
    const { wire } = connect(server.url);
    server.on('GET /', (response) => void response.setHeader('warning', ['a', 'b']).end('{}'));
    const { headers, body } = await wire.send('requests', request);
    expect(headers['warning']).toBe('a, b');
    await body.text();
  });
});

test('what no wire is known to throw counts as a broken connection, the cautious reading', () => {
  expect([
    wireFailureOf('?'),
    wireFailureOf(new Error('?')),
    wireFailureOf(wireError('unsent', '?')),
  ]).toEqual(['reset', 'reset', 'unsent']);
});

test('nobody at the address: nothing can have happened', async () => {
  const server = await serve();
  const { url } = server;
  await server.close();
  const e = await failure(connect(url).transport.request({ method: 'POST', path: '/', body: {} }));
  expect([e.code, e.reason, isAmbiguous(e)]).toEqual(['Network', 'NotSent', false]);
});

test('a closed wire sends nothing', async () => {
  const server = await serve();
  const { transport } = connect(server.url);
  await transport.close();
  const e = await failure(transport.request({ method: 'POST', path: '/', body: {} }));
  expect([e.code, isAmbiguous(e), server.requests.length]).toEqual(['Aborted', false, 0]);
});
