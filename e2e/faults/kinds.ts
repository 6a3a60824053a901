/**
 * What can go wrong, in plain words, and how often it does: per request, per write, per watch, or per pause between two
 * steps. What a kind does to which request is drawn from the seed and from the how-manieth request of its name it is, so
 * that a seed strikes the same requests however they interleave.
 */
import type { Snapshot } from './etcd.ts';
import type { History } from './arena.ts';
import type { Passing } from './passing.ts';
import * as pause from './pauses.ts';
import type { Fault, WatchFault } from './proxy.ts';
import { snatch, numberIn } from './snatch.ts';

export type Random = () => number;

export interface Pause {
  readonly history: History;
  /** Of etcd, from somewhere before. */
  snapshots: Snapshot[];
}

/** False: there was nothing to strike. */
type Strike = (random: Random, pause: Pause) => Promise<boolean>;

export type Kind = {
  /** How often, of one. */
  readonly odds: number;
  /** At most so often in a history. */
  readonly most?: number;
  /** Two with leader election, and not one alone. */
  readonly replicas?: 2;
} /** Undefined: this request is none of its business. */ & (
  | {
      readonly per: 'request';
      strike(random: Random, passing: Passing, history: History): Fault | undefined;
    }
  | {
      readonly per: 'write';
      readonly moment: 'before' | 'after' | 'answered';
      strike: (random: Random, passing: Passing, history: History) => Promise<boolean>;
    }
  | { readonly per: 'watch'; strike(random: Random): WatchFault }
  | { readonly per: 'pause'; strike: Strike }
);

const refusal = (status: number, reason: string, retryAfterSeconds?: number): Kind => ({
  per: 'request',
  odds: 0.08,
  strike: () => ({
    at: 'before',
    do: 'answer',
    status,
    reason,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  }),
});
const lost = (fault: Fault, odds = 0.06): Kind => ({ per: 'request', odds, strike: () => fault });
/** Each may cost half a minute. */
const hangs = (fault: Fault): Kind => ({ ...lost(fault, 0.04), most: 3 });
const watch = (odds: number, strike: (random: Random) => WatchFault): Kind => ({
  per: 'watch',
  odds,
  strike,
});
const between = (odds: number, strike: Strike, most = 8): Kind => ({
  per: 'pause',
  odds,
  most,
  strike,
});
const killed = (moment: 'before' | 'after' | 'answered'): Kind => ({
  per: 'write',
  odds: 0.06,
  most: 12,
  moment,
  async strike(_, __, history) {
    await history.restart();
    return true;
  },
});
const upTo = (most: number) => (random: Random) => Math.floor(random() * most);

