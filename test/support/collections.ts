/** A Map or Set that somebody keeps. */
export interface Kept {
  /** Where it was made: `kube/workqueue.ts:106`. */
  readonly madeAt: string;
  size(): number;
}

/**
 * Finds leaks: every Map and Set that code under `/src/` makes from now until `stop`, with where it was made. Those made
 * afterwards are reached through these, or belong to one piece of work.
 */
export function watchCollections(): { stop(): readonly Kept[] } {
  const made: Kept[] = [];
  const [PlainMap, PlainSet] = [globalThis.Map, globalThis.Set];
  const note = (collection: { size: number }): void => {
    // Below this function and the constructor.
    const frame = new Error('made').stack?.split('\n')[3] ?? '';
    const madeAt = /\/src\/(.+?:\d+)/.exec(frame)?.[1];
    if (madeAt !== undefined) made.push({ madeAt, size: () => collection.size });
  };
  globalThis.Map = class<K, V> extends PlainMap<K, V> {
    constructor(entries?: Iterable<readonly [K, V]> | null) {
      super(entries);
      note(this);
    }
  };
  globalThis.Set = class<T> extends PlainSet<T> {
    constructor(values?: Iterable<T> | null) {
      super(values);
      note(this);
    }
  };
  return {
    stop() {
      globalThis.Map = PlainMap;
      globalThis.Set = PlainSet;
      return made;
    },
  };
}
