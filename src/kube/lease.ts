/**
 * Leader election on a Lease, by client-go's rules (tools/leaderelection), and stricter where two could work at once.
 *
 *   look (GET) ──none, nobody's, expired──► take (POST, PUT) ──ok──► tenure
 *     ▲  └──somebody's──► waiting            ▲    └──409: another was quicker──► look
 *     │                    ├──the watch shows it free, or it expires──┘
 *     └──the watch ended, or anything failed: after retryPeriod, stretched by up to 1.2 times as much
 *
 *   tenure: every retryPeriod renew (PUT) ──ok──► on
 *     │                                 ├──409, 404──► look once: still ours, or gone ──► write again
 *     │                                 │                  └──another's──────────────► lost
 *     │                                 └──anything else──► again, retryPeriod after the last attempt began
 *     ├──renewDeadline since the last good renewal was sent──► lost
 *     └──release──► holder '' for 1 s: the next one need not wait
 *
 * - Nobody compares clocks. A Lease has expired when its spec has not changed for leaseDurationSeconds of *our* monotonic
 *   time since we first saw it so. The holder counts from when it *sent* its last renewal, which is earlier than
 *   anybody can have seen it: with renewDeadline < leaseDuration it stops before another may begin.
 * - `holds()` compares with the clock itself, so that a process that was stopped and goes on finds out before any timer runs.
 * - Compare and swap: every PUT carries the resourceVersion of what it was decided from.
 * - A Lease that was deleted is no free one: who has seen a holder waits until that would have expired.
 * - A tenure that is lost is never won back: who had it must end.
 */
import { linkedAbort } from './abort.ts';
import { type Cancel, type Millis, sleep } from './clock.ts';
import { isKubeError } from './errors.ts';
import { isolated } from './isolated.ts';
import { type Bound, createLeaseApi, type LeaseApi, type LeaseObject, microTime } from './leaseObject.ts';
import { JITTER, type LeaseOptions, requestTimeout } from './leaseOptions.ts';
import { createTenure, type Tenure } from './tenure.ts';

export type { LeaseOptions } from './leaseOptions.ts';
export type { Tenure } from './tenure.ts';

/** Of a watch. A stalled one is found out earlier: then the Lease seems to expire, and a write of it answers 409. */
const INACTIVITY_MS: Millis = 90_000;
/** Watches may take turns so often without a pause. */
const WATCH_WORTH_MS: Millis = 10_000;

