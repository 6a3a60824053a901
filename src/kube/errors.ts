import type { Millis } from './clock.ts';

/** What the codes mean and which HTTP statuses they stand for. The one table of this folder's errors. */
const codes = {
  BadRequest: { statuses: [400, 405, 406, 413, 415], meaning: 'the server did not understand the request' },
  Unauthorized: { statuses: [401], meaning: 'the server does not know who we are' },
  Forbidden: { statuses: [403], meaning: 'we may not do this' },
  NotFound: { statuses: [404], meaning: 'there is no such object or resource' },
  Conflict: { statuses: [409], meaning: 'the object has changed since it was read' },
  /** 409 as well; told apart by the Status' reason. */
  AlreadyExists: { statuses: [], meaning: 'an object of that name exists' },
  Gone: { statuses: [410], meaning: 'that resourceVersion or continue token is no longer served' },
  Invalid: { statuses: [422], meaning: 'the server rejected the content' },
  TooManyRequests: { statuses: [429], meaning: 'the server asked us to slow down' },
  /** Every other 5xx. */
  ServerError: { statuses: [500, 502, 503], meaning: 'the server failed' },
  Timeout: { statuses: [408, 504], meaning: 'no answer in time' },
  Network: { statuses: [], meaning: 'no connection, or it broke' },
  BadResponse: { statuses: [], meaning: 'the answer could not be understood' },
  Aborted: { statuses: [], meaning: 'we stopped waiting' },
} as const satisfies Record<string, { statuses: readonly number[]; meaning: string }>;

export type KubeErrorCode = keyof typeof codes;

export interface KubeErrorCause {
  /** As the server names it, e.g. `spec.ports[0].nodePort`; '' when it names none. */
  field: string;
  message: string;
  reason: string;
}

export interface KubeErrorDetails {
  code: KubeErrorCode;
  /** Verb and path, without the query. */
  request: string;
  /** HTTP status (of the answer, or inside an ERROR event), when there was one. */
  status?: number | undefined;
  /** The Status object's reason, or a word of ours (see `reasons`). '' when nothing is known. */
  reason?: string;
  message?: string;
  causes?: readonly KubeErrorCause[];
  retryAfterMs?: Millis | undefined;
  cause?: unknown;
}

/** Reasons of our own, for failures that carry no Status. */
export const reasons = {
  /** Nothing was sent, or the server refused to work on it: the request cannot have had an effect. */
  notSent: 'NotSent',
  /** The connection broke before an answer. */
  connectionLost: 'ConnectionLost',
  /** The credentials could not be obtained: nothing was sent. */
  noCredentials: 'NoCredentials',
} as const;

/** Any failure to get what was asked of the apiserver. */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly code: KubeErrorCode;
  readonly status: number | undefined;
  readonly reason: string;
  readonly causes: readonly KubeErrorCause[];
  readonly retryAfterMs: Millis | undefined;
  /** Verb and path. */
  readonly request: string;

  constructor(details: KubeErrorDetails) {
    const status = details.status === undefined ? '' : ` (${details.status})`;
    const said = details.message === undefined || details.message === '' ? '' : `: ${details.message}`;
    super(`${details.request}: ${codes[details.code].meaning}${status}${said}`, { cause: details.cause });
    this.code = details.code;
    this.status = details.status;
    this.reason = details.reason ?? '';
    this.causes = details.causes ?? [];
    this.retryAfterMs = details.retryAfterMs;
    this.request = details.request;
  }
}

const byStatus = new Map<number, KubeErrorCode>(
  Object.entries(codes).flatMap(([code, { statuses }]) =>
    statuses.map((status) => [status, code as KubeErrorCode] as const),
  ),
);

/** The code for an HTTP status that is no success, and the Status' reason where the number alone is not enough. */
export function codeOfStatus(status: number, reason: string): KubeErrorCode {
  if (status === 409 && reason === 'AlreadyExists') return 'AlreadyExists';
  const known = byStatus.get(status);
  if (known !== undefined) return known;
  if (status >= 500) return 'ServerError';
  return status >= 400 ? 'BadRequest' : 'BadResponse';
}

/** True for a KubeError; with codes, for one of these codes only. */
export function isKubeError(e: unknown, ...wanted: KubeErrorCode[]): e is KubeError {
  return e instanceof KubeError && (wanted.length === 0 || wanted.includes(e.code));
}

/**
 * A 500 InternalError usually means that the server decided against the write ("range is full"), but storage
 * trouble wears the same reason, and then the write may be in etcd.
 */
const STORAGE_TROUBLE = /etcd|time[d ]*out|deadline|unavailable|connection|\bEOF\b|cancel|leader|transport/i;

/**
 * True when a write may have taken effect although we got no answer that says so: a timeout, a connection lost
 * after the request may have gone out, an answer that could not be read, an abort of ours, or a 5xx without a
 * Status that says otherwise. Doubtful cases count as true: the caller then looks before it acts again.
 */
export function isAmbiguous(e: unknown): boolean {
  if (!(e instanceof KubeError) || e.reason === reasons.notSent) return false;
  if (e.code === 'ServerError') return e.reason !== 'InternalError' || STORAGE_TROUBLE.test(e.message);
  return isKubeError(e, 'Timeout', 'BadResponse', 'Aborted', 'Network');
}
