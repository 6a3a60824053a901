import type { Clock, Millis } from './clock.ts';
import type { Transport } from './request.ts';

export interface LeaseOptions {
  /** Best on connections of its own: whatever else is busy must not delay a renewal. */
  readonly transport: Transport;
  readonly namespace: string;
  readonly name: string;
  /** Unique for each start of a process. */
  readonly identity: string;
  readonly fieldManager: string;
  /** For how long nobody else takes it after it was renewed; whole seconds, more than renewDeadline. @default 10 s */
  readonly leaseDuration: Millis;
  /** When a holder that cannot renew gives up; more than 1.2 times retryPeriod. */
  readonly renewDeadline: Millis;
  readonly retryPeriod: Millis;
  readonly clock: Clock;
  readonly random: () => number;
  /** Annotations to write with the taking, from those that the Lease has. */
  readonly annotate: (found: Readonly<Record<string, string>>) => Record<string, string>;
  readonly observer: LeaseObserver;
}

export interface LeaseObserver {
  /** Whenever it changes. */
  leads(leads: boolean): void;
  /** Another than before is seen to hold the Lease; '': nobody. */
  holder(identity: string): void;
  failed(info: { during: 'election' | 'renewal' | 'release'; error: unknown }): void;
}

/** By how much a pause is stretched at most, as client-go's JitterFactor. */
export const JITTER = 1.2;

/**
 * Half the renewDeadline, as client-go: one request that hangs leaves time for another. A second at least, for an apiserver
 * that is busy, but never more than the deadline.
 */
export function requestTimeout(renewDeadline: Millis): Millis {
  return Math.min(Math.max(renewDeadline / 2, 1_000), renewDeadline);
}