/** Resolves when the Lease is ours; undefined: the signal came first. Never rejects. */
export async function winLease(options: LeaseOptions, signal: AbortSignal): Promise<Tenure | undefined> {
  const { observer } = options;
  const api = createLeaseApi(options);
  const sight = createSight(options);
  let isSeen = false;
  while (!signal.aborted) {
    try {
      if (!isSeen) sight.see(await api.read(boundOf(options, signal)));
      if (sight.isFree()) return await take(options, api, sight.lease());
      isSeen = await waitForChange(options, api, sight, signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      isSeen = false;
      if (isKubeError(error, 'Conflict', 'AlreadyExists')) continue;
      isolated(() => observer.failed({ during: 'election', error }));
      await pause(options, signal, isKubeError(error) ? error.retryAfterMs : 0);
    }
  }
  return undefined;
}

/** What was seen of the Lease, and when. */
interface Sight {
  see(lease: LeaseObject | undefined): void;
  lease(): LeaseObject | undefined;
  /** Whether it may be taken now. */
  isFree(): boolean;
  /** When it may be taken unless it changes, on the monotonic clock. */
  freeAt(): Millis;
}

function createSight({ clock, identity, observer }: LeaseOptions): Sight {
  let lease: LeaseObject | undefined;
  let record = '';
  let holder = '';
  let freeAt = Number.NEGATIVE_INFINITY;
  return {
    see(now) {
      lease = now;
      const seen = JSON.stringify(now?.spec ?? {});
      if (now === undefined || seen === record) return;
      record = seen;
      const { holderIdentity, leaseDurationSeconds } = now.spec ?? {};
      // Ours, before we know it: we took it, and were not answered.
      const isHeld = (holderIdentity ?? '') !== '' && holderIdentity !== identity;
      freeAt = isHeld ? clock.monotonic() + (leaseDurationSeconds ?? 0) * 1_000 : Number.NEGATIVE_INFINITY;
      if (holder === (holderIdentity ?? '')) return;
      holder = holderIdentity ?? '';
      isolated(() => observer.holder(holder));
    },
    lease: () => lease,
    isFree: () => clock.monotonic() >= freeAt,
    freeAt: () => freeAt,
  };
}

/** Not ended by a signal: what was begun may be done, and must then be released. */
async function take(options: LeaseOptions, api: LeaseApi, found: LeaseObject | undefined): Promise<Tenure> {
  const { clock, identity } = options;
  const now = microTime(clock.now());
  const before = found?.spec ?? {};
  const wasOurs = before.holderIdentity === identity;
  const spec = {
    ...before,
    holderIdentity: identity,
    leaseDurationSeconds: options.leaseDuration / 1_000,
    acquireTime: (wasOurs ? before.acquireTime : undefined) ?? now,
    renewTime: now,
    leaseTransitions: found === undefined ? 0 : (before.leaseTransitions ?? 0) + (wasOurs ? 0 : 1),
  };
  const kept = found?.metadata.annotations ?? {};
  const annotations = { ...kept, ...options.annotate(kept) };
  const sentAt = clock.monotonic();
  const bound = boundOf(options);
  const lease =
    found === undefined
      ? await api.create({ spec, annotations }, bound)
      : await api.replace({ ...found, metadata: { ...found.metadata, annotations }, spec }, bound);
  return createTenure(options, api, { lease, sentAt });
}

/** True when what is known says that the Lease is free, or soon will be; false: it must be looked at. */
async function waitForChange(
  options: LeaseOptions,
  api: LeaseApi,
  sight: Sight,
  signal: AbortSignal,
): Promise<boolean> {
  const { clock } = options;
  const began = clock.monotonic();
  const position = sight.lease()?.metadata.resourceVersion;
  if (position !== undefined && (await watchUntilFree(options, api, sight, position, signal))) return true;
  if (position === undefined || clock.monotonic() - began < WATCH_WORTH_MS) await pause(options, signal);
  return false;
}

/** False: the watch has ended before. */
async function watchUntilFree(
  { clock }: LeaseOptions,
  api: LeaseApi,
  sight: Sight,
  position: string,
  signal: AbortSignal,
): Promise<boolean> {
  const expiry = linkedAbort(signal);
  let cancel: Cancel = () => undefined;
  const arm = (): void => {
    cancel();
    cancel = clock.after(sight.freeAt() - clock.monotonic(), () => expiry.abort(new Error('expired')));
  };
  arm();
  try {
    const bound = { inactivityMs: INACTIVITY_MS, signal: expiry.signal };
    for await (const { type, object } of api.watch(position, bound)) {
      if (type === 'BOOKMARK') continue;
      sight.see(type === 'DELETED' ? undefined : object);
      if (sight.isFree()) return true;
      arm();
    }
    return false;
  } catch (error) {
    if (expiry.signal.aborted && !signal.aborted) return true;
    throw error;
  } finally {
    cancel();
    expiry.dispose();
  }
}

function boundOf({ renewDeadline }: LeaseOptions, signal?: AbortSignal): Bound {
  const timeoutMs = requestTimeout(renewDeadline);
  return signal === undefined ? { timeoutMs } : { timeoutMs, signal };
}

function pause(
  { clock, random, retryPeriod }: LeaseOptions,
  signal: AbortSignal,
  atLeast: Millis = 0,
): Promise<void> {
  return sleep(clock, Math.max(retryPeriod * (1 + JITTER * random()), atLeast), signal);
}
