import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { isAmbiguous, isKubeError, type KubeError } from '../../src/kube/errors.ts';
import type { ApiRequest, PatchType, TransportObserver } from '../../src/kube/transport.ts';
import { rig, until } from './rig.ts';
import { type Answer, json, reset, silence, status, text } from './scriptedServer.ts';

const get: ApiRequest = { method: 'GET', path: '/x' };
const contentType: PatchType = 'application/json-patch+json';
const patch: ApiRequest = {
  method: 'PATCH',
  path: '/x',
  body: [{ op: 'remove', path: '/a' }],
  contentType,
};

async function failure(promise: Promise<unknown>): Promise<KubeError> {
  const e = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!isKubeError(e)) throw new Error('it did not fail with a KubeError', { cause: e });
  return e;
}

/** Headers, a part of the promised body, and the connection is gone. */
const cut: Answer = (response) => {
  response.writeHead(200, { 'content-length': '100' });
  response.write('{"half":', () => response.socket?.destroy());
};

describe('a request', () => {
  test('carries credentials, user agent, query and body', async () => {
    const { server, transport } = await rig({ authorize: async () => ({ authorization: 'Bearer t' }) });
    server.on('PATCH /x', json({ ok: 1 }));
    const query = { fieldManager: 'me', dryRun: undefined, force: true, limit: 5 };
    await expect(transport.request({ ...patch, query })).resolves.toEqual({ ok: 1 });
    const [seen] = server.requests;
    expect(Object.fromEntries(seen?.query ?? [])).toEqual({ fieldManager: 'me', force: 'true', limit: '5' });
    expect(seen?.headers).toMatchObject({
      authorization: 'Bearer t',
      'user-agent': 'kube-test/1',
      accept: 'application/json',
      'content-type': 'application/json-patch+json',
    });
    expect(seen?.body).toBe('[{"op":"remove","path":"/a"}]');
  });

  test('has a body in JSON unless told otherwise, and text is given back as text', async () => {
    const { server, transport } = await rig();
    server.on('POST /x', json({}));
    server.on('GET /readyz', text('ok'));
    await transport.request({ method: 'POST', path: '/x', body: { a: 1 } });
    expect(server.requests[0]?.headers['content-type']).toBe('application/json');
    await expect(transport.request({ method: 'GET', path: '/readyz', accept: 'text/plain' })).resolves.toBe(
      'ok',
    );
  });

  test('keeps fields that nobody here knows (client-node drops them)', async () => {
    const { server, transport } = await rig();
    const object = { spec: { ports: [{ port: 1, somethingNew: true }], alsoNew: {} } };
    server.on('GET /x', json(object));
    await expect(transport.request(get)).resolves.toEqual(object);
  });

  test('tells its observer of every answer and every failed attempt', async () => {
    const seen: string[] = [];
    const observer: TransportObserver = {
      answered({ verb, method, code }) {
        seen.push(`${verb} ${method} ${code}`);
        throw new Error('and what the observer throws is its own affair');
      },
    };
    const { server, transport } = await rig({ observer });
    server.on('GET /x', reset, status(404));
    server.on('WATCH /x', status(403));
    await failure(transport.request(get));
    const signal = new AbortController().signal;
    const watch = transport.watch({ path: '/x', query: {}, inactivityMs: 1000, signal });
    await failure(watch[Symbol.asyncIterator]().next());
    expect(seen).toEqual(['GET GET <error>', 'GET GET 404', 'WATCH GET 403']);
  });
});

