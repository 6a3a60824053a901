/** Who holds a number, read from what the ledger knows of it; nothing is changed here. */
import type { ServicePort } from '../api/service.ts';
import { has, type Port, type PortSet } from '../ports/portSet.ts';
import type { Entries } from './entries.ts';
import { concerns } from './entry.ts';
import type { Rests } from './rests.ts';
import type { Holding, HoldingKind, Owner } from './types.ts';

/** What the ledger keeps about numbers, read-only. */
export interface Known {
  /** Services that have the number, as the watch shows them. */
  readonly holders: ReadonlyMap<Port, readonly Owner[]>;
  readonly entries: Pick<Entries, 'get'>;
  readonly resting: Pick<Rests, 'has' | 'until' | 'isRefused'>;
  readonly unreadable: PortSet;
  readonly taken: PortSet;
}

/** What a holding is, in a word: nothing is made, so that tens of thousands of numbers can be looked at. */
export function kindOf({ holders, entries, resting, unreadable }: Known, port: Port): HoldingKind {
  const entry = entries.get(port);
  const owner = holders.get(port)?.[0];
  if (owner !== undefined)
    return entry?.state === 'Held' && entry.uid === owner.uid ? 'managed' : 'unmanaged';
  if (has(unreadable, port)) return 'unreadable';
  if (entry?.state === 'Held') return 'reservation';
  if (!resting.has(port)) return 'free';
  return resting.isRefused(port) ? 'refusal' : 'cooldown';
}

/** Undefined: the number is free. */
export function holdingOf(known: Known, port: Port): Holding | undefined {
  const kind = kindOf(known, port);
  const [owner] = known.holders.get(port) ?? [];
  const entry = known.entries.get(port);
  const recorded = { key: entry?.service ?? '', uid: entry?.uid ?? '' };
  const until = known.resting.until(port);
  switch (kind) {
    case 'managed':
    case 'unmanaged':
      return owner && { by: 'service', owner, managed: kind === 'managed' };
    case 'reservation':
      return { by: kind, owner: recorded };
    case 'cooldown':
      return { by: kind, last: recorded, ports: entry?.ports ?? [], until };
    case 'refusal':
      return { by: kind, until };
    case 'unreadable':
      return { by: kind };
    case 'free':
      return undefined;
  }
}

/** Nobody holds it but the owner itself, its own reservation, or a cooldown that it may end for these ports. */
export function isFreeFor(
  { holders, entries, resting, unreadable, taken }: Known,
  port: Port,
  owner: Owner,
  ports: readonly ServicePort[],
): boolean {
  if (!has(taken, port)) return true;
  if (has(unreadable, port)) return false;
  if (holders.get(port)?.some(({ uid }) => uid !== owner.uid)) return false;
  const entry = entries.get(port);
  if (entry?.state === 'Held') return entry.uid === owner.uid;
  if (entry === undefined || resting.isRefused(port)) return !resting.has(port);
  return !resting.has(port) || (entry.service === owner.key && concerns(entry.ports, ports));
}
