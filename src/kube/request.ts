import type { Clock, Millis } from './clock.ts';
import type { Connection } from './connection.ts';
import type { Wire } from './wire.ts';

export type PatchType =
  | 'application/json-patch+json'
  | 'application/strategic-merge-patch+json'
  | 'application/merge-patch+json'
  | 'application/apply-patch+yaml';

export type Query = Record<string, string | number | boolean | undefined>;

export interface ApiRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Without the query, e.g. `/api/v1/namespaces/default/services/web`. */
  path: string;
  query?: Query;
  /** Sent as JSON. */
  body?: unknown;
  /** @default application/json, which no PATCH may have */
  contentType?: PatchType;
  /** With `text/…` the body is returned as a string. @default application/json */
  accept?: string;
  /** For the whole request, tries and waits included. @default 30_000 */
  timeoutMs?: Millis;
  signal?: AbortSignal;
}

export interface WatchRequest {
  path: string;
  /** `watch=true` is added. */
  query: Query;
  /** The stream is given up (Timeout) when no byte has arrived for so long, headers included. */
  inactivityMs: Millis;
  signal: AbortSignal;
  /** Called once, when the server has accepted the watch. */
  onOpen?: () => void;
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid: string;
    resourceVersion: string;
    creationTimestamp: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    managedFields?: unknown[];
    [k: string]: unknown;
  };
  [k: string]: unknown;
}

/** A BOOKMARK's object has a resourceVersion and little else. ERROR events are thrown as KubeErrors, never yielded. */
export type WatchEvent = {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: KubeObject;
};

export interface Transport {
  /** @throws KubeError */
  request<T>(request: ApiRequest): Promise<T>;
  /**
   * Ends when the server closes the stream between two events. An ERROR event, a refused watch, a broken or cut
   * stream and silence are thrown as KubeErrors (410 in either form: Gone); an abort of `signal`: Aborted.
   */
  watch(request: WatchRequest): AsyncIterable<WatchEvent>;
  close(): Promise<void>;
}

export interface TransportObserver {
  /**
   * Once for each HTTP answer or failed attempt, retried ones too; for a watch when it opens.
   * verb: the HTTP method, or WATCH; code: HTTP status, or `<error>`; host: host:port.
   */
  answered(info: { verb: string; method: string; code: string; seconds: number; host: string }): void;
}

export interface TransportOptions {
  wire: Wire;
  authorize: Connection['authorize'];
  /** host:port, for the observer. */
  host: string;
  userAgent: string;
  clock: Clock;
  random: () => number;
  observer?: TransportObserver;
}
