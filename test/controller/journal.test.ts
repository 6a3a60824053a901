import { describe, expect, onTestFinished, test } from 'vitest';
import { formatEntry } from '../../src/allocation/entry.ts';
import type { Entry } from '../../src/allocation/types.ts';
import { createJournal } from '../../src/controller/journal.ts';
import type { Journal } from '../../src/controller/journalTypes.ts';
import type { Mandate } from '../../src/controller/mandate.ts';
import { type BlockView, toBlockView } from '../../src/controller/table.ts';
import { createStore, type WritableStore } from '../../src/kube/store.ts';
import type { KubeObject } from '../../src/kube/transport.ts';
import { type Rig, rig, until } from '../kube/rig.ts';
import { type Answer, json, status } from '../kube/scriptedServer.ts';

const PATH = '/api/v1/namespaces/system/configmaps';
const ENTRY = JSON.stringify({
  state: 'Held',
  service: 'a/web',
  uid: 'u-web',
  ports: ['http:80/TCP'],
  range: 'team-a',
  request: 'range=team-a',
  since: '2026-01-01T00:00:00Z',
});

function block(
  name: string,
  resourceVersion: number,
  stamp: string,
  data: Record<string, string> = {},
): KubeObject {
  const annotations = { 'nodeport-manager.io/table-version': '1', 'nodeport-manager.io/epoch': stamp };
  const creationTimestamp = '2026-01-01T00:00:00Z';
  const metadata = { name, namespace: 'system', uid: `u-${name}`, resourceVersion: `${resourceVersion}` };
  return { metadata: { ...metadata, creationTimestamp, annotations }, data };
}

interface JournalRig extends Rig {
  journal: Journal;
  blocks: WritableStore<BlockView>;
  found: number[];
  fenced: string[];
  /** What was mended, and where. */
  healed: string[];
  /** The stamps with which the block was written. */
  stamps(name: string): string[];
}

/** A journal that has opened a table of the block 30250, which `6/old` stamped before. */
async function opened(mandate: Mandate): Promise<JournalRig> {
  const base = await rig();
  const blocks = createStore<BlockView>();
  const found: number[] = [];
  const fenced: string[] = [];
  const healed: string[] = [];
  const accept = (name: string): void =>
    base.server.on(`PUT ${PATH}/${name}`, (response, request) => {
      const { metadata, data } = JSON.parse(request.body) as KubeObject;
      json({ metadata: { ...metadata, resourceVersion: `${Number(metadata.resourceVersion) + 100}` }, data })(
        response,
        request,
      );
    });
  accept('nodeport-table-30000');
  accept('nodeport-table-30250');
  blocks.set(toBlockView(block('nodeport-table-30250', 10, '6/old')));
  const journal = createJournal({
    ...base,
    namespace: 'system',
    identity: 'me',
    blocks,
    random: () => 0,
    mandate: () => mandate,
    observer: { wrote: () => undefined, healed: (kind, block) => healed.push(`${kind} ${block}`) },
    log: { warn: () => undefined },
    onFound: (port) => found.push(port),
    onHealed: () => undefined,
    onDrift: () => undefined,
    onFenced: (stamp) => fenced.push(stamp),
  });
  onTestFinished(journal.close);
  journal.load();
  await journal.open();
  const stamps = (name: string): string[] =>
    base.server
      .seen(`PUT ${PATH}/${name}`)
      .map(
        ({ body }) =>
          (JSON.parse(body) as KubeObject).metadata.annotations?.['nodeport-manager.io/epoch'] ?? '',
      );
  return { ...base, journal, blocks, found, fenced, healed, stamps };
}

/** With a Lease, as long as `lost` is not said. */
function election(): Mandate & { lose(): void } {
  let isLost = false;
  return {
    isElected: true,
    async claimEpoch(highest) {
      if (isLost) throw new Error('the lease was lost');
      return highest + 1;
    },
    lose: () => void (isLost = true),
  };
}

const ALONE: Mandate = { isElected: false, claimEpoch: async (highest) => highest + 1 };

