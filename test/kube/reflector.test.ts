import { describe, expect, test } from 'vitest';
import { isKubeError } from '../../src/kube/errors.ts';
import { bookmark, LIST, list, project, reflectorRig, thing, until, WATCH } from './rig.ts';
import { type Answer, end, event, json, status, stream } from './scriptedServer.ts';

/** A watch that says this and stays open. */
const open = (...lines: string[]): Answer => stream(lines);
/** A watch to which the test adds lines, once observed to be open. */
function live(): { answer: Answer; say(...lines: string[]): void; end(): void } {
  let response: Parameters<Answer>[0] | undefined;
  return {
    answer: stream([], (opened) => void (response = opened)),
    say: (...lines) => void response?.write(lines.join('')),
    end: () => void response?.end(),
  };
}

describe('listing', () => {
  test('is consistent, paged, and complete before anything is stored: page 2 is no deletion', async () => {
    const changesAtPage2: string[][] = [];
    const { reflector, server, store, changes } = await reflectorRig((server) => {
      server.on(LIST, json(list(10, [thing('a', 1), thing('b', 2)], 'more')), (response, request) => {
        changesAtPage2.push([...changes]);
        json(list(10, [thing('c', 3)]))(response, request);
      });
      server.on(WATCH, open());
    });
    await reflector.synced;
    expect(changesAtPage2).toEqual([[]]);
    expect([...store.values()].map(({ key }) => key)).toEqual(['a', 'b', 'c']);
    const queries = server.seen(LIST).map(({ query }) => Object.fromEntries(query));
    expect(queries).toEqual([{ limit: '500' }, { limit: '500', continue: 'more' }]);
    expect(changes).toEqual(['+a', '+b', '+c']);
  });

  test('is told when it is complete, and not before', async () => {
    let answerPage2: (() => void) | undefined;
    const rig = await reflectorRig((server) => {
      server.on(LIST, json(list(10, [thing('a', 1)], 'more')), (response, request) => {
        answerPage2 = () => json(list(10, []))(response, request);
      });
      server.on(WATCH, open());
    });
    await until(() => answerPage2 !== undefined);
    expect([rig.reflector.hasSynced(), rig.reflector.resourceVersion(), rig.store.size]).toEqual([
      false,
      '',
      0,
    ]);
    answerPage2?.();
    await rig.reflector.synced;
    expect([rig.reflector.hasSynced(), rig.reflector.resourceVersion()]).toEqual([true, '10']);
    await until(() => rig.observed.length === 2);
    expect(rig.observed).toEqual(['listed 1', 'watched']);
  });

  test('a continue token that has expired (410): from the start, in one piece', async () => {
    const { reflector, server, store, failures } = await reflectorRig((server) => {
      server.on(
        LIST,
        json(list(10, [thing('a', 1)], 'old')),
        status(410, { reason: 'Expired' }),
        json(list(12, [thing('a', 1), thing('b', 12)])),
      );
      server.on(WATCH, open());
    });
    await reflector.synced;
    expect(server.seen(LIST).map(({ query }) => query.toString())).toEqual([
      'limit=500',
      'limit=500&continue=old',
      '',
    ]);
    expect([store.size, failures.length, reflector.resourceVersion()]).toEqual([2, 0, '12']);
  });

  test('goes on after every error, and resolves only when it has succeeded (client-node #589, #680)', async () => {
    const { reflector, clock, failures, server } = await reflectorRig((server) => {
      server.on(LIST, status(500), status(403), json({ nonsense: true }), json(list(5, [])));
      server.on(WATCH, open());
    });
    await clock.until(() => reflector.hasSynced());
    expect(failures.map(({ during, retryInMs }) => `${during} ${retryInMs}`)).toEqual([
      'list 800',
      'list 1600',
      'list 3200',
    ]);
    expect(server.seen(LIST)).toHaveLength(4);
  });

  test('selectors go with lists and watches', async () => {
    const query = { labelSelector: 'app=x' };
    const script = (server: Parameters<Parameters<typeof reflectorRig>[0]>[0]): void => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, open());
    };
    const { server } = await reflectorRig(script, { query, pageSize: 7 });
    await until(() => server.requests.length === 2);
    expect(server.requests.map(({ query }) => query.get('labelSelector'))).toEqual(['app=x', 'app=x']);
    expect(server.requests[0]?.query.get('limit')).toBe('7');
  });

  test('null instead of items is an empty list, as Go writes it', async () => {
    const { reflector, store } = await reflectorRig((server) => {
      server.on(LIST, json({ metadata: { resourceVersion: '5' }, items: null }));
      server.on(WATCH, open());
    });
    await reflector.synced;
    expect(store.size).toBe(0);
  });
});

