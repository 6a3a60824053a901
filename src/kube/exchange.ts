import { orAborted } from './abort.ts';
import { failureOf } from './answers.ts';
import { KubeError, reasons } from './errors.ts';
import { isolated } from './isolated.ts';
import type { ApiRequest, Query, TransportOptions } from './request.ts';
import type { WireResponse } from './wire.ts';

/** Credentials and what every request says of itself. */
export async function headersFor(
  options: TransportOptions,
  request: Pick<ApiRequest, 'method' | 'path' | 'accept' | 'body' | 'contentType'>,
  fresh: boolean,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  if (signal.aborted) throw failureOf(nameOf(request), signal.reason, signal, false);
  return {
    ...(await credentialsFor(options, request, fresh, signal)),
    accept: request.accept ?? 'application/json',
    'user-agent': options.userAgent,
    ...(request.body === undefined ? {} : { 'content-type': request.contentType ?? 'application/json' }),
  };
}

async function credentialsFor(
  { authorize }: TransportOptions,
  request: Pick<ApiRequest, 'method' | 'path'>,
  fresh: boolean,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  try {
    const credentials = authorize({ fresh });
    return credentials instanceof Promise ? await orAborted(credentials, signal) : credentials;
  } catch (cause) {
    if (signal.aborted) throw failureOf(nameOf(request), cause, signal, false);
    const message = cause instanceof Error ? cause.message : String(cause);
    const reason = reasons.noCredentials;
    throw new KubeError({ code: 'Unauthorized', request: nameOf(request), reason, message, cause });
  }
}

/** Sends, tells the observer, and codes what goes wrong before the headers. */
export async function send(
  { clock, host, observer }: TransportOptions,
  verb: string,
  name: string,
  go: () => Promise<WireResponse>,
  signal: AbortSignal,
): Promise<WireResponse> {
  const began = clock.monotonic();
  const tell = (code: string): void => {
    const method = verb === 'WATCH' ? 'GET' : verb;
    const seconds = (clock.monotonic() - began) / 1000;
    isolated(() => observer?.answered({ verb, method, code, seconds, host }));
  };
  try {
    const response = await go();
    tell(String(response.status));
    return response;
  } catch (e) {
    tell('<error>');
    throw failureOf(name, e, signal);
  }
}

/** The reason of an abort that a time bound made. */
export function timedOut(): DOMException {
  return new DOMException('timed out', 'TimeoutError');
}

/** How errors call a request: verb and path. */
export function nameOf({ method, path }: { method: string; path: string }): string {
  return `${method} ${path}`;
}

export function pathOf(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === '' ? path : `${path}?${text}`;
}