describe('errors', () => {
  test('a Status becomes a coded error with its causes, and says what was asked', async () => {
    const { server, transport } = await rig();
    const cause = {
      field: 'spec.ports[0].nodePort',
      message: 'provided port is already allocated',
      reason: 'FieldValueInvalid',
    };
    server.on(
      'PATCH /x',
      status(422, { reason: 'Invalid', message: 'Service "web" is invalid', details: { causes: [cause] } }),
    );
    const e = await failure(transport.request(patch));
    expect(e).toMatchObject({
      code: 'Invalid',
      status: 422,
      reason: 'Invalid',
      causes: [cause],
      request: 'PATCH /x',
    });
    expect(e.message).toBe('PATCH /x: the server rejected the content (422): Service "web" is invalid');
  });

  test.each([
    [400, '', 'BadRequest'],
    [403, 'Forbidden', 'Forbidden'],
    [404, 'NotFound', 'NotFound'],
    [405, '', 'BadRequest'],
    [409, 'Conflict', 'Conflict'],
    [409, 'AlreadyExists', 'AlreadyExists'],
    [410, 'Expired', 'Gone'],
    [418, '', 'BadRequest'],
    [500, 'InternalError', 'ServerError'],
    [503, 'ServiceUnavailable', 'ServerError'],
    [504, 'Timeout', 'Timeout'],
    [599, '', 'ServerError'],
    [302, '', 'BadResponse'],
  ])('%i %s is %s', async (code, reason, expected) => {
    const { server, transport } = await rig();
    server.on('POST /x', status(code, { reason }));
    expect((await failure(transport.request({ method: 'POST', path: '/x', body: {} }))).code).toBe(expected);
    expect(server.requests).toHaveLength(1);
  });

  test.each([
    ['a body that is no JSON', text('<html>hello</html>')],
    ['an empty body', text('')],
    ['a body that is cut short', cut],
  ])('%s is a BadResponse, and a write that got one may have been done', async (_, answer) => {
    const { server, transport } = await rig();
    server.on('PATCH /x', answer);
    const e = await failure(transport.request(patch));
    expect([e.code, isAmbiguous(e), server.requests.length]).toEqual(['BadResponse', true, 1]);
  });

  test('a page of some proxy is an error by its status line', async () => {
    const { server, transport } = await rig();
    server.on('PATCH /x', text('<html>Bad Gateway</html>', 502));
    const e = await failure(transport.request(patch));
    expect([e.code, e.status, isAmbiguous(e)]).toEqual(['ServerError', 502, true]);
  });

  test('a page that repeats what was asked is quoted without the credentials, also where the quote is cut', async () => {
    const { server, transport } = await rig({
      authorize: async () => ({ authorization: 'Bearer s3cr3t-t0ken' }),
    });
    const echo: Answer = (response, { headers }) =>
      void response.writeHead(502).end(`${'.'.repeat(190)}${String(headers['authorization'])}`);
    server.on('*', echo);
    const signal = new AbortController().signal;
    const watch = transport.watch({ path: '/x', query: {}, inactivityMs: 1000, signal });
    const errors = [
      await failure(transport.request(get)),
      await failure(watch[Symbol.asyncIterator]().next()),
    ];
    server.on('GET /x', text('s3cr3t-t0ken is no JSON'));
    errors.push(await failure(transport.request(get)));
    server.on('WATCH /x', (response, { headers }) => void response.end(`${JSON.stringify({ headers })}\n`));
    const other = transport.watch({ path: '/x', query: {}, inactivityMs: 1000, signal });
    errors.push(await failure(other[Symbol.asyncIterator]().next()));
    for (const e of errors) expect(inspect(e, { depth: null })).not.toMatch(/s3cr3t|s3c/);
    expect(errors[2]?.message).toContain('… is no JSON');
  });

  test('"range is full" is a decision of the server; trouble with etcd is a doubt', async () => {
    const { server, transport } = await rig();
    const internal = (message: string): Answer => status(500, { reason: 'InternalError', message });
    server.on(
      'PATCH /x',
      internal('failed to allocate a nodePort: range is full'),
      internal('etcdserver: request timed out'),
    );
    expect(isAmbiguous(await failure(transport.request(patch)))).toBe(false);
    expect(isAmbiguous(await failure(transport.request(patch)))).toBe(true);
  });

  test('an abort is Aborted, before and during', async () => {
    const { server, transport } = await rig();
    server.on('GET /x', silence);
    expect((await failure(transport.request({ ...get, signal: AbortSignal.abort() }))).code).toBe('Aborted');
    expect(server.requests).toEqual([]);
    const abort = new AbortController();
    const during = failure(transport.request({ ...get, signal: abort.signal }));
    await until(() => server.requests.length === 1);
    abort.abort();
    expect([(await during).code, isAmbiguous(await during)]).toEqual(['Aborted', true]);
  });
});

describe('time', () => {
  test('a server that never answers is given up after timeoutMs', async () => {
    const { server, transport, clock } = await rig();
    server.on('PATCH /x', silence);
    const e = failure(transport.request(patch));
    await until(() => server.requests.length === 1);
    clock.advance(29_999);
    expect(clock.pending).toBe(1);
    clock.advance(1);
    expect(await e).toMatchObject({ code: 'Timeout', request: 'PATCH /x' });
    expect(isAmbiguous(await e)).toBe(true);
  });

  test('the body is within that time too', async () => {
    const { server, transport, clock } = await rig();
    let begun = false;
    server.on('GET /x', (response) => void response.writeHead(200).write('{', () => (begun = true)));
    const e = failure(transport.request({ ...get, timeoutMs: 5000 }));
    await until(() => begun);
    clock.advance(5000);
    expect((await e).code).toBe('Timeout');
  });

  test('nothing is left behind on the clock', async () => {
    const { server, transport, clock } = await rig();
    server.on('GET /x', json({}));
    await transport.request(get);
    expect(clock.pending).toBe(0);
  });
});

