/** What the controller relies on of watches and of the revisions that they go on from: cases for both apiservers. */
import { expect } from 'vitest';
import { type Case, CONFIG_MAPS, type Call, namesIn, type Line, type Watched } from './conformance.ts';
import type { JsonObject } from './patches.ts';

interface Map extends JsonObject {
  metadata: { name: string; uid: string; resourceVersion: string; labels?: Record<string, string> };
}

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/default/leases';
const MERGE = 'application/merge-patch+json';

/** Name → case. Each makes ConfigMaps or Leases of its own names. */
export const WATCH_CASES: Readonly<Record<string, Case>> = {
  'a watch tells every change in the order of revisions, each object as its write was answered': async (
    call,
    { watch },
  ) => {
    const stream = await watch(`${CONFIG_MAPS}?resourceVersion=${await positionOf(call, CONFIG_MAPS)}`);
    const made = await create(call, 'told');
    const changed = await change(call, 'told', { data: { a: '1' } });
    const other = await create(call, 'told-beside');
    const changedAgain = await change(call, 'told', { data: { a: '2' } });
    await remove(call, 'told');
    const lines = await take(stream, 5);
    expect(lines.map(({ type }) => type)).toEqual(['ADDED', 'MODIFIED', 'ADDED', 'MODIFIED', 'DELETED']);
    expect(lines.slice(0, 4).map(({ object }) => object)).toEqual([made, changed, other, changedAgain]);
    expect(lines.map(revisionOf)).toEqual(lines.map(revisionOf).toSorted((a, b) => a - b));
  },

  'who is deleted is told as it was, at the revision of the deletion': async (call, { watch }) => {
    const made = await create(call, 'goes');
    const stream = await watch(`${CONFIG_MAPS}?resourceVersion=${made.metadata.resourceVersion}`);
    await remove(call, 'goes');
    const next = await create(call, 'comes-after');
    const [gone] = (await take(stream, 1)) as [Line];
    const { resourceVersion } = (gone.object as Map).metadata;
    expect(gone).toEqual({
      type: 'DELETED',
      object: { ...made, metadata: { ...made.metadata, resourceVersion } },
    });
    expect(Number(resourceVersion)).toBeGreaterThan(Number(made.metadata.resourceVersion));
    expect(Number(resourceVersion)).toBeLessThan(Number(next.metadata.resourceVersion));
  },

  'a watch from a list tells what came after it, and nothing that was in it': async (call, { watch }) => {
    await create(call, 'listed');
    const position = await positionOf(call, CONFIG_MAPS);
    await change(call, 'listed', { data: { a: '1' } });
    await remove(call, 'listed');
    await create(call, 'listed');
    const stream = await watch(`${CONFIG_MAPS}?resourceVersion=${position}`);
    expect((await take(stream, 3)).map(shown)).toEqual(['MODIFIED listed', 'DELETED listed', 'ADDED listed']);
  },

  'a watch that goes on from any revision tells exactly what came after it': async (call, { watch }) => {
    const position = await positionOf(call, CONFIG_MAPS);
    await create(call, 'resumed');
    for (const a of ['1', '2']) await change(call, 'resumed', { data: { a } });
    await remove(call, 'resumed');
    const all = await take(await watch(`${CONFIG_MAPS}?resourceVersion=${position}`), 4);
    for (const [i, line] of all.slice(0, 3).entries()) {
      const stream = await watch(`${CONFIG_MAPS}?resourceVersion=${revisionOf(line)}`);
      expect(await take(stream, 3 - i)).toEqual(all.slice(i + 1));
    }
  },

  'a bookmark carries a revision to go on from, and a watch ends well when its time is over': async (
    call,
    { watch },
  ) => {
    const path = `${CONFIG_MAPS}?allowWatchBookmarks=true&timeoutSeconds=5&resourceVersion=`;
    const stream = await watch(`${path}${await positionOf(call, CONFIG_MAPS)}`);
    const made = await create(call, 'before-bookmark');
    const [first, second] = [await stream.next(), await stream.next()];
    expect([first?.type, second?.type]).toEqual(['ADDED', 'BOOKMARK']);
    let line = second as Line;
    for (let next = await stream.next(); next !== undefined; next = await stream.next()) line = next;
    expect(line.type).toBe('BOOKMARK');
    expect(revisionOf(line)).toBeGreaterThanOrEqual(Number(made.metadata.resourceVersion));
    await create(call, 'after-bookmark');
    const [next] = await take(await watch(`${CONFIG_MAPS}?resourceVersion=${revisionOf(line)}`), 1);
    expect(shown(next as Line)).toBe('ADDED after-bookmark');
  },

  'a watch from the future is silent until the server is there': async (call, { watch }) => {
    const { metadata } = await create(call, 'future');
    const future = Number(metadata.resourceVersion) + 6;
    const stream = await watch(`${CONFIG_MAPS}?allowWatchBookmarks=true&resourceVersion=${future}`);
    const later: number[] = [];
    for (let i = 0; later.length < 2; i += 1) {
      const { metadata: now } = await change(call, 'future', { data: { a: `${i}` } });
      if (Number(now.resourceVersion) > future) later.push(Number(now.resourceVersion));
    }
    expect((await take(stream, 2)).map(revisionOf)).toEqual(later);
  },

  'a watch with a label selector tells who begins to match as added, and who ceases to as deleted': async (
    call,
    { watch },
  ) => {
    const position = await positionOf(call, CONFIG_MAPS);
    const stream = await watch(`${CONFIG_MAPS}?labelSelector=block%3Dtrue&resourceVersion=${position}`);
    await create(call, 'unlabelled');
    await create(call, 'labelled', { block: 'true' });
    await change(call, 'unlabelled', { metadata: { labels: { block: 'true' } } });
    await change(call, 'labelled', { data: { a: '1' } });
    const left = await change(call, 'labelled', { metadata: { labels: { block: null } }, data: { a: '2' } });
    await change(call, 'labelled', { data: { a: '3' } });
    await remove(call, 'unlabelled');
    const lines = await take(stream, 5);
    expect(lines.map(shown)).toEqual([
      'ADDED labelled',
      'ADDED unlabelled',
      'MODIFIED labelled',
      'DELETED labelled',
      'DELETED unlabelled',
    ]);
    expect(lines[3]?.object).toMatchObject({
      metadata: { resourceVersion: left.metadata.resourceVersion, labels: { block: 'true' } },
      data: { a: '1' },
    });
  },

  'a watch of one Lease by its name tells of no other, nor of its namesake elsewhere': async (
    call,
    { watch },
  ) => {
    const elsewhere = '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases';
    const position = await positionOf(call, LEASES);
    const stream = await watch(`${LEASES}?fieldSelector=metadata.name%3Dmine&resourceVersion=${position}`);
    for (const [path, name] of [
      [elsewhere, 'mine'],
      [LEASES, 'other'],
      [LEASES, 'mine'],
    ] as const) {
      const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name }, spec: {} };
      expect((await call('POST', path, lease)).status).toBe(201);
    }
    const [line] = await take(stream, 1);
    expect(line).toMatchObject({
      type: 'ADDED',
      object: { metadata: { name: 'mine', namespace: 'default' } },
    });
  },

  'what a watch would go on from and a list would go on with is Expired once it is compacted': async (
    call,
    { watch, compact },
  ) => {
    const position = await positionOf(call, CONFIG_MAPS);
    for (const name of ['old-1', 'old-2', 'old-3']) await create(call, name);
    const { body } = await call('GET', `${CONFIG_MAPS}?limit=1`);
    const { continue: token } = body['metadata'] as { continue: string };
    await change(call, 'old-1', { data: { a: '1' } });
    await compact();
    const stream = await watch(`${CONFIG_MAPS}?resourceVersion=${position}`);
    expect(await stream.next()).toMatchObject({ type: 'ERROR', object: { code: 410, reason: 'Expired' } });
    const page = await call('GET', `${CONFIG_MAPS}?limit=1&continue=${encodeURIComponent(token)}`);
    expect([page.status, page.body['reason']]).toEqual([410, 'Expired']);
    const now = await call('GET', CONFIG_MAPS);
    expect(namesIn(now.body)).toEqual(expect.arrayContaining(['old-1', 'old-2', 'old-3']));
  },
};

