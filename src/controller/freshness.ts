/**
 * Whether what the watch shows of a Service is new enough to decide from. Where it may not be, the apiserver itself is
 * asked, or the watch is waited for:
 *
 *   the table has an owner of another UID there ──► ask: who is not there any more is gone
 *   our last write to it was not answered       ──► ask: what is there now is the least that the watch must show
 *   the table gives it a number that is not     ──► ask, once for each state of it that is shown: it has lost the
 *   shown, and that was not given just now          number, or the watch has skipped how it got it
 *   our last write to it is not shown yet       ──► wait: the watch will bring it, or a resync, and the key with it
 */
import type { Ledger } from '../allocation/ledger.ts';
import { numbersOf, type ServiceView } from '../api/service.ts';
import type { Clock } from '../kube/clock.ts';
import { compareResourceVersions } from '../kube/store.ts';

/** What follows from the live Service; undefined: there is none of this name. */
export type Learn = (live: ServiceView | undefined) => void;

export interface Freshness {
  /** What to ask the apiserver for, and why; undefined: nothing. `service`: as the watch shows it. */
  doubt(ledger: Ledger, key: string, service: ServiceView | undefined): Learn | undefined;
  /** Whether the watch does not show our last write yet. */
  isBehind(service: ServiceView): boolean;
  /** Our write was answered with this resourceVersion. */
  wrote(key: string, resourceVersion: string): void;
  /** Our write was not answered: it may have been done. */
  unanswered(key: string): void;
  forget(key: string): void;
  /** Forgets what was written, as after a restored etcd. */
  clear(): void;
}

export function createFreshness(clock: Pick<Clock, 'now'>): Freshness {
  /** Our last write to a Service, until the watch shows it. */
  const writtenAt = new Map<string, string>();
  /** Services whose last write was not answered. */
  const unanswered = new Set<string>();
  /** Of Services that do not show all that the table gives them: the state that was compared with the live one. */
  const compared = new Map<string, string>();

  function answered(key: string, live: ServiceView | undefined): void {
    unanswered.delete(key);
    if (live !== undefined) writtenAt.set(key, live.resourceVersion);
  }

  return {
    doubt(ledger, key, service) {
      const former = ledger.ownersAt(key).filter((uid) => uid !== service?.uid);
      if (former.length > 0)
        return (live) => {
          for (const uid of former) if (uid !== live?.uid) ledger.gone(uid, clock.now());
        };
      if (service === undefined) return undefined;
      const { resourceVersion } = service;
      if (!lacksNumbers(ledger, service)) compared.delete(key);
      else if (compared.get(key) !== resourceVersion)
        return (live) => {
          compared.set(key, resourceVersion);
          answered(key, live);
        };
      return unanswered.has(key) ? (live) => answered(key, live) : undefined;
    },
    isBehind({ key, resourceVersion }) {
      if (compareResourceVersions(resourceVersion, writtenAt.get(key) ?? '') < 0) return true;
      writtenAt.delete(key);
      return false;
    },
    wrote: (key, resourceVersion) => void writtenAt.set(key, resourceVersion),
    unanswered: (key) => void unanswered.add(key),
    forget(key) {
      writtenAt.delete(key);
      unanswered.delete(key);
      compared.delete(key);
    },
    clear() {
      writtenAt.clear();
      compared.clear();
    },
  };
}

function lacksNumbers(ledger: Ledger, service: ServiceView): boolean {
  const shown = numbersOf(service);
  for (const port of ledger.entriesOf(service.uid).keys())
    if (!shown.includes(port) && !ledger.isPromised(port)) return true;
  return false;
}