describe('tries', () => {
  test('429 is tried again after Retry-After, a PATCH too (undici cannot replay its body)', async () => {
    const { server, transport, clock } = await rig();
    server.on('PATCH /x', status(429, {}, { 'retry-after': '2' }), json({ ok: 1 }));
    const answer = transport.request(patch);
    await until(() => clock.pending === 2);
    clock.advance(1999);
    expect(server.requests).toHaveLength(1);
    clock.advance(1);
    await expect(answer).resolves.toEqual({ ok: 1 });
    expect(server.requests.map(({ body }) => body)).toEqual([
      server.requests[0]?.body,
      server.requests[0]?.body,
    ]);
  });

  test('jitter only ever makes the wait longer', async () => {
    const { server, transport, clock } = await rig({ random: () => 0.999 });
    server.on('GET /x', status(429, {}, { 'retry-after': '4' }), json({}));
    const answer = transport.request(get);
    await until(() => clock.pending === 2);
    clock.advance(4900);
    expect(clock.pending).toBe(2);
    clock.advance(100);
    await answer;
  });

  test('429 without Retry-After: after a second', async () => {
    const { server, transport, clock } = await rig();
    server.on('GET /x', status(429), json({}));
    const answer = transport.request(get);
    await until(() => clock.pending === 2);
    clock.advance(1000);
    await answer;
  });

  test('503 is tried again if it names a time, for every verb; else it is an error', async () => {
    const { server, transport, clock } = await rig();
    server.on('POST /x', status(503, {}, { 'retry-after': '1' }), status(503));
    const e = failure(transport.request({ method: 'POST', path: '/x', body: {} }));
    await until(() => clock.pending === 2);
    clock.advance(1000);
    expect(await e).toMatchObject({ code: 'ServerError', status: 503 });
    expect(server.requests).toHaveLength(2);
  });

  test('at most ten times', async () => {
    const { server, transport } = await rig();
    server.on('GET /x', status(429, {}, { 'retry-after': '0' }));
    expect((await failure(transport.request(get))).code).toBe('TooManyRequests');
    expect(server.requests).toHaveLength(10);
  });

  test('a wait that would not end in time is not begun, and the error says how long it was', async () => {
    const { server, transport } = await rig();
    server.on('PATCH /x', status(429, {}, { 'retry-after': '60' }));
    const e = await failure(transport.request({ ...patch, timeoutMs: 10_000 }));
    expect([e.code, e.retryAfterMs, isAmbiguous(e)]).toEqual(['TooManyRequests', 60_000, false]);
    expect(server.requests).toHaveLength(1);
  });

  test('an abort ends the wait', async () => {
    const { server, transport, clock } = await rig();
    server.on('GET /x', status(429, {}, { 'retry-after': '5' }));
    const abort = new AbortController();
    const e = failure(transport.request({ ...get, signal: abort.signal }));
    await until(() => clock.pending === 2);
    abort.abort();
    expect([(await e).code, isAmbiguous(await e)]).toEqual(['Aborted', false]);
    expect([server.requests.length, clock.pending]).toEqual([1, 0]);
  });

  test('a GET is sent again, once, when its connection turns out dead', async () => {
    const { server, transport } = await rig();
    server.on('GET /x', reset, json({ ok: 1 }));
    await expect(transport.request(get)).resolves.toEqual({ ok: 1 });
    server.on('GET /x', reset);
    const e = await failure(transport.request(get));
    expect([e.code, e.reason, server.requests.length]).toEqual(['Network', 'ConnectionLost', 4]);
  });

  test('a write is never sent again: it may have been done', async () => {
    const { server, transport } = await rig();
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
      server.on(`${method} /x`, reset);
      const e = await failure(transport.request({ method, path: '/x', body: {} }));
      expect([e.code, isAmbiguous(e), server.seen(`${method} /x`).length]).toEqual(['Network', true, 1]);
    }
  });
});

describe('credentials', () => {
  test('401: once more with fresh ones, for a token that was rotated', async () => {
    const asked: boolean[] = [];
    const authorize = async ({ fresh = false } = {}): Promise<Record<string, string>> => {
      asked.push(fresh);
      return { authorization: fresh ? 'Bearer new' : 'Bearer old' };
    };
    const { server, transport } = await rig({ authorize });
    server.on('PATCH /x', status(401), json({ ok: 1 }));
    await expect(transport.request(patch)).resolves.toEqual({ ok: 1 });
    expect(server.requests.map(({ headers }) => headers['authorization'])).toEqual([
      'Bearer old',
      'Bearer new',
    ]);
    server.on('PATCH /x', status(401));
    expect((await failure(transport.request(patch))).code).toBe('Unauthorized');
    expect([asked, server.requests.length]).toEqual([[false, true, false, true], 4]);
  });

  test('a plugin that fails is Unauthorized, and nothing was sent', async () => {
    const authorize = (): Promise<never> => Promise.reject(new Error('aws: command not found'));
    const { server, transport } = await rig({ authorize });
    const e = await failure(transport.request(patch));
    expect([e.code, e.reason, isAmbiguous(e)]).toEqual(['Unauthorized', 'NoCredentials', false]);
    expect(e.message).toContain('aws: command not found');
    expect(server.requests).toEqual([]);
  });

  test('a plugin that hangs is within timeoutMs too', async () => {
    const { server, transport, clock } = await rig({ authorize: () => new Promise(() => undefined) });
    const e = failure(transport.request({ ...patch, timeoutMs: 1000 }));
    clock.advance(1000);
    expect([(await e).code, isAmbiguous(await e)]).toEqual(['Timeout', false]);
    expect(server.requests).toEqual([]);
  });
});
