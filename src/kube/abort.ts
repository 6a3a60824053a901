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
