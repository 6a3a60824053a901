import type { Millis } from './clock.ts';
import { isKubeError, KubeError } from './errors.ts';
import type { KubeObject, Transport } from './request.ts';

export interface ListOptions {
  transport: Transport;
  path: string;
  /** Selectors. */
  query?: Record<string, string>;
  /** Objects a page. */
  pageSize: number;
  signal: AbortSignal;
  /** After each page. */
  onPage?: () => void;
}

/** For one page; a list that had to be asked for in one piece can be large. */
const PAGE_TIMEOUT_MS: Millis = 60_000;

interface Page {
  metadata?: { resourceVersion?: string; continue?: string };
  items?: KubeObject[] | null;
}

/**
 * All objects, as one consistent read (no resourceVersion: not from a stale cache), reduced by `take` page by page,
 * so that the raw objects are never held together. `take` drops an object by returning undefined.
 *
 * A continue token lives as long as etcd keeps its revision (about 5 minutes). When it has expired (410), the list
 * starts over once, in one piece, as in client-go's pager.
 * @throws KubeError; then nothing was listed
 */
export async function listAll<T>(
  options: ListOptions,
  take: (raw: KubeObject) => T | undefined,
): Promise<{ items: T[]; resourceVersion: string }> {
  try {
    return await listPages(options, options.pageSize, take);
  } catch (e) {
    if (isKubeError(e, 'Gone') && !options.signal.aborted) return listPages(options, undefined, take);
    throw e;
  }
}

/** The resourceVersion of a consistent list of now. Asks for one object at most. */
export async function currentResourceVersion(options: Omit<ListOptions, 'pageSize'>): Promise<string> {
  const { metadata } = await fetchPage(options, { limit: 1 });
  options.onPage?.();
  return metadata.resourceVersion;
}

async function listPages<T>(
  options: ListOptions,
  limit: number | undefined,
  take: (raw: KubeObject) => T | undefined,
): Promise<{ items: T[]; resourceVersion: string }> {
  const items: T[] = [];
  let next: string | undefined;
  for (;;) {
    const page = await fetchPage(options, { limit, continue: next });
    options.onPage?.();
    for (const raw of page.items ?? []) {
      const item = take(raw);
      if (item !== undefined) items.push(item);
    }
    next = page.metadata.continue;
    if (next === undefined || next === '') {
      return { items, resourceVersion: page.metadata.resourceVersion };
    }
  }
}

async function fetchPage(
  { path, query, transport, signal }: Omit<ListOptions, 'pageSize'>,
  paging: { limit: number | undefined; continue?: string | undefined },
): Promise<Page & { metadata: { resourceVersion: string; continue?: string } }> {
  const page = await transport.request<Page | null>({
    method: 'GET',
    path,
    query: { ...query, ...paging },
    timeoutMs: PAGE_TIMEOUT_MS,
    signal,
  });
  const resourceVersion = page?.metadata?.resourceVersion ?? '';
  if (resourceVersion !== '') return { ...page, metadata: { ...page?.metadata, resourceVersion } };
  const message = 'a list without a resourceVersion';
  throw new KubeError({ code: 'BadResponse', request: `GET ${path}`, message });
}
