/** Who holds a number, read from what the ledger knows of it; nothing is changed here. */
import type { ServicePort } from '../api/service.ts';
import { has, type Port, type PortSet } from '../ports/portSet.ts';
import type { Entries } from './entries.ts';
import { concerns } from './entry.ts';
import type { Rests } from './rests.ts';
import type { Holding, Owner } from './types.ts';

/** What the ledger keeps about numbers, read-only. */
export interface Known {
  /** Services that have the number, as the watch shows them. */
  readonly holders: ReadonlyMap<Port, readonly Owner[]>;
  readonly entries: Pick<Entries, 'get'>;
  readonly resting: Pick<Rests, 'has' | 'until'>;
  readonly unreadable: PortSet;
  readonly taken: PortSet;
}

/** Undefined: the number is free. */
export function holdingOf({ holders, entries, resting, unreadable }: Known, port: Port): Holding | undefined {
  const entry = entries.get(port);
  const owner = holders.get(port)?.[0];
  if (owner !== undefined)
    return { by: 'service', owner, managed: entry?.state === 'Held' && entry.uid === owner.uid };
  if (has(unreadable, port)) return { by: 'unreadable' };
  if (entry?.state === 'Held') return { by: 'reservation', owner: { key: entry.service, uid: entry.uid } };
  if (!resting.has(port)) return undefined;
  const until = resting.until(port);
  if (entry === undefined) return { by: 'refusal', until };
  return { by: 'cooldown', last: { key: entry.service, uid: entry.uid }, ports: entry.ports, until };
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
  if (entry === undefined) return !resting.has(port);
  return !resting.has(port) || (entry.service === owner.key && concerns(entry.ports, ports));
}
