import type { Ledger } from '../allocation/ledger.ts';
import type { ServiceView } from '../api/service.ts';
import type { Clock, Millis } from '../kube/clock.ts';
import { sleep } from '../kube/clock.ts';
import type { Store } from '../kube/store.ts';
import type { AddOptions, Workqueue } from '../kube/workqueue.ts';
import { concernsUs, inOrder, laneOf, rangesAskedBy, type Surroundings, takesAny } from './inputs.ts';
import type { Journal } from './journalTypes.ts';

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
  parts: Surroundings & { services: Store<ServiceView> },
  ledger: Ledger,
): Generator<{ key: string; lane: string }> {
  for (const service of parts.services.values()) {
    if (concernsUs(service, ledger, parts)) yield { key: service.key, lane: laneOf(service, parts) };
  }
  for (const key of ownersNotShown(parts.services, ledger)) yield { key, lane: '' };
}

/**
 * What is looked at first: holders and who names numbers before all others, then by age. Who asks a range that nobody
 * asks together with another takes turns with who asks others, now and later. Between ranges that are asked together
 * the order tells who gets which, and is to be the same after every start: all of these stand in one line.
 */
export function* keysAtStart(
  parts: Surroundings & { services: Store<ServiceView> },
  ledger: Ledger,
): Generator<{ key: string } & AddOptions> {
  for (const key of ownersNotShown(parts.services, ledger)) yield { key, first: 'of all' };
  const services = inOrder(parts.services.values(), ledger, parts);
  const takers = services.filter((service) => takesAny(service, ledger));
  const lists = takers.map((service) => rangesAskedBy(service, parts));
  const together = new Set(lists.filter(({ length }) => length > 1).flat());
  const alone = new Set(takers.filter((_, i) => !lists[i]?.some((range) => together.has(range))));
  for (const service of services) {
    const { key } = service;
    yield alone.has(service) ? { key, lane: laneOf(service, parts) } : { key, first: 'of all' };
  }
}

/** namespace/name of owners in the table whose Service, by UID, the watch does not show. */
function ownersNotShown(services: Store<ServiceView>, ledger: Ledger): Set<string> {
  const keys = new Set<string>();
  for (const [, { state, service, uid }] of ledger.entries()) {
    if (state === 'Held' && services.get(service)?.uid !== uid) keys.add(service);
  }
  return keys;
}
