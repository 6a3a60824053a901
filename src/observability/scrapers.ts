/**
 * Who may read /metrics: whom the apiserver knows by their bearer token, and lets get the path.
 *
 *   no token ──► 401
 *   an answer is remembered for this token ──► that
 *   too many tokens that were never let in ──► 503, and the apiserver is left in peace
 *   asked: nobody's ──► 401    may not ──► 403    may ──► the page
 *   the apiserver cannot be asked ──► 503; we may not ask it ──► 500: what is unknown is never let in
 *
 * Tokens are kept nowhere: what is remembered has a keyed digest of them, with a key that lives as long as the process.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { createBucket, recent } from '../kube/bucket.ts';
import type { Clock, Millis } from '../kube/clock.ts';
import { isKubeError } from '../kube/errors.ts';
import type { Review } from '../kube/reviews.ts';
import type { Answer } from './health.ts';

/**
 * A yes is asked again each minute: a scrape every 15 s costs the apiserver a question a minute, and whose right is
 * withdrawn reads for a minute more. A no lasts shortly, so that a binding made a moment ago works with the next scrape.
 */
const REMEMBERED_MS: Readonly<Record<Review, Millis>> = { allowed: 60_000, denied: 10_000, unknown: 10_000 };
/** More than new tokens can come in a minute, so that none of those who are let in is forgotten for them. */
const MOST_REMEMBERED = 1_000;
/** Questions about tokens that were never let in: so many at once, then one in so many ms. */
const STRANGERS_AT_ONCE = 20;
const STRANGER_EVERY_MS: Millis = 200;
/** One line, then one in so many ms, however often it is scraped. */
const LINE_EVERY_MS: Millis = 60_000;

const UNAUTHORIZED: Answer = {
  status: 401,
  body: 'unauthorized: send the bearer token of somebody the apiserver knows\n',
  headers: { 'www-authenticate': 'Bearer' },
};
const REFUSED: Readonly<Record<Review, Answer | undefined>> = {
  allowed: undefined,
  unknown: UNAUTHORIZED,
  denied: {
    status: 403,
    body: 'forbidden: bind the ClusterRole nodeport-manager-metrics-reader to who scrapes\n',
  },
};
const BUSY: Answer = { status: 503, body: 'too many unknown tokens at once: try again\n' };
const NOT_ASKED: Answer = {
  status: 503,
  body: 'the apiserver could not be asked who may read this: try again\n',
};
const MAY_NOT_ASK: Answer = {
  status: 500,
  body: 'nodeport-manager may not ask the apiserver who may read this: config/metrics-secure lets it\n',
};

interface Remembered {
  review: Review;
  until: Millis;
}

/** Undefined: let in. `authorization`: the header of that name. */
export type Admission = (authorization: string | undefined) => Promise<Answer | undefined>;

export function createAdmission(parts: {
  readonly review: (token: string) => Promise<Review>;
  readonly clock: Clock;
  readonly log: Pick<Logger, 'error'>;
}): Admission {
  const { clock } = parts;
  const key = randomBytes(32);
  const remembered = new Map<string, Remembered>();
  const asking = new Map<string, Promise<Answer | undefined>>();
  const strangers = createBucket(clock, STRANGERS_AT_ONCE, STRANGER_EVERY_MS);
  const lines = createBucket(clock, 1, LINE_EVERY_MS);

  async function ask(id: string, token: string): Promise<Answer | undefined> {
    try {
      const review = await parts.review(token);
      const until = clock.monotonic() + REMEMBERED_MS[review];
      Object.assign(
        recent(remembered, MOST_REMEMBERED, id, () => ({ review, until })),
        { review, until },
      );
      return REFUSED[review];
    } catch (error) {
      if (lines.has()) {
        lines.take();
        parts.log.error(
          { error: withoutToken(error, token) },
          'cannot ask the apiserver who may read /metrics',
        );
      }
      return isKubeError(error, 'Forbidden') ? MAY_NOT_ASK : NOT_ASKED;
    }
  }

  return async (authorization) => {
    const token = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return UNAUTHORIZED;
    const id = createHmac('sha256', key).update(token).digest('base64');
    const found = remembered.get(id);
    if (found !== undefined && clock.monotonic() < found.until) return REFUSED[found.review];
    const others = asking.get(id);
    if (others !== undefined) return others;
    if (found?.review !== 'allowed') {
      if (!strangers.has()) return BUSY;
      strangers.take();
    }
    const answer = ask(id, token).finally(() => asking.delete(id));
    asking.set(id, answer);
    return answer;
  };
}

/** A proxy on the way may quote what it was sent. */
function withoutToken(error: unknown, token: string): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(token, '…');
}
