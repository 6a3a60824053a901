import type { IncomingMessage } from 'node:http';

/** A request on its way through the proxy. */
export interface Passing {
  readonly method: string;
  /** With the query. */
  readonly url: string;
  /** `services`, `services/status`, `configmaps`, `portranges/status` … */
  readonly resource: string;
  /** `a/web`; of what has no namespace only the name; '' for a collection. */
  readonly object: string;
  readonly isWatch: boolean;
  /** Changes something that counts: no read, no renewal of a Lease, no Event, which tells what has happened already. */
  readonly isWrite: boolean;
  readonly body: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

const PATH =
  /^\/(?:api\/v1|apis\/[^/]+\/[^/]+)(?:\/namespaces\/(?<namespace>[^/]+)(?=\/))?\/(?<resource>[^/]+)(?:\/(?<name>[^/]+))?(?:\/(?<sub>[^/]+))?$/;
const UNCOUNTED = new Set(['leases', 'events']);

export function passingOf({ method = 'GET', url = '/', headers }: IncomingMessage, body: string): Passing {
  const [path = '/', query = ''] = url.split('?');
  const { namespace, resource = path, name, sub } = PATH.exec(path)?.groups ?? {};
  // These belong to this connection and to nobody behind it.
  const { host: _, connection: __, 'transfer-encoding': ___, 'content-length': ____, ...passed } = headers;
  return {
    method,
    url,
    resource: sub === undefined ? resource : `${resource}/${sub}`,
    object: [namespace, name].filter((part) => part !== undefined && name !== undefined).join('/'),
    isWatch: query.split('&').includes('watch=true'),
    isWrite: method !== 'GET' && !UNCOUNTED.has(resource),
    body,
    headers: passed,
  };
}

/** `PATCH services/status a/web`, as a person would call it. */
export function nameOf({ method, resource, object, isWatch }: Passing): string {
  return `${isWatch ? 'WATCH' : method} ${resource} ${object}`.trimEnd();
}
