import type { Decision } from '../allocation/types.ts';

/** A Service that was refused, and what it asked for first. */
export interface Waiting {
  readonly range: string;
  readonly reason: string;
  readonly message: string;
}

/** Who was refused, as status and metrics count it. */
export interface WaitingList {
  /** By namespace/name. */
  readonly all: ReadonlyMap<string, Waiting>;
  note(key: string, decision: Decision): void;
  forget(key: string): void;
  clear(): void;
}

/** `onChange`: who waits changed, for these ranges. */
export function createWaitingList(onChange: (ranges: readonly string[]) => void): WaitingList {
  const all = new Map<string, Waiting>();

  function forget(key: string): void {
    const before = all.get(key);
    if (before === undefined) return;
    all.delete(key);
    onChange([before.range]);
  }

  return {
    all,
    note(key, decision) {
      if (decision.do !== 'refuse') return forget(key);
      const before = all.get(key);
      const now = { range: decision.range, ...decision.verdict };
      if (before?.range === now.range && before.message === now.message) return;
      all.set(key, now);
      onChange([before?.range ?? '', now.range]);
    },
    forget,
    clear: () => all.clear(),
  };
}