describe('the table of another', () => {
  test('a block that a former leader made late is stamped, and what it reserved there stands', async () => {
    const { blocks, found, fenced, stamps, server } = await opened(election());
    blocks.set(toBlockView(block('nodeport-table-30000', 20, '6/old', { 30100: ENTRY })));
    await until(() => stamps('nodeport-table-30000').length === 1);
    expect([stamps('nodeport-table-30000'), found, fenced]).toEqual([['7/me'], [30100], []]);
    const [written] = server.seen(`PUT ${PATH}/nodeport-table-30000`);
    expect(JSON.parse(written?.body ?? '').data).toEqual({ 30100: ENTRY });
  });

  test('a block that came after the table was loaded and before it is stamped is stamped as well', async () => {
    const mandate = election();
    const { blocks, journal, found, stamps, server } = await opened(mandate);
    const late = block('nodeport-table-30000', 20, '6/old', { 30100: ENTRY });
    server.on(`POST ${PATH}`, status(409, { reason: 'AlreadyExists' }));
    server.on(`GET ${PATH}/nodeport-table-30000`, json(late));
    journal.load();
    blocks.set(toBlockView(late));
    await journal.open();
    expect([stamps('nodeport-table-30000'), found]).toEqual([['8/me'], [30100]]);
  });

  test.each(['7/other', '9/other'])(
    'stamped %s: who is elected stamps every block above it',
    async (stamp) => {
      const { blocks, fenced, stamps, server } = await opened(election());
      const strange = block('nodeport-table-30250', 200, stamp, { 30300: ENTRY });
      server.on(`GET ${PATH}/nodeport-table-30250`, json(strange));
      blocks.set(toBlockView(strange));
      const above = `${Number.parseInt(stamp, 10) + 1}/me`;
      await until(() => stamps('nodeport-table-30250').includes(above));
      expect(fenced).toEqual([]);
    },
  );

  test.each([
    ['without leader election', ALONE],
    ['whose lease is lost', election()],
  ])('who is %s writes nothing more', async (_, mandate) => {
    const { blocks, fenced, journal, stamps } = await opened(mandate);
    if ('lose' in mandate) (mandate as ReturnType<typeof election>).lose();
    blocks.set(toBlockView(block('nodeport-table-30250', 200, '7/other')));
    await until(() => fenced.length === 1);
    expect(fenced).toEqual(['7/other']);
    await expect(journal.write(new Map([[30100, undefined]])).all).rejects.toThrow('the journal is closed');
    expect(stamps('nodeport-table-30250')).toEqual(['7/me']);
  });

  test('met in the answer to a write, ends it as well', async () => {
    const { fenced, journal, server } = await opened(ALONE);
    server.on(`POST ${PATH}`, status(409, { reason: 'AlreadyExists' }));
    server.on(`GET ${PATH}/nodeport-table-30000`, json(block('nodeport-table-30000', 20, '7/other')));
    await expect(journal.write(new Map([[30100, undefined]])).all).rejects.toThrow('the journal is closed');
    expect(fenced).toEqual(['7/other']);
  });
});

