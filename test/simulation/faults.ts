import type { Millis } from '../../src/kube/clock.ts';
import type { WireRequest } from '../../src/kube/wire.ts';
import type { JsonObject } from './patches.ts';

/** What happens to one request. */
export type Fault =
  /** Before it takes effect. */
  | { at: 'before'; do: 'reset' }
  | { at: 'before'; do: 'hang' }
  | {
      at: 'before';
      do: 'answer';
      status: number;
      reason: string;
      message?: string;
      causes?: readonly JsonObject[];
      retryAfterSeconds?: number;
    }
  /** A list is answered as of so many revisions ago, as by an apiserver that lags behind. */
  | { at: 'before'; do: 'stale'; by: number }
  /** It has taken effect, and nobody is told. */
  | { at: 'after'; do: 'reset' | 'hang' }
  /** The answer breaks off in the middle. */
  | { at: 'after'; do: 'cut' }
  | { at: 'before'; do: 'slow'; ms: Millis };

/** What happens to a watch that is being opened or is open. */
export type WatchFault =
  | { do: 'gone'; as: 'status' | 'event' }
  /** After so many ms. */
  | { do: 'reset' | 'silence' | 'cut line'; after: Millis }
  /** Everything comes so much later. */
  | { do: 'lag'; ms: Millis }
  /** Of what happens to one object within so many ms, only the outcome is told. */
  | { do: 'coalesce'; within: Millis }
  /** Each event is lost with these odds, and nothing tells. */
  | { do: 'drop'; odds: number }
  | { do: 'no bookmarks' };

/** The process that a fault is about. */
export interface Victim {
  /** SIGKILL. */
  kill(): void;
  /** SIGSTOP. */
  freeze(): void;
  /** SIGCONT. */
  thaw(): void;
  /** Cut off from the apiserver: what is sent is lost, and nobody is told. */
  cutOff(isCutOff: boolean): void;
}

export interface Faults {
  /** Asked once for each request on its arrival. */
  onRequest?(request: WireRequest, from: Victim): Fault | undefined;
  /** Asked once for each watch. */
  onWatch?(request: WireRequest): WatchFault | undefined;
  /** Just before and just after a write takes effect, and when its answer is in. */
  onWrite?(moment: 'before' | 'after' | 'answered', request: WireRequest, from?: Victim): void;
}
