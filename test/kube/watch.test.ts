import { describe, expect, test } from 'vitest';
import { isKubeError } from '../../src/kube/errors.ts';
import type { WatchEvent } from '../../src/kube/transport.ts';
import { rig, type Rig, thing, until } from './rig.ts';
import { type Answer, end, event, json, reset, silence, status, stream } from './scriptedServer.ts';

interface Watched {
  events: WatchEvent[];
  /** undefined while it runs, 'over' when the stream ended well, else the error. */
  outcome: unknown;
  opened: number;
  abort: AbortController;
}

/** Watches /x until the stream is over. */
function start({ transport }: Pick<Rig, 'transport'>): Watched {
  const watched: Watched = { events: [], outcome: undefined, opened: 0, abort: new AbortController() };
  const read = async (): Promise<void> => {
    const options = {
      path: '/x',
      query: { resourceVersion: '7' },
      inactivityMs: 90_000,
      signal: watched.abort.signal,
    };
    for await (const each of transport.watch({ ...options, onOpen: () => (watched.opened += 1) })) {
      watched.events.push(each);
    }
  };
  read().then(
    () => (watched.outcome = 'over'),
    (e: unknown) => (watched.outcome = e),
  );
  return watched;
}

async function watchOf(answer: Answer): Promise<Watched & Rig> {
  const base = await rig();
  base.server.on('WATCH /x', answer);
  const watched = start(base);
  await until(() => watched.outcome !== undefined);
  return { ...base, ...watched };
}

const added = event('ADDED', thing('a', 8, 'x'));

describe('a watch', () => {
  test('asks for what it is told to, and ends with the stream', async () => {
    const { events, outcome, opened, server } = await watchOf(
      stream([added, event('DELETED', thing('a', 9))], end),
    );
    expect(events.map(({ type, object }) => `${type} ${object.metadata.name}`)).toEqual([
      'ADDED a',
      'DELETED a',
    ]);
    expect([outcome, opened]).toEqual(['over', 1]);
    expect(Object.fromEntries(server.requests[0]?.query ?? [])).toEqual({
      watch: 'true',
      resourceVersion: '7',
    });
  });

  test("sends the user agent as every request does (client-node sends its library's)", async () => {
    const { server } = await watchOf(stream([], end));
    expect(server.requests[0]?.headers['user-agent']).toBe('kube-test/1');
  });

  test('with an expired token tries once more with a fresh one', async () => {
    const authorize = async ({ fresh = false } = {}): Promise<Record<string, string>> => ({
      authorization: `Bearer ${fresh}`,
    });
    const base = await rig({ authorize });
    base.server.on('WATCH /x', status(401), stream([added], end));
    const watched = start(base);
    await until(() => watched.outcome !== undefined);
    expect([watched.outcome, watched.events.length, watched.opened]).toEqual(['over', 1, 1]);
    expect(base.server.requests.map(({ headers }) => headers['authorization'])).toEqual([
      'Bearer false',
      'Bearer true',
    ]);
  });

  test('gives its connection back when the reader leaves', async () => {
    const base = await rig();
    base.server.on('WATCH /x', stream([added]));
    const { signal } = new AbortController();
    for await (const _ of base.transport.watch({ path: '/x', query: {}, inactivityMs: 1000, signal })) break;
    await until(() => base.server.connections.open === 0);
    expect(base.clock.pending).toBe(0);
  });
});

describe('frames', () => {
  const data = 'line\u2028separator and paragraph\u2029separator, ünïcödé 🚢';
  const line = event('MODIFIED', thing('a', 9, data));

  test('U+2028 and U+2029 in a string do not end a line (readline loses the event)', async () => {
    expect(line).toContain('\u2028');
    const { events, outcome } = await watchOf(stream([line], end));
    expect([outcome, events[0]?.object['data']]).toEqual(['over', data]);
  });

  test('a line may come in pieces, cut inside a character too', async () => {
    const bytes = new TextEncoder().encode(added + line);
    const pieces = Array.from(bytes, (byte) => Uint8Array.of(byte));
    const { events, outcome } = await watchOf(stream(pieces, end));
    expect([outcome, events.length, events[1]?.object['data']]).toEqual(['over', 2, data]);
  });

  test('many lines may come in one piece, in order', async () => {
    const lines = Array.from({ length: 1000 }, (_, i) => event('ADDED', thing(`t${i}`, i + 1)));
    const { events } = await watchOf(stream([lines.join('')], end));
    expect(events.map(({ object }) => object.metadata.name)).toEqual(lines.map((_, i) => `t${i}`));
  });

  test('a last line without its end is an error, not half an object', async () => {
    const { events, outcome } = await watchOf(stream([added, added.slice(0, 40)], end));
    expect(events).toHaveLength(1);
    expect(isKubeError(outcome, 'Network')).toBe(true);
  });

  test('not even when what is there of it is valid JSON', async () => {
    const { events, outcome } = await watchOf(stream([added.trimEnd()], end));
    expect(events).toEqual([]);
    expect(isKubeError(outcome, 'Network')).toBe(true);
  });

  test.each([
    ['no JSON', 'nonsense\n'],
    ['JSON of another kind', '{"kind":"Status"}\n'],
    ['null', 'null\n'],
    ['an event without an object', '{"type":"ADDED"}\n'],
    ['no UTF-8', Uint8Array.of(0xff, 0xfe, 0x0a)],
  ])('%s in the stream is a BadResponse', async (_, piece) => {
    const { outcome, events } = await watchOf(stream([added, piece], end));
    expect(isKubeError(outcome, 'BadResponse')).toBe(true);
    // The kernel may have joined the two pieces; what was whole is then asked for again by the next watch.
    expect(events.length).toBeLessThanOrEqual(1);
  });
});

