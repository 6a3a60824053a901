/**
 * What a watch has shown of one kind, by key. The reflector writes; everyone else reads and subscribes.
 *
 * Listeners hear of a change after it is in the store, synchronously and in the order of subscription. What one
 * throws reaches onListenerError and nobody else.
 */

import { isolated } from './isolated.ts';

/** @see keyOf for what `key` must be when a reflector fills the store */
export interface Stored {
  readonly key: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** Addition (after), update (both, of one uid) or removal (before: the last state known). */
export type Change<T> = { readonly before?: T; readonly after?: T };

export interface Store<T extends Stored> {
  get(key: string): T | undefined;
  values(): IterableIterator<T>;
  readonly size: number;
  subscribe(listener: (change: Change<T>) => void): void;
}

export interface WritableStore<T extends Stored> extends Store<T> {
  /** The complete content. Reports what differs by uid or resourceVersion, removals first. Of a repeated key the last counts. */
  replace(items: readonly T[]): void;
  /** Adds or updates. Another uid under the same key is two changes: a removal, then an addition. */
  set(item: T): void;
  /** Nothing happens when there is none. */
  remove(key: string): void;
}

/** `namespace/name`, or the name alone for what lives in no namespace. */
export function keyOf(object: { metadata: { name: string; namespace?: string } }): string {
  const { name, namespace } = object.metadata;
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

export function createStore<T extends Stored>(
  options: { onListenerError?: (e: unknown) => void } = {},
): WritableStore<T> {
  const items = new Map<string, T>();
  const listeners: ((change: Change<T>) => void)[] = [];

  const report = (change: Change<T>): void => tellAll(listeners, change, options.onListenerError);
  const remove = (key: string): void => {
    const before = items.get(key);
    if (before !== undefined && items.delete(key)) report({ before });
  };
  const set = (item: T): void => {
    if (items.get(item.key)?.uid !== item.uid) remove(item.key);
    const before = items.get(item.key);
    items.set(item.key, item);
    report(before === undefined ? { after: item } : { before, after: item });
  };

  return {
    get: (key) => items.get(key),
    values: () => items.values(),
    get size() {
      return items.size;
    },
    subscribe: (listener) => void listeners.push(listener),
    set,
    remove,
    replace(complete) {
      const next = new Map(complete.map((item) => [item.key, item]));
      for (const [key, { uid }] of items) {
        if (next.get(key)?.uid !== uid) remove(key);
      }
      for (const item of next.values()) {
        if (items.get(item.key)?.resourceVersion !== item.resourceVersion) set(item);
      }
    },
  };
}

function tellAll<T>(
  listeners: readonly ((change: Change<T>) => void)[],
  change: Change<T>,
  onError: ((e: unknown) => void) | undefined,
): void {
  for (const listener of listeners) {
    try {
      listener(change);
    } catch (e) {
      isolated(() => onError?.(e));
    }
  }
}

/**
 * Negative, 0 or positive as `a` is older than, the same as or newer than `b`. Numbers of any length, compared as
 * numbers, which is legal for all resources of one cluster since Kubernetes 1.35 (KEP-5504). '' is older than all.
 */
export function compareResourceVersions(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
