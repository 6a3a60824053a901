import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError, type Client } from '../cluster/client.ts';
import { eventually } from './eventually.ts';
import type { Metadata } from './objects.ts';

export interface Revision<T> {
  object: T;
  deleted: boolean;
  /** performance.now() when it arrived. */
  at: number;
}

const AGAIN_MS = 50;

/**
 * Tells every revision of every object under `path` until the signal, through outages of the apiserver.
 * Resolves when the first list has been told. Where the server no longer has the revisions in between (410), the
 * next list stands for them, and `missed` is told what it shows: of those objects there may have been more revisions.
 * What came and went meanwhile, nobody knows.
 */
export async function follow<T extends { metadata: Metadata }>(
  client: Client,
  path: string,
  signal: AbortSignal,
  tell: (revision: Revision<T>) => void,
  missed: (what: string) => void,
): Promise<void> {
  const known = new Map<string, T>();
  // A CRD that is Established may still answer 429 "storage is (re)initializing".
  let position: string | undefined = await eventually(() => relist(client, path, known, tell));
  void (async () => {
    while (!signal.aborted) {
      try {
        position ??= await catchUp(client, path, known, tell, missed);
        position = await watchFrom(client, path, position, signal, known, tell);
      } catch (error) {
        if (error instanceof ApiError && error.status === 410) position = undefined;
      }
      await sleep(AGAIN_MS);
    }
  })();
}

async function catchUp<T extends { metadata: Metadata }>(
  client: Client,
  path: string,
  known: Map<string, T>,
  tell: (revision: Revision<T>) => void,
  missed: (what: string) => void,
): Promise<string> {
  const changed: string[] = [];
  const position = await relist(client, path, known, (revision) => {
    const { namespace, name } = revision.object.metadata;
    changed.push(namespace === undefined ? name : `${namespace}/${name}`);
    tell(revision);
  });
  if (changed.length > 0)
    missed(`${path}: of ${changed.join(', ')} nothing between two views, up to revision ${position}`);
  return position;
}

/** Returns where the next watch begins; undefined: the position is no longer served. */
async function watchFrom<T extends { metadata: Metadata }>(
  client: Client,
  path: string,
  position: string,
  signal: AbortSignal,
  known: Map<string, T>,
  tell: (revision: Revision<T>) => void,
): Promise<string | undefined> {
  let at: string | undefined = position;
  const query = `resourceVersion=${position}&allowWatchBookmarks=true`;
  const watch = await client.watch(
    `${path}?${query}`,
    ({ type, object }) => {
      if (type === 'ERROR') {
        at = undefined;
        return;
      }
      const seen: T = object;
      at = seen.metadata.resourceVersion;
      if (type === 'BOOKMARK') return;
      if (type === 'DELETED') known.delete(seen.metadata.uid);
      else known.set(seen.metadata.uid, seen);
      tell({ object: seen, deleted: type === 'DELETED', at: performance.now() });
    },
    signal,
  );
  await watch.ended.catch(() => undefined);
  return at;
}

async function relist<T extends { metadata: Metadata }>(
  client: Client,
  path: string,
  known: Map<string, T>,
  tell: (revision: Revision<T>) => void,
): Promise<string> {
  const { items, resourceVersion } = await client.list<T>(path);
  const at = performance.now();
  const present = new Set(items.map(({ metadata }) => metadata.uid));
  for (const [uid, object] of known) {
    if (present.has(uid)) continue;
    known.delete(uid);
    tell({ object: { ...object, metadata: { ...object.metadata, resourceVersion } }, deleted: true, at });
  }
  for (const object of items) {
    if (known.get(object.metadata.uid)?.metadata.resourceVersion === object.metadata.resourceVersion)
      continue;
    known.set(object.metadata.uid, object);
    tell({ object, deleted: false, at });
  }
  return resourceVersion;
}