describe('what ends a watch with an error', () => {
  test('410 as the answer, and 410 as an event, are both Gone', async () => {
    const gone = {
      kind: 'Status',
      code: 410,
      reason: 'Expired',
      message: 'too old resource version: 7 (12)',
    };
    for (const answer of [status(410, gone), stream([added, event('ERROR', gone)])]) {
      const { outcome } = await watchOf(answer);
      expect(isKubeError(outcome, 'Gone')).toBe(true);
    }
  });

  test('any other ERROR event is thrown with its code, not passed over', async () => {
    const error = { kind: 'Status', code: 500, reason: 'InternalError', message: 'etcd is away' };
    const { outcome } = await watchOf(stream([event('ERROR', error)]));
    expect(outcome).toMatchObject({ code: 'ServerError', reason: 'InternalError', request: 'WATCH /x' });
  });

  test('429 says how long to wait, and is not waited for here', async () => {
    const { outcome, opened } = await watchOf(status(429, {}, { 'retry-after': '3' }));
    expect(outcome).toMatchObject({ code: 'TooManyRequests', retryAfterMs: 3000 });
    expect(opened).toBe(0);
  });

  test('a success that is no stream of events', async () => {
    expect(isKubeError((await watchOf(json({}, 201))).outcome, 'BadResponse')).toBe(true);
  });

  test('a reset, before and after the headers', async () => {
    expect(isKubeError((await watchOf(reset)).outcome, 'Network')).toBe(true);
    expect(isKubeError((await watchOf(stream([added], reset))).outcome, 'Network')).toBe(true);
  });

  test('silence: no byte for inactivityMs, though the connection looks open (client-node #596, #2432)', async () => {
    const base = await rig();
    base.server.on('WATCH /x', stream([added]));
    const watched = start(base);
    await until(() => watched.events.length === 1);
    base.clock.advance(89_999);
    expect(base.clock.pending).toBe(1);
    base.clock.advance(1);
    await until(() => watched.outcome !== undefined);
    expect(isKubeError(watched.outcome, 'Timeout')).toBe(true);
    await until(() => base.server.connections.open === 0);
  });

  test('every byte puts the silence off, a bookmark as well as an event', async () => {
    const base = await rig();
    const lines: ((line: string) => void)[] = [];
    base.server.on(
      'WATCH /x',
      stream([], (response) => void lines.push((line) => response.write(line))),
    );
    const watched = start(base);
    for (let i = 1; i <= 5; i++) {
      await until(() => lines.length === 1);
      base.clock.advance(80_000);
      lines[0]?.(event('BOOKMARK', { metadata: { resourceVersion: String(i) } }));
      await until(() => watched.events.length === i);
    }
    expect(watched.outcome).toBeUndefined();
    base.clock.advance(90_000);
    await until(() => watched.outcome !== undefined);
    expect(isKubeError(watched.outcome, 'Timeout')).toBe(true);
  });

  test('silence instead of headers', async () => {
    const base = await rig();
    base.server.on('WATCH /x', silence);
    const watched = start(base);
    await until(() => base.server.requests.length === 1);
    base.clock.advance(90_000);
    await until(() => watched.outcome !== undefined);
    expect(isKubeError(watched.outcome, 'Timeout')).toBe(true);
  });

  test('an abort, at once and without an event more', async () => {
    const base = await rig();
    base.server.on('WATCH /x', stream([added]));
    const watched = start(base);
    await until(() => watched.events.length === 1);
    watched.abort.abort();
    await until(() => watched.outcome !== undefined);
    expect(isKubeError(watched.outcome, 'Aborted')).toBe(true);
    await until(() => base.server.connections.open === 0);
  });
});