describe('a block', () => {
  const NAME = 'nodeport-table-30250';
  const held = (name: string): Entry => ({
    state: 'Held',
    service: `a/${name}`,
    uid: `u-${name}`,
    ports: ['http:80/TCP'],
    range: 'r',
    request: 'range=r',
    since: 0,
  });
  const puts = ({ server }: Rig) =>
    server.seen(`PUT ${PATH}/${NAME}`).map(({ body }) => JSON.parse(body) as KubeObject & { data: object });

  test('is replaced only at the resourceVersion of what was there', async () => {
    const it = await opened(ALONE);
    await it.journal.write(new Map([[30_300, held('web')]])).all;
    expect(puts(it).map(({ metadata }) => metadata.resourceVersion)).toEqual(['10', '110']);
  });

  test('has one write in flight; what comes meanwhile rides the next one, together', async () => {
    const it = await opened(ALONE);
    let answer = (): void => undefined;
    const accepted = (response: Parameters<Answer>[0], request: Parameters<Answer>[1]): void =>
      json({ ...(JSON.parse(request.body) as KubeObject) })(response, request);
    it.server.on(
      `PUT ${PATH}/${NAME}`,
      (response, request) => (answer = () => accepted(response, request)),
      accepted,
    );
    const first = it.journal.write(new Map([[30_300, held('a')]]));
    await until(() => puts(it).length === 2);
    const later = ['b', 'c'].map((name, i) => it.journal.write(new Map([[30_301 + i, held(name)]])));
    await new Promise((resolve) => setImmediate(resolve));
    expect(puts(it)).toHaveLength(2);
    answer();
    await Promise.all([first, ...later].map(({ all }) => all));
    expect(
      puts(it)
        .slice(1)
        .map(({ data }) => Object.keys(data)),
    ).toEqual([['30300'], ['30300', '30301', '30302']]);
  });

  test('that met a conflict is read again and written with the same entries; nobody is told before that', async () => {
    const it = await opened(ALONE);
    let isTold = false;
    it.server.on(`PUT ${PATH}/${NAME}`, status(409, { reason: 'Conflict' }), (response, request) => {
      expect(isTold).toBe(false);
      json(JSON.parse(request.body) as object)(response, request);
    });
    it.server.on(`GET ${PATH}/${NAME}`, json(block(NAME, 300, '7/me')));
    const { all } = it.journal.write(new Map([[30_300, held('web')]]));
    void all.then(() => (isTold = true));
    await all;
    const [, , last] = puts(it);
    expect([last?.metadata.resourceVersion, Object.keys(last?.data ?? {})]).toEqual(['300', ['30300']]);
  });

  test('that could not be written is tried again with the same entries', async () => {
    const it = await opened(ALONE);
    it.server.on(`PUT ${PATH}/${NAME}`, status(500), (response, request) =>
      json(JSON.parse(request.body) as object)(response, request),
    );
    it.server.on(`GET ${PATH}/${NAME}`, json(block(NAME, 110, '7/me')));
    let isTold = false;
    void it.journal.write(new Map([[30_300, held('web')]])).all.then(() => (isTold = true));
    await it.clock.until(() => isTold);
    expect(
      puts(it)
        .slice(1)
        .map(({ data }) => Object.keys(data)),
    ).toEqual([['30300'], ['30300']]);
  });

  test('that the watch has not shown yet is not taken for a deleted one; one that it shows to be gone is made again', async () => {
    const it = await opened(ALONE);
    it.server.on(`POST ${PATH}`, (response, request) => {
      const made = JSON.parse(request.body) as KubeObject;
      json({ ...made, metadata: { ...made.metadata, resourceVersion: '500' } }, 201)(response, request);
    });
    await it.journal.write(new Map([[30_000, held('web')]])).all;
    await it.journal.idle();
    const made = block('nodeport-table-30000', 500, '7/me', { 30_000: formatEntry(held('web')) });
    it.blocks.set(toBlockView(made));
    await it.journal.idle();
    expect([it.server.seen(`POST ${PATH}`).length, it.healed]).toEqual([1, []]);
    it.blocks.remove('system/nodeport-table-30000');
    await until(() => it.server.seen(`POST ${PATH}`).length === 2);
    expect(it.healed).toEqual(['deleted nodeport-table-30000']);
  });

  test('that the watch shows as we wrote it, after an older one was loaded anew, is taken over and not mended', async () => {
    const mayClaim = Promise.withResolvers<void>();
    let claims = 0;
    const it = await opened({
      isElected: true,
      async claimEpoch(highest) {
        claims += 1;
        if (claims > 1) await mayClaim.promise;
        return highest + 1;
      },
    });
    await it.journal.write(new Map([[30_300, held('web')]])).all;
    await it.journal.idle();
    const ours = block(NAME, 210, '7/me', { 30_300: formatEntry(held('web')) });
    it.server.on(`GET ${PATH}/${NAME}`, json(ours));
    it.server.on(`PUT ${PATH}/${NAME}`, (response, request) => {
      const { metadata } = JSON.parse(request.body) as KubeObject;
      const isNew = metadata.resourceVersion === '210';
      (isNew ? json({ metadata }) : status(409, { reason: 'Conflict' }))(response, request);
    });
    it.journal.load();
    const opening = it.journal.open();
    it.blocks.set(toBlockView(ours));
    await new Promise((resolve) => setImmediate(resolve));
    mayClaim.resolve();
    await opening;
    expect(puts(it).map(({ data }) => Object.keys(data))).toEqual([[], ['30300'], [], ['30300']]);
    expect([it.found, it.healed, it.fenced]).toEqual([[30_300], [], []]);
  });

  test('that somebody edited is written again as it was', async () => {
    const it = await opened(ALONE);
    await it.journal.write(new Map([[30_300, held('web')]])).all;
    it.blocks.set(toBlockView(block(NAME, 900, '7/me')));
    await until(() => puts(it).length === 3);
    expect([puts(it)[2]?.metadata.resourceVersion, Object.keys(puts(it)[2]?.data ?? {})]).toEqual([
      '900',
      ['30300'],
    ]);
    expect(it.healed).toEqual([`edited ${NAME}`]);
  });
});