describe('watching', () => {
  test('begins where the list ended, asks for bookmarks and for an end after 5 to 10 minutes', async () => {
    const asked: string[] = [];
    for (const random of [0, 0.999]) {
      const { server } = await reflectorRig(
        (server) => {
          server.on(LIST, json(list(42, [])));
          server.on(WATCH, open());
        },
        { random: () => random },
      );
      await until(() => server.seen(WATCH).length === 1);
      const { query } = server.seen(WATCH)[0] ?? {};
      expect([query?.get('resourceVersion'), query?.get('allowWatchBookmarks')]).toEqual(['42', 'true']);
      asked.push(query?.get('timeoutSeconds') ?? '');
    }
    expect(asked).toEqual(['300', '600']);
  });

  test('takes additions, changes and deletions over', async () => {
    const { changes, reflector } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [thing('a', 1, 'x')])));
      const lines = [
        event('ADDED', thing('b', 6)),
        event('MODIFIED', thing('a', 7, 'y')),
        event('DELETED', thing('a', 8, 'y')),
      ];
      server.on(WATCH, open(...lines));
    });
    await until(() => changes.length === 4);
    expect(changes).toEqual(['+a:x', '+b', '~a:y', '-a:y']);
    expect(reflector.resourceVersion()).toBe('8');
  });

  test('a time is the same text in a list and in a watch (client-node #487: a Date in the one, a text in the other)', async () => {
    const times: unknown[] = [];
    const { changes } = await reflectorRig(
      (server) => {
        server.on(LIST, json(list(5, [thing('a', 1)])));
        server.on(WATCH, open(event('MODIFIED', thing('a', 6))));
      },
      {
        project(raw) {
          times.push(raw.metadata.creationTimestamp);
          return project(raw);
        },
      },
    );
    await until(() => changes.length === 2);
    expect(times).toEqual(['2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z']);
  });

  test('an object made anew under its name is a removal and an addition', async () => {
    const { changes } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [thing('a', 1, 'old', 'u1')])));
      server.on(WATCH, open(event('MODIFIED', thing('a', 9, 'new', 'u2'))));
    });
    await until(() => changes.length === 3);
    expect(changes).toEqual(['+a:old', '-a:old', '+a:new']);
  });

  test('a bookmark moves the position, so that a quiet kind is not listed again', async () => {
    const watch = live();
    const { clock, server, reflector, changes, observed } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, watch.answer, open());
    });
    await until(() => observed.includes('watched'));
    watch.say(event('BOOKMARK', bookmark(900)));
    await until(() => reflector.resourceVersion() === '900');
    clock.advance(60_000);
    watch.end();
    await until(() => server.seen(WATCH).length === 2);
    expect(server.seen(WATCH)[1]?.query.get('resourceVersion')).toBe('900');
    expect([server.seen(LIST).length, changes.length]).toEqual([1, 0]);
  });

  test('is taken up again at once, where it was and without a list, when the server ends it in time', async () => {
    const watch = live();
    const { clock, server, failures, observed, store } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, watch.answer, open());
    });
    await until(() => observed.includes('watched'));
    watch.say(event('ADDED', thing('a', 6)));
    await until(() => store.size === 1);
    clock.advance(60_000);
    watch.end();
    await until(() => server.seen(WATCH).length === 2);
    expect(server.seen(WATCH)[1]?.query.get('resourceVersion')).toBe('6');
    expect([failures.length, server.seen(LIST).length]).toEqual([0, 1]);
  });

  test('says how long the server has been silent', async () => {
    const watch = live();
    const { clock, reflector, store, observed } = await reflectorRig((server) => {
      server.on(LIST, json(list(5, [])));
      server.on(WATCH, watch.answer);
    });
    await until(() => observed.includes('watched'));
    clock.advance(30_000);
    expect(reflector.silentFor()).toBe(30_000);
    watch.say(event('ADDED', thing('a', 6)));
    await until(() => store.size === 1);
    expect(reflector.silentFor()).toBe(0);
  });
});

