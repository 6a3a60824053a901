import { expect, onTestFinished, test } from 'vitest';
import { parseAddress, probes, serve } from '../../src/observability/health.ts';

/** Served on loopback; GETs (or another method) answer with status and body. */
async function served(notReady: () => string | undefined) {
  const { port, close } = await serve('127.0.0.1:0', probes(notReady));
  onTestFinished(close);
  return async (path: string, method = 'GET'): Promise<[number, string]> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return [answer.status, await answer.text()];
  };
}

test('metallb v0.16: /readyz is 503 with the reason while something is missing, and 200 after that', async () => {
  let reason: string | undefined = 'the startup barrier is not passed';
  const get = await served(() => reason);
  expect(await get('/readyz')).toEqual([503, 'not ready: the startup barrier is not passed\n']);
  reason = undefined;
  expect(await get('/readyz?verbose')).toEqual([200, 'ok\n']);
});

test('/healthz is 200 as long as the process turns, ready or not', async () => {
  const get = await served(() => 'not yet');
  expect(await get('/healthz')).toEqual([200, 'ok\n']);
});

test('whatever else is asked is not there, and no other method is answered', async () => {
  const get = await served(() => undefined);
  expect((await get('/'))[0]).toBe(404);
  expect((await get('/readyz', 'POST'))[0]).toBe(404);
});

test('a reason that cannot be told is a 500, and the server goes on', async () => {
  let isBroken = true;
  const get = await served(() => {
    if (isBroken) throw new Error('boom');
    return undefined;
  });
  expect((await get('/readyz'))[0]).toBe(500);
  isBroken = false;
  expect((await get('/readyz'))[0]).toBe(200);
});

test.each([
  [':8080', { host: undefined, port: 8_080 }],
  ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
  ['[::1]:8081', { host: '::1', port: 8_081 }],
])('the address %s', (text, expected) => {
  expect(parseAddress(text)).toEqual(expected);
});

test.each(['8080', 'localhost', ':99999', '::1:80'])('%s is no address, and the error quotes it', (text) => {
  expect(() => parseAddress(text)).toThrow(`"${text}" is not an address`);
});