export const KINDS: Readonly<Record<string, Kind>> = {
  'connection lost before the request': lost({ at: 'before', do: 'reset' }),
  'connection lost after it took effect': lost({ at: 'after', do: 'reset' }),
  'no answer, and nothing done': hangs({ at: 'before', do: 'hang' }),
  'no answer, and it was done': hangs({ at: 'after', do: 'hang' }),
  'an answer cut in the middle': lost({ at: 'after', do: 'cut' }),
  'connection lost in the middle of an answer': lost({ at: 'after', do: 'break' }),
  'slow answers': {
    per: 'request',
    odds: 0.2,
    strike: (random) => ({ at: 'before', do: 'slow', ms: upTo(1_500)(random) }),
  },
  '409 Conflict': refusal(409, 'Conflict'),
  '429 with Retry-After': refusal(429, 'TooManyRequests', 1),
  '500 InternalError': refusal(500, 'InternalError'),
  '503 ServiceUnavailable': refusal(503, 'ServiceUnavailable'),
  '504 Timeout': refusal(504, 'Timeout'),
  '422 “already allocated”': {
    per: 'request',
    odds: 0.25,
    strike(_, passing) {
      const number = numberIn(passing);
      if (number === undefined) return undefined;
      const text = `Invalid value: ${number}: provided port is already allocated`;
      const field = 'spec.ports[0].nodePort';
      const causes = [{ field, message: text, reason: 'FieldValueInvalid' }];
      const message = `Service "s" is invalid: ${field}: ${text}`;
      return { at: 'before', do: 'answer', status: 422, reason: 'Invalid', message, causes };
    },
  },
  'native allocation of the number just chosen': {
    per: 'write',
    odds: 0.2,
    moment: 'before',
    async strike(random, passing, { arena }) {
      const number = numberIn(passing);
      const name = `rival-${Math.floor(random() * 1e9)}`;
      return number !== undefined && (await snatch(arena.client, `b/${name}`, number));
    },
  },
  'killed before a write': killed('before'),
  'killed after a write and before its answer': killed('after'),
  'killed after the answer to a write': killed('answered'),
  'watches that end in 410': watch(0.3, () => ({ do: 'gone', as: 'status' })),
  'watches that say 410': watch(0.3, () => ({ do: 'gone', as: 'event' })),
  'watches that end': watch(0.6, (random) => ({ do: 'end', after: upTo(4_000)(random) })),
  'watches that break': watch(0.6, (random) => ({ do: 'reset', after: upTo(4_000)(random) })),
  'watches cut in a line': watch(0.6, (random) => ({ do: 'cut line', after: upTo(4_000)(random) })),
  'watches that fall silent': watch(0.4, (random) => ({ do: 'silence', after: upTo(4_000)(random) })),
  'watches that lag': watch(0.7, (random) => ({ do: 'lag', ms: upTo(2_500)(random) })),
  'watches without bookmarks': watch(1, () => ({ do: 'no bookmarks' })),
  'stale lists': {
    per: 'request',
    odds: 0.5,
    strike: (random, { method, object, url }, { arena }) =>
      method === 'GET' && object === '' && arena.proxy.hasListed(url)
        ? { at: 'before', do: 'replay', age: 1 + Math.floor(random() * 4) }
        : undefined,
  },
  'kill -9': between(0.3, pause.kill),
  'all connections reset': between(0.3, pause.reset),
  'all connections half-open': between(0.15, pause.halfOpen, 2),
  'the process stopped for a while': between(0.2, pause.stopForAWhile, 4),
  'apiserver killed and restarted': between(0.1, pause.restartApiserver, 2),
  'etcd killed and restarted': between(0.1, pause.restartEtcd, 2),
  'etcd put back to an older snapshot': between(0.25, pause.restoreEtcd, 2),
  'two leaders': { ...between(0.15, pause.twoLeaders, 2), replicas: 2 },
  'the table deleted': between(0.2, pause.deleteTable),
  'the table edited by hand': between(0.3, pause.editTable),
  'the table overwritten with nonsense': between(0.2, pause.spoilTable),
  'node ports edited by hand': between(0.4, pause.editNodePort),
  'PortRanges edited': between(0.4, pause.editRange),
  'events dropped': watch(1, (random) => ({ do: 'drop', each: 3 + upTo(8)(random) })),
  'events coalesced': watch(1, (random) => ({ do: 'coalesce', within: 200 + upTo(2_000)(random) })),
  'the leader cut off': { ...between(0.2, pause.cutLeaderOff, 3), replicas: 2 },
  'history compacted': between(0.1, pause.compactHistory, 2),
  'annotations edited by hand': between(0.4, pause.editAnnotations),
  'PortRanges paused and resumed': between(0.5, pause.pauseRange),
};

/** What would hardly ever strike by itself: nobody lists whose watch goes on. */
export const NEEDS: Readonly<Record<string, readonly string[]>> = {
  'stale lists': ['watches that end in 410'],
};

/**
 * An apiserver that is killed in a write, or an etcd that is put back, can keep a number allocated for minutes that
 * nobody has (its repair loop frees it).
 */
export function leavesNumbers(kind: string): boolean {
  return /^(apiserver|etcd|history) /.test(kind);
}