describe('projections', () => {
  test('what is projected to nothing is not stored, and removed when it was', async () => {
    const onlyShown = (raw: Parameters<typeof project>[0]) =>
      raw['data'] === 'hidden' ? undefined : project(raw);
    const { changes } = await reflectorRig(
      (server) => {
        server.on(LIST, json(list(5, [thing('a', 1), thing('b', 2, 'hidden')])));
        const lines = [
          event('MODIFIED', thing('a', 6, 'hidden')),
          event('DELETED', thing('b', 7, 'hidden')),
          event('ADDED', thing('c', 8)),
        ];
        server.on(WATCH, open(...lines));
      },
      { project: onlyShown },
    );
    await until(() => changes.length === 3);
    expect(changes).toEqual(['+a', '-a', '+c']);
  });

  test('one that throws is reported, and costs nothing but its object; what was stored of it stays', async () => {
    const throwing = (raw: Parameters<typeof project>[0]) => {
      if (raw['data'] === 'poison') throw new Error(`cannot read ${raw.metadata.name}`);
      return project(raw);
    };
    const gone = { kind: 'Status', code: 410 };
    const { changes, failures, store, clock, server } = await reflectorRig(
      (server) => {
        server.on(
          LIST,
          json(list(5, [thing('a', 1, 'fine'), thing('b', 2, 'poison')])),
          json(list(20, [thing('a', 19, 'poison')])),
        );
        const lines = [
          event('MODIFIED', thing('a', 6, 'poison')),
          event('ADDED', thing('c', 7)),
          event('ERROR', gone),
        ];
        server.on(WATCH, open(...lines), open());
      },
      { project: throwing },
    );
    await until(() => changes.length === 2);
    expect(changes).toEqual(['+a:fine', '+c']);
    await clock.until(() => server.seen(WATCH).length === 2);
    expect(changes).toEqual(['+a:fine', '+c', '-c']);
    expect(store.get('a')?.data).toBe('fine');
    const projections = failures.filter(({ error }) => !isKubeError(error));
    expect(projections.map(({ error }) => (error as Error).message)).toEqual([
      'cannot read b',
      'cannot read a',
      'cannot read a',
    ]);
  });

  test('a key of its own invention is an error: its deletion would not be found', async () => {
    const { failures, store } = await reflectorRig(
      (server) => {
        server.on(LIST, json(list(5, [thing('a', 1)])));
        server.on(WATCH, open());
      },
      { project: (raw) => ({ ...project(raw), key: 'other' }) },
    );
    await until(() => failures.length === 1);
    expect(String(failures[0]?.error)).toContain("projection of 'a' has the key 'other'");
    expect(store.size).toBe(0);
  });

  test('a throwing listener or observer disturbs neither the others nor the reflector', async () => {
    const boom = (): never => {
      throw new Error('boom');
    };
    const rig = await reflectorRig(
      (server) => {
        server.on(LIST, json(list(5, [thing('a', 1)])), json(list(6, [])));
        server.on(WATCH, stream([event('ADDED', thing('b', 6))], end), open(event('ADDED', thing('c', 7))));
      },
      { observer: { listed: boom, watched: boom, failed: boom } },
    );
    rig.store.subscribe(boom);
    const heard: string[] = [];
    rig.store.subscribe(({ after }) => heard.push(after?.key ?? ''));
    await rig.clock.until(() => rig.store.size === 3);
    expect(heard).toEqual(['a', 'b', 'c']);
  });
});
