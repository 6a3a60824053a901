import { describe, expect, test } from 'vitest';
import { isKubeError } from '../../src/kube/errors.ts';
import { bookmark, LIST, list, project, reflectorRig, thing, until, WATCH } from './rig.ts';
import { type Answer, end, event, json, reset, silence, status, stream } from './scriptedServer.ts';

const gone = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };

describe('the reflector outlives', () => {
  test('a connection reset (client-node #1496)', async () => {
    let breakOff: (() => void) | undefined;
    const { clock, server, changes, failures } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [thing('a', 1)])), json(list(6, [])));
      const first = stream([event('ADDED', thing('b', 6))], (response) => {
        breakOff = () => void response.socket?.resetAndDestroy();
      });
      server.on(WATCH, first, stream([event('ADDED', thing('c', 7))]));
    });
    await until(() => changes.length === 2);
    breakOff?.();
    await clock.until(() => changes.length === 3);
    expect(changes).toEqual(['+a', '+b', '+c']);
    expect(server.seen(WATCH)[1]?.query.get('resourceVersion')).toBe('6');
    expect(failures.map(({ during, retryInMs }) => `${during} ${retryInMs}`)).toEqual(['watch 800']);
  });

  test('a 429, and waits as long as it is told to (client-node #1496)', async () => {
    const { clock, server, failures } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, status(429, {}, { 'retry-after': '7' }), stream([]));
    });
    await until(() => failures.length === 1);
    expect(failures[0]?.retryInMs).toBe(7000);
    await clock.elapse(6999);
    expect(server.seen(WATCH)).toHaveLength(1);
    await clock.until(() => server.seen(WATCH).length === 2);
  });

  test('an ERROR event of any code (client-node ignores all but 410)', async () => {
    const { clock, server, failures } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(
        WATCH,
        stream([event('ERROR', { kind: 'Status', code: 500, message: 'etcd is away' })]),
        stream([]),
      );
    });
    await clock.until(() => server.seen(WATCH).length === 2);
    expect(failures[0]?.error).toMatchObject({ code: 'ServerError' });
    expect(server.seen(WATCH)[1]?.query.get('resourceVersion')).toBe('5');
  });

  test('a stream cut inside a line: the event comes again with the next watch', async () => {
    const line = event('ADDED', thing('b', 6));
    const { clock, changes } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, stream([line.slice(0, 30)], end), stream([line]));
    });
    await clock.until(() => changes.length === 1);
    expect(changes).toEqual(['+b']);
  });

  test.each([
    ['as the answer', status(410, gone)],
    ['as an event', stream([event('ERROR', gone)])],
  ])('410 %s: everything is listed again, and only differences are told', async (_, answer) => {
    const { clock, server, changes } = await reflectorRig((server) => {
      const later = [thing('b', 9, 'new'), thing('c', 3), thing('d', 10), thing('e', 11, '', 'u-other')];
      server.on(
        LIST,
        json(list(5, [thing('a', 1), thing('b', 2), thing('c', 3), thing('e', 4)])),
        json(list(20, later)),
      );
      server.on(WATCH, answer, stream([]));
    });
    await clock.until(() => server.seen(WATCH).length === 2);
    expect(changes.slice(4)).toEqual(['-a', '-e', '~b:new', '+d', '+e']);
    expect(server.seen(WATCH)[1]?.query.get('resourceVersion')).toBe('20');
  });

  test('a half-open connection: 90 s without a byte, then another watch at once, without a list (client-node #596)', async () => {
    const { clock, server, failures, reflector } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, stream([]), stream([event('BOOKMARK', bookmark(9))]));
    });
    await until(() => server.seen(WATCH).length === 1);
    await clock.until(() => reflector.resourceVersion() === '9');
    expect(failures.map(({ error, retryInMs }) => [isKubeError(error, 'Timeout'), retryInMs])).toEqual([
      [true, 0],
    ]);
    expect(server.seen(LIST).map(({ query }) => query.get('limit'))).toEqual(['500', '1']);
  });
});

