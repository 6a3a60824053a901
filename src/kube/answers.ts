import type { Millis } from './clock.ts';
import { codeOfStatus, type KubeErrorCause, KubeError, reasons } from './errors.ts';
import { wireFailureOf, type WireResponse } from './wire.ts';

/** The parts of a metav1.Status that matter here. */
export interface Status {
  kind?: unknown;
  message?: unknown;
  reason?: unknown;
  code?: unknown;
  details?: {
    causes?: { field?: unknown; message?: unknown; reason?: unknown }[];
    retryAfterSeconds?: unknown;
  } | null;
}

/**
 * The body of a 2xx answer: parsed, or as text where `accept` asks for text.
 * @param credentials the Authorization header that was sent: some proxies show all that they were asked in their
 *   errors, and errors go to logs and to people
 * @throws KubeError for every other status; BadResponse when the body is cut or is no JSON
 */
export async function answerOf(
  request: string,
  response: WireResponse,
  accept: string | undefined,
  signal: AbortSignal,
  credentials: string | undefined,
): Promise<unknown> {
  let body: string;
  try {
    body = await response.body.text();
  } catch (e) {
    throw cutShort(request, response.status, e, signal);
  }
  if (response.status > 299) throw errorOf(request, response, without(credentials, body));
  if (accept?.startsWith('text/') === true) return body;
  try {
    return JSON.parse(body);
  } catch {
    throw new KubeError({
      code: 'BadResponse',
      request,
      status: response.status,
      message: `no JSON: ${excerpt(without(credentials, body))}`,
    });
  }
}

/** An answer whose body broke off. What the status line said still stands, unless it was a success. */
function cutShort(request: string, status: number, e: unknown, signal: AbortSignal): KubeError {
  if (signal.aborted || wireFailureOf(e) === 'timeout') return failureOf(request, e, signal);
  const code = status <= 299 ? 'BadResponse' : codeOfStatus(status, '');
  return new KubeError({
    code,
    request,
    status,
    message: `the answer was cut short: ${textOf(e)}`,
    cause: e,
  });
}

function errorOf(request: string, response: WireResponse, body: string): KubeError {
  const retryAfterMs = retryAfterOf(response.headers['retry-after']);
  try {
    const status = JSON.parse(body) as Status | null;
    if (status?.kind === 'Status') return statusError(request, status, response.status, retryAfterMs);
  } catch {
    // A proxy's page, or net/http's plain text: the status line is all that can be relied on.
  }
  const code = codeOfStatus(response.status, '');
  return new KubeError({ code, request, status: response.status, message: excerpt(body), retryAfterMs });
}

/** From a Status object: of an answer (then `httpStatus` decides), or inside an ERROR event. */
export function statusError(
  request: string,
  status: Status | null | undefined,
  httpStatus: number | undefined,
  retryAfterMs?: Millis,
): KubeError {
  const number = httpStatus ?? (typeof status?.code === 'number' ? status.code : 500);
  const reason = textOr(status?.reason, '');
  const seconds = status?.details?.retryAfterSeconds;
  return new KubeError({
    code: codeOfStatus(number, reason),
    request,
    status: number,
    reason,
    message: textOr(status?.message, ''),
    causes: causesOf(status),
    retryAfterMs: retryAfterMs ?? (typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined),
  });
}

function causesOf(status: Status | null | undefined): KubeErrorCause[] {
  return (status?.details?.causes ?? []).map((cause) => ({
    field: textOr(cause.field, ''),
    message: textOr(cause.message, ''),
    reason: textOr(cause.reason, ''),
  }));
}

/**
 * Codes whatever a Wire threw. An abort of `signal` explains everything that follows it.
 * @param sent false when the abort came at a time at which no request was under way
 */
export function failureOf(request: string, e: unknown, signal: AbortSignal, sent = true): KubeError {
  if (e instanceof KubeError) return e;
  const message = textOf(e);
  if (signal.aborted) {
    const timeout = signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError';
    const code = timeout ? 'Timeout' : 'Aborted';
    const reason = sent ? '' : reasons.notSent;
    return new KubeError({ code, request, reason, message: textOf(signal.reason), cause: e });
  }
  if (e instanceof TypeError) return new KubeError({ code: 'BadResponse', request, message, cause: e });
  switch (wireFailureOf(e)) {
    case 'timeout':
      return new KubeError({ code: 'Timeout', request, message, cause: e });
    case 'closed':
      return new KubeError({ code: 'Aborted', request, reason: reasons.notSent, message, cause: e });
    case 'unsent':
      return new KubeError({ code: 'Network', request, reason: reasons.notSent, message, cause: e });
    case 'reset':
      return new KubeError({ code: 'Network', request, reason: reasons.connectionLost, message, cause: e });
  }
}

/** Seconds or an HTTP date (RFC 9110 §10.2.3); kube-apiserver sends seconds. A date is not worth trusting clocks for. */
function retryAfterOf(header: string | undefined): Millis | undefined {
  const seconds = header === undefined ? Number.NaN : Number(header);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise;
}

function textOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}

function without(credentials: string | undefined, body: string): string {
  const secret = credentials?.replace(/^\S+ /, '') ?? '';
  return secret === '' ? body : body.replaceAll(secret, '…');
}

function excerpt(body: string): string {
  return body.length > 200 ? `${body.slice(0, 200)}…` : body;
}
