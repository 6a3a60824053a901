import type { Port } from '../ports/portSet.ts';
import { deleteFrom } from './sets.ts';
import type { Entry } from './types.ts';

/** The table's entries: by number, by who holds them, and by who held them before. */
export interface Entries {
  readonly all: ReadonlyMap<Port, Entry>;
  get(port: Port): Entry | undefined;
  /** Undefined: the number has no entry any more. */
  set(port: Port, entry: Entry | undefined): void;
  /** Held for this UID, by number. */
  heldBy(uid: string): ReadonlyMap<Port, Entry>;
  /** UIDs that hold anything under this namespace/name. */
  uidsAt(key: string): Iterable<string>;
  /** Released by this namespace/name; undefined: none. */
  releasedBy(key: string): ReadonlySet<Port> | undefined;
}

export function createEntries(): Entries {
  const all = new Map<Port, Entry>();
  const held = new Map<string, Map<Port, Entry>>();
  const uids = new Map<string, Set<string>>();
  const former = new Map<string, Set<Port>>();

  function unindex(port: Port, { state, uid, service }: Entry): void {
    if (state === 'Released') return deleteFrom(former, service, port);
    deleteFrom(held, uid, port);
    if (!held.has(uid)) deleteFrom(uids, service, uid);
  }

  function index(port: Port, entry: Entry): void {
    const { state, uid, service } = entry;
    if (state === 'Released') return void former.set(service, (former.get(service) ?? new Set()).add(port));
    held.set(uid, (held.get(uid) ?? new Map<Port, Entry>()).set(port, entry));
    uids.set(service, (uids.get(service) ?? new Set()).add(uid));
  }

  return {
    all,
    get: (port) => all.get(port),
    set(port, entry) {
      const before = all.get(port);
      if (before !== undefined) unindex(port, before);
      if (entry === undefined) return void all.delete(port);
      all.set(port, entry);
      index(port, entry);
    },
    heldBy: (uid) => held.get(uid) ?? NO_ENTRIES,
    uidsAt: (key) => uids.get(key) ?? [],
    releasedBy: (key) => former.get(key),
  };
}

const NO_ENTRIES: ReadonlyMap<Port, Entry> = new Map();