/** As a reflector finds it: of a list that asks for no revision. */
async function positionOf(call: Call, path: string): Promise<string> {
  const { body } = await call('GET', `${path}?limit=1`);
  return (body['metadata'] as { resourceVersion: string }).resourceVersion;
}

/** Exactly so many lines; none is a bookmark. */
async function take(stream: Watched, count: number): Promise<Line[]> {
  const lines: Line[] = [];
  while (lines.length < count) {
    const line = await stream.next();
    if (line === undefined) throw new Error(`ended after ${lines.length} of ${count} lines`);
    if (line.type !== 'BOOKMARK') lines.push(line);
  }
  stream.close();
  return lines;
}

function revisionOf({ object }: Line): number {
  return Number((object as Map).metadata.resourceVersion);
}

function shown({ type, object }: Line): string {
  return `${type} ${(object as Map).metadata.name}`;
}

async function create(call: Call, name: string, labels?: Record<string, string>): Promise<Map> {
  const metadata = labels === undefined ? { name } : { name, labels };
  const { status, body } = await call('POST', CONFIG_MAPS, { apiVersion: 'v1', kind: 'ConfigMap', metadata });
  expect(status, JSON.stringify(body)).toBe(201);
  return body as Map;
}

async function change(call: Call, name: string, patch: object): Promise<Map> {
  const { status, body } = await call('PATCH', `${CONFIG_MAPS}/${name}`, patch, MERGE);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Map;
}

async function remove(call: Call, name: string): Promise<void> {
  expect((await call('DELETE', `${CONFIG_MAPS}/${name}`)).status).toBe(200);
}
