import type { Millis } from './clock.ts';
import { isKubeError } from './errors.ts';
import type { KubeObject, Transport, WatchEvent } from './request.ts';

/** coordination.k8s.io/v1, as far as leader election goes. Times are for people: nobody decides by them. */
export interface LeaseSpec {
  /** '' or absent: free. */
  readonly holderIdentity?: string | null;
  readonly leaseDurationSeconds?: number | null;
  readonly acquireTime?: string | null;
  readonly renewTime?: string | null;
  /** How often the holder has changed. */
  readonly leaseTransitions?: number | null;
  readonly [field: string]: unknown;
}

export interface LeaseObject extends KubeObject {
  readonly spec?: LeaseSpec;
}

/** How long a request may take, and what ends it before. */
export interface Bound {
  readonly timeoutMs: Millis;
  readonly signal?: AbortSignal;
}

/** One Lease on the apiserver. All throw KubeErrors. */
export interface LeaseApi {
  /** undefined: there is none. */
  read(bound: Bound): Promise<LeaseObject | undefined>;
  create(lease: Pick<LeaseObject, 'spec'> & Annotated, bound: Bound): Promise<LeaseObject>;
  /** At the resourceVersion in it: whoever has written meanwhile is not overwritten. */
  replace(lease: LeaseObject, bound: Bound): Promise<LeaseObject>;
  /** Of this one Lease, from the revision on. */
  watch(
    resourceVersion: string,
    bound: { inactivityMs: Millis; signal: AbortSignal },
  ): AsyncIterable<WatchEvent>;
}

interface Annotated {
  readonly annotations: Readonly<Record<string, string>>;
}

export function createLeaseApi(options: {
  transport: Transport;
  namespace: string;
  name: string;
  fieldManager: string;
}): LeaseApi {
  const { transport, namespace, name, fieldManager } = options;
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const query = { fieldManager };
  return {
    async read(bound) {
      try {
        return await transport.request<LeaseObject>({ method: 'GET', path: `${path}/${name}`, ...bound });
      } catch (error) {
        if (isKubeError(error, 'NotFound')) return undefined;
        throw error;
      }
    },
    create({ spec, annotations }, bound) {
      const metadata = { namespace, name, annotations };
      const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec };
      return transport.request({ method: 'POST', path, query, body, ...bound });
    },
    replace: (body, bound) =>
      transport.request({ method: 'PUT', path: `${path}/${name}`, query, body, ...bound }),
    watch: (resourceVersion, bound) =>
      // By name: a right to watch can then be limited to this Lease.
      transport.watch({
        path,
        query: { fieldSelector: `metadata.name=${name}`, resourceVersion, allowWatchBookmarks: true },
        ...bound,
      }),
  };
}

/** metav1.MicroTime: always six digits. */
export function microTime(now: Millis): string {
  return new Date(now).toISOString().replace('Z', '000Z');
}