describe('a server that misbehaves is not stormed', () => {
  /** Watches within five minutes of a server that answers every watch like this. */
  async function watchesInFiveMinutes(answer: Answer): Promise<number> {
    const { clock, server } = await reflectorRig((server) => {
      server.on(LIST, json(list(6, [])));
      server.on(WATCH, answer);
    });
    await clock.until(() => clock.monotonic() >= 300_000);
    return server.seen(WATCH).length;
  }

  test('one event, then the end (client-node #1933: 837 watches in 5 s)', async () => {
    const watches = await watchesInFiveMinutes(stream([event('MODIFIED', thing('a', 6))], end));
    expect(watches).toBeGreaterThan(5);
    expect(watches).toBeLessThan(20);
  });

  test('410 for ever', async () => {
    expect(await watchesInFiveMinutes(status(410, gone))).toBeLessThan(20);
  });

  test('a reset for ever', async () => {
    expect(await watchesInFiveMinutes(reset)).toBeLessThan(20);
  });
});

describe('the backoff', () => {
  test('doubles from 0.8 s to 30 s, each stretched by up to as much again', async () => {
    for (const [random, stretch] of [
      [0, 1],
      [0.5, 1.5],
    ] as const) {
      const { clock, failures } = await reflectorRig((server) => server.on(LIST, status(500)), {
        random: () => random,
      });
      await clock.until(() => failures.length === 8);
      const waits = failures.map(({ retryInMs }) => retryInMs / stretch);
      expect(waits).toEqual([800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    }
  });

  test('begins anew after two minutes without a failure', async () => {
    let write: ((line: string) => void) | undefined;
    let finish: (() => void) | undefined;
    const { clock, failures, reflector } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])), json(list(9, [])));
      const long = stream([], (response) => {
        write = (line) => void response.write(line);
        finish = () => response.socket?.resetAndDestroy();
      });
      server.on(WATCH, reset, reset, long, stream([]));
    });
    await clock.until(() => write !== undefined);
    for (let i = 6; i <= 8; i++) {
      await clock.elapse(45_000);
      write?.(event('BOOKMARK', bookmark(i)));
      await until(() => reflector.resourceVersion() === String(i));
    }
    finish?.();
    await until(() => failures.length === 3);
    expect(failures.map(({ retryInMs }) => retryInMs)).toEqual([800, 1600, 800]);
  });
});

describe('a restored etcd', () => {
  test('an older list is accepted, and told before the store has it', async () => {
    const told: string[] = [];
    const rig = await reflectorRig(
      (server) => {
        server.on(LIST, json(list(100, [thing('a', 90), thing('b', 95)])), json(list(50, [thing('a', 40)])));
        server.on(WATCH, status(410, gone), stream([event('ADDED', thing('c', 51))]));
      },
      { onRollback: () => told.push(rig.changes.join(' ')) },
    );
    await rig.clock.until(() => rig.store.get('c') !== undefined);
    expect(told).toEqual(['+a +b']);
    expect(rig.changes.slice(2)).toEqual(['-b', '~a', '+c']);
    expect(rig.reflector.resourceVersion()).toBe('51');
  });

  test('that has gone past what was seen is known by an object that is older than it was', async () => {
    let rollbacks = 0;
    const { clock, store } = await reflectorRig(
      (server) => {
        server.on(LIST, json(list(100, [thing('a', 90)])), json(list(120, [thing('a', 40), thing('b', 95)])));
        server.on(WATCH, status(410, gone), stream([]));
      },
      { onRollback: () => (rollbacks += 1) },
    );
    await clock.until(() => store.size === 2);
    expect(rollbacks).toBe(1);
  });

  test('after a broken watch the position is checked: a watch from the future would only be silent', async () => {
    let rollbacks = 0;
    const { clock, server, store } = await reflectorRig(
      (server) => {
        const restored = json(list(50, [thing('a', 40)]));
        server.on(LIST, json(list(100, [thing('a', 90), thing('b', 95)])), restored);
        server.on(WATCH, reset, stream([]));
      },
      { onRollback: () => (rollbacks += 1) },
    );
    await clock.until(() => server.seen(WATCH).length === 2);
    expect(server.seen(LIST).map(({ query }) => query.get('limit'))).toEqual(['500', '1', '500']);
    expect(server.seen(WATCH)[1]?.query.get('resourceVersion')).toBe('50');
    expect([store.size, rollbacks]).toEqual([1, 1]);
  });
});

