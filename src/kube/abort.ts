export interface LinkedAbort {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
  /** Lets go of the parent. To be called when the work has ended, however it ended. */
  dispose(): void;
}

/**
 * An abort of our own that also follows `parent`. By hand and not AbortSignal.any: a parent that lives as long
 * as the process would otherwise keep a record of every request ever made under it until the next collection.
 */
export function linkedAbort(parent?: AbortSignal): LinkedAbort {
  const controller = new AbortController();
  const follow = (): void => controller.abort(parent?.reason);
  if (parent?.aborted === true) follow();
  else parent?.addEventListener('abort', follow, { once: true });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    dispose: () => parent?.removeEventListener('abort', follow),
  };
}

/** The promise, or a rejection with the signal's reason if that comes first: for work that knows no signal. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const reject = (): void => aborted.reject(signal.reason);
  if (signal.aborted) reject();
  signal.addEventListener('abort', reject, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', reject);
  }
}
