import { readFileSync } from 'node:fs';
import { Agent, type Dispatcher, request } from 'undici';
import type { Cluster } from './cluster.ts';
import type { User } from './users.ts';

/** An HTTP client for tests, deliberately independent of the code it judges. One lasts until its close(). */
export interface Client {
  get<T>(path: string): Promise<T>;
  /** All items, page by page when `pageSize` is given (`?limit=`), and the list's resourceVersion. */
  list<T>(path: string, options?: { pageSize?: number }): Promise<KubeList<T>>;
  create<T>(path: string, body: unknown): Promise<T>;
  put<T>(path: string, body: unknown): Promise<T>;
  /** `query` without a question mark: "fieldManager=test&force=true". */
  patch<T>(path: string, type: PatchType, body: unknown, query?: string): Promise<T>;
  delete<T>(path: string, body?: unknown): Promise<T>;
  /** Resolves when the server has opened the watch. Adds `watch=true` to the path. */
  watch(path: string, onEvent: (event: WatchEvent) => void, signal?: AbortSignal): Promise<Watch>;
  /** Whatever the server answers, errors included. `body`: text as it stands, anything else as JSON. */
  raw(method: Method, path: string, options?: RawOptions): Promise<RawAnswer>;
  close(): Promise<void>;
}

interface KubeList<T> {
  items: T[];
  resourceVersion: string;
}

export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  // Whatever was watched: the test that watches knows.
  // oxlint-disable-next-line typescript/no-explicit-any
  object: any;
}

export interface Watch {
  /** Settles at the end: resolved when the server ended it or the signal was aborted, rejected when it broke. */
  readonly ended: Promise<void>;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

interface RawOptions {
  body?: unknown;
  headers?: Record<string, string>;
}

interface RawAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

const PATCH_TYPES = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

type PatchType = keyof typeof PATCH_TYPES;

/** What a Kubernetes API answers when it refuses. */
export interface Status {
  reason?: string;
  message?: string;
  code?: number;
  details?: {
    name?: string;
    retryAfterSeconds?: number;
    causes?: { reason?: string; field?: string; message?: string }[];
  };
}

/** An answer of 400 or more. `body` is the Status object, or the text when it was none. */
export class ApiError extends Error {
  readonly status: number;
  readonly body: Status;

  constructor(method: string, path: string, status: number, body: Status) {
    super(`${method} ${path}: ${status} ${body.reason ?? ''} ${body.message ?? ''}`);
    this.name = 'ApiError';
    this.status = status;
    this.body = body;
  }
}

const CONNECTIONS = 128;

type Send = (
  dispatcher: Agent,
  method: Method,
  path: string,
  options?: RawOptions & { signal?: AbortSignal | undefined },
) => Promise<Dispatcher.ResponseData>;

type Call = <T>(method: Method, path: string, options?: RawOptions) => Promise<T>;

/** A client of `cluster` as `user` (default "admin"): HTTP/1.1, keep-alive, up to 128 connections, watches not counted. */
export function createClient(cluster: Cluster, user: User = 'admin'): Client {
  const connect = { ca: readFileSync(cluster.caFile) };
  const agent = new Agent({ connect, allowH2: false, connections: CONNECTIONS, pipelining: 1 });
  const watches = new Agent({ connect, allowH2: false, bodyTimeout: 0 });
  const send = sender(cluster.url, cluster.token(user));
  const raw: Client['raw'] = async (method, path, options) => {
    const { statusCode, headers, body } = await send(agent, method, path, options);
    return { status: statusCode, headers, body: await body.text() };
  };
  const call = caller(raw);
  return {
    raw,
    get: (path) => call('GET', path),
    list: (path, options = {}) => listAll(call, path, options.pageSize),
    create: (path, body) => call('POST', path, { body }),
    put: (path, body) => call('PUT', path, { body }),
    patch: (path, type, body, query) =>
      call('PATCH', addQuery(path, query), { body, headers: { 'content-type': PATCH_TYPES[type] } }),
    delete: (path, body) => call('DELETE', path, { body }),
    watch: (path, onEvent, signal) => openWatch(send, watches, addQuery(path, 'watch=true'), onEvent, signal),
    close: async () => {
      await Promise.all([agent.destroy(), watches.destroy()]);
    },
  };
}

function sender(url: string, token: string): Send {
  return (dispatcher, method, path, { body, headers, signal } = {}) =>
    request(url + path, {
      dispatcher,
      method,
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'application/json',
        ...contentType(body),
        ...headers,
      },
      body: textOf(body),
      signal: signal ?? null,
    });
}

function caller(raw: Client['raw']): Call {
  return async <T>(method: Method, path: string, options?: RawOptions): Promise<T> => {
    const answer = await raw(method, path, options);
    if (answer.status >= 400) throw new ApiError(method, path, answer.status, statusOf(answer.body));
    const parsed: T = JSON.parse(answer.body);
    return parsed;
  };
}

async function openWatch(
  send: Send,
  dispatcher: Agent,
  path: string,
  onEvent: (event: WatchEvent) => void,
  signal?: AbortSignal,
): Promise<Watch> {
  const { statusCode, body } = await send(dispatcher, 'GET', path, { signal });
  if (statusCode !== 200) throw new ApiError('GET', path, statusCode, statusOf(await body.text()));
  const ended = readEvents(body, onEvent, signal);
  // Whoever does not look at it must not be ended by it.
  ended.catch(() => {});
  return { ended };
}

async function listAll<T>(call: Call, path: string, pageSize?: number): Promise<KubeList<T>> {
  type Page = { items: T[] | null; metadata: { resourceVersion: string; continue?: string } };
  const items: T[] = [];
  const limit = pageSize === undefined ? '' : `limit=${pageSize}`;
  let token = '';
  for (;;) {
    const query = [limit, token === '' ? '' : `continue=${encodeURIComponent(token)}`];
    const page: Page = await call('GET', addQuery(path, ...query));
    for (const item of page.items ?? []) items.push(item);
    token = page.metadata.continue ?? '';
    if (token === '') return { items, resourceVersion: page.metadata.resourceVersion };
  }
}

async function readEvents(
  body: Dispatcher.ResponseData['body'],
  onEvent: (event: WatchEvent) => void,
  signal?: AbortSignal,
): Promise<void> {
  try {
    let rest = '';
    body.setEncoding('utf8');
    for await (const chunk of body) {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onEvent(JSON.parse(line));
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
}

function addQuery(path: string, ...parts: readonly (string | undefined)[]): string {
  const query = parts.filter((part) => part !== undefined && part !== '').join('&');
  if (query === '') return path;
  return `${path}${path.includes('?') ? '&' : '?'}${query}`;
}

function contentType(body: unknown): Record<string, string> {
  return body === undefined ? {} : { 'content-type': 'application/json' };
}

function textOf(body: unknown): string | null {
  if (body === undefined) return null;
  return typeof body === 'string' ? body : JSON.stringify(body);
}

function statusOf(text: string): Status {
  try {
    const status: Status = JSON.parse(text);
    return status;
  } catch {
    return { message: text };
  }
}
