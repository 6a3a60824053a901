import type { Ledger } from '../allocation/ledger.ts';
import type { ServiceView } from '../api/service.ts';
import type { Clock, Millis } from '../kube/clock.ts';
import { sleep } from '../kube/clock.ts';
import type { Store } from '../kube/store.ts';
import type { AddOptions, Workqueue } from '../kube/workqueue.ts';
import { concernsUs, inOrder, type Surroundings } from './inputs.ts';
import type { Journal } from './journalTypes.ts';
import type { Lanes } from './lanes.ts';

/**
 * Resync: now and then everything is listed and looked at again, as if it had just changed. In a healthy cluster it
 * finds nothing and writes nothing; it is the net under watches that skip something and tables that people edit.
 */
export async function resyncEvery(
  period: Millis,
  parts: Surroundings & {
    clock: Clock;
    random: () => number;
    services: Store<ServiceView>;
    queue: Workqueue;
    lanes: Lanes;
    journal: Journal;
    ledger: () => Ledger | undefined;
    /** Resolves when everything was listed anew; perhaps never after the signal. */
    listAgain: () => Promise<unknown>;
    onResync: () => void;
  },
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    // Jittered, so that several controllers on one apiserver do not beat in time.
    await sleep(parts.clock, period * (0.9 + 0.2 * parts.random()), signal);
    if (signal.aborted) return;
    await parts.listAgain();
    const ledger = parts.ledger();
    if (ledger === undefined) continue;
    ledger.forgetHistory(parts.clock.now());
    for (const key of keysToLookAt(parts, ledger)) parts.queue.add(key.key, { lane: key.lane });
    parts.journal.check();
    parts.onResync();
  }
}

/** Every Service that concerns us, and every owner in the table whose Service is not shown. */
function* keysToLookAt(
  parts: Surroundings & { services: Store<ServiceView>; lanes: Lanes },
  ledger: Ledger,
): Generator<{ key: string; lane: string }> {
  for (const service of parts.services.values()) {
    if (concernsUs(service, ledger, parts)) yield { key: service.key, lane: parts.lanes.of(service.key) };
  }
  for (const key of ownersNotShown(parts.services, ledger)) yield { key, lane: '' };
}

/** What is looked at first: owners that may be gone, then everybody who is there. */
export function* keysAtStart(
  parts: Surroundings & { services: Store<ServiceView>; lanes: Lanes },
  ledger: Ledger,
): Generator<{ key: string } & AddOptions> {
  for (const key of ownersNotShown(parts.services, ledger)) yield { key, first: 'of all' };
  yield* parts.lanes.begin(inOrder(parts.services.values(), ledger, parts));
}

/** namespace/name of owners in the table whose Service, by UID, the watch does not show. */
function ownersNotShown(services: Store<ServiceView>, ledger: Ledger): Set<string> {
  const keys = new Set<string>();
  for (const [, { state, service, uid }] of ledger.entries()) {
    if (state === 'Held' && services.get(service)?.uid !== uid) keys.add(service);
  }
  return keys;
}
