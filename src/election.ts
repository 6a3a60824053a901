import { FIELD_MANAGER, NAME } from './api/names.ts';
import type { Log } from './controller/audit.ts';
import { electedBy, type Mandate, nextEpoch, selfAppointed } from './controller/mandate.ts';
import type { Clock } from './kube/clock.ts';
import { type Tenure, winLease } from './kube/lease.ts';
import type { Transport } from './kube/transport.ts';
import type { Options } from './options.ts';

/** Whose turn it is to write, as this process sees it. */
export interface Election {
  /** Resolves when it is ours; undefined: the signal came first. */
  mandate(signal: AbortSignal): Promise<Mandate | undefined>;
  /** Whether a write may leave this process at this moment. */
  mayWrite(): boolean;
  /** Lets the next one begin. To be called when nothing is written any more. */
  release(): Promise<void>;
}

type ElectionOptions = Pick<
  Options,
  'namespace' | 'leaderElectLeaseDuration' | 'leaderElectRenewDeadline' | 'leaderElectRetryPeriod'
>;

/** Without leader election it is always our turn. */
export const noElection: Election = {
  mandate: async () => selfAppointed,
  mayWrite: () => true,
  release: async () => undefined,
};

/** @param parts.onLost nobody may write any more, not even to finish what was begun */
export function createElection(parts: {
  readonly options: ElectionOptions;
  readonly transport: Transport;
  readonly identity: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly leads: (name: string, leads: boolean) => void;
  readonly onLost: (why: string) => void;
}): Election {
  const { options, transport, identity, clock, random, log } = parts;
  let tenure: Tenure | undefined;
  parts.leads(NAME, false);
  const lease = {
    transport,
    namespace: options.namespace,
    name: NAME,
    identity,
    fieldManager: FIELD_MANAGER,
    leaseDuration: options.leaderElectLeaseDuration,
    renewDeadline: options.leaderElectRenewDeadline,
    retryPeriod: options.leaderElectRetryPeriod,
    clock,
    random,
    annotate: nextEpoch(identity),
    observer: {
      leads(leads: boolean): void {
        parts.leads(NAME, leads);
        log.info({ lease: NAME }, leads ? 'leading' : 'not leading any more');
      },
      holder: (holder: string) => log.info({ lease: NAME, holder }, 'the lease is held by another'),
      failed: ({ during, error }: { during: string; error: unknown }) =>
        log.warn({ lease: NAME, during, error: String(error) }, 'lease not read or written'),
    },
  };
  return {
    async mandate(signal) {
      tenure = await winLease(lease, signal);
      void tenure?.lost.then(parts.onLost);
      return tenure === undefined || signal.aborted ? undefined : electedBy(tenure);
    },
    mayWrite: () => tenure?.holds() ?? false,
    release: async () => tenure?.release(),
  };
}