test('after refused connections everything is listed: a restored etcd may have gone past what was seen', async () => {
  const { clock, server, store, failures } = await reflectorRig((server) => {
    server.on(LIST, json(list(100, [thing('a', 90)])), json(list(120, [thing('b', 119)])));
    server.on(WATCH, stream([]));
  });
  await until(() => server.seen(WATCH).length === 1);
  await server.close();
  const isRefused = (error: unknown): boolean => isKubeError(error, 'Network') && error.reason === 'NotSent';
  await clock.until(() => failures.some(({ error }) => isRefused(error)));
  await server.reopen();
  await clock.until(() => server.seen(WATCH).length === 2);
  expect(server.seen(LIST).map(({ query }) => query.get('limit'))).toEqual(['500', '500']);
  expect([...store.values()].map(({ key }) => key)).toEqual(['b']);
});

describe('asked to list again, it', () => {
  test('leaves the watch, lists from the beginning, and says when the store has it', async () => {
    const { clock, server, store, reflector, failures } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [thing('a', 1)])), json(list(9, [thing('b', 9)])));
      server.on(WATCH, stream([]), stream([]));
    });
    await until(() => server.seen(WATCH).length === 1);
    await reflector.listAgain();
    expect([...store.values()].map(({ key }) => key)).toEqual(['b']);
    await clock.until(() => server.seen(WATCH).length === 2);
    expect(server.seen(WATCH)[1]?.query.get('resourceVersion')).toBe('9');
    expect(failures).toEqual([]);
  });

  test('does not wait for the end of a pause', async () => {
    const { server, store, reflector } = await reflectorRig((server) => {
      server.on(LIST, status(500, {}), json(list(9, [thing('b', 9)])));
      server.on(WATCH, stream([]));
    });
    await until(() => server.seen(LIST).length === 1);
    await reflector.listAgain();
    expect(store.size).toBe(1);
  });
});

describe('stop', () => {
  test('during a list opens no watch and stores nothing (client-node opens one)', async () => {
    const rig = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [thing('a', 1)], 'more')), silence);
      server.on(WATCH, stream([]));
    });
    await until(() => rig.server.seen(LIST).length === 2);
    await rig.stop();
    await rig.clock.elapse(600_000);
    expect([rig.server.seen(WATCH).length, rig.store.size, rig.server.seen(LIST).length]).toEqual([0, 0, 2]);
    expect([rig.reflector.hasSynced(), rig.clock.pending]).toEqual([false, 0]);
  });

  test('between the last page and the store stores nothing, and is not synced', async () => {
    const projected: string[] = [];
    const rig = await reflectorRig(
      (server) => {
        server.on(LIST, (response, request) =>
          setImmediate(() => json(list(5, [thing('a', 1)]))(response, request)),
        );
        server.on(WATCH, stream([]));
      },
      {
        project(raw) {
          projected.push(raw.metadata.name);
          void rig.stop();
          return project(raw);
        },
      },
    );
    await until(() => projected.length === 1);
    await rig.stop();
    expect([rig.store.size, rig.reflector.hasSynced(), rig.server.seen(WATCH).length]).toEqual([0, false, 0]);
  });

  test('during a backoff opens no watch (client-node opens one)', async () => {
    const rig = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, reset);
    });
    await until(() => rig.failures.length === 1);
    await rig.stop();
    const before = rig.server.requests.length;
    await rig.clock.elapse(600_000);
    expect([rig.server.requests.length, rig.clock.pending]).toEqual([before, 0]);
  });

  test('during a watch ends it, and is no failure', async () => {
    const rig = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, stream([]));
    });
    await until(() => rig.observed.includes('watched'));
    await rig.stop();
    await until(() => rig.server.seen(WATCH).length === 1);
    expect([rig.failures.length, rig.clock.pending]).toEqual([0, 0]);
  });

  test('before the start sends nothing', async () => {
    const rig = await reflectorRig(() => undefined);
    await rig.stop();
    const sent = rig.server.requests.length;
    await rig.reflector.run(AbortSignal.abort());
    expect(rig.server.requests.length).toBe(sent);
  });
});
