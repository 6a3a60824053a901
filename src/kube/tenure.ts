/** The time for which a Lease is ours. Its state machine is drawn in lease.ts. */
import { linkedAbort } from './abort.ts';
import { type Cancel, type Millis, sleep } from './clock.ts';
import { isKubeError } from './errors.ts';
import { isolated } from './isolated.ts';
import { type Bound, type LeaseApi, type LeaseObject, type LeaseSpec, microTime } from './leaseObject.ts';
import { type LeaseOptions, requestTimeout } from './leaseOptions.ts';

export interface Tenure {
  /** Whether nobody else can have the Lease at this moment: to be asked right before each write. */
  holds(): boolean;
  /** Resolves with the reason when the Lease can no longer be relied on. Never after `release`. */
  readonly lost: Promise<string>;
  annotations(): Readonly<Record<string, string>>;
  /**
   * Resolves when the Lease has these annotations, too, and with that was ours on the apiserver itself.
   * @throws Error when it was lost or released before
   */
  annotate(annotations: Readonly<Record<string, string>>): Promise<void>;
  /** Lets others have it at once. When that fails, it expires. Never rejects; harmless twice, and when it was lost. */
  release(): Promise<void>;
}

/** For the last request of all. */
const RELEASE_TIMEOUT_MS: Millis = 2_000;

/** @param first the Lease as it was taken, and the monotonic time at which that was sent */
export function createTenure(
  options: LeaseOptions,
  api: LeaseApi,
  first: { lease: LeaseObject; sentAt: Millis },
): Tenure {
  const { clock, identity, observer, renewDeadline, retryPeriod } = options;
  let { lease, sentAt } = first;
  const ended = new AbortController();
  const lost = Promise.withResolvers<string>();
  let waiting: PromiseWithResolvers<void>[] = [];
  let wanted: Record<string, string> = {};
  let wake = linkedAbort(ended.signal);
  let cancelDeadline: Cancel = () => undefined;

  function end(why: string): void {
    ended.abort();
    cancelDeadline();
    for (const each of waiting) each.reject(new Error(why));
    isolated(() => observer.leads(false));
  }

  function lose(why: string): void {
    if (ended.signal.aborted) return;
    end(why);
    lost.resolve(why);
  }

  function holds(): boolean {
    if (ended.signal.aborted) return false;
    if (clock.monotonic() < sentAt + renewDeadline) return true;
    lose(`the lease was not renewed within ${renewDeadline / 1_000} s`);
    return false;
  }

  function watchDeadline(): void {
    cancelDeadline();
    // A timer may be a little early.
    cancelDeadline = clock.after(
      sentAt + renewDeadline - clock.monotonic(),
      () => holds() && watchDeadline(),
    );
  }

  /** Writes the Lease as it was last seen, changed; where somebody else has written, as it is now. */
  async function write(change: (spec: LeaseSpec) => LeaseSpec, bound: () => Bound): Promise<void> {
    try {
      return await put(lease, change, bound);
    } catch (error) {
      if (!isKubeError(error, 'Conflict', 'NotFound')) throw error;
    }
    const live = await api.read(bound());
    const holder = live?.spec?.holderIdentity ?? '';
    if (live !== undefined && holder !== identity)
      return lose(holder === '' ? 'the lease was taken from us' : `${holder} has the lease`);
    await put(live, change, bound);
  }

  async function put(
    base: LeaseObject | undefined,
    change: (spec: LeaseSpec) => LeaseSpec,
    bound: () => Bound,
  ): Promise<void> {
    const spec = change(base?.spec ?? lease.spec ?? {});
    const annotations = { ...(base ?? lease).metadata.annotations, ...wanted };
    const at = clock.monotonic();
    lease =
      base === undefined
        ? await api.create({ spec, annotations }, bound())
        : await api.replace({ ...base, metadata: { ...base.metadata, annotations }, spec }, bound());
    sentAt = at;
  }

  async function renew(): Promise<void> {
    const served = waiting;
    waiting = [];
    const timeoutMs = requestTimeout(renewDeadline);
    const left = (): Millis => Math.max(1, sentAt + renewDeadline - clock.monotonic());
    const bound = () => ({ timeoutMs: Math.min(timeoutMs, left()), signal: ended.signal });
    try {
      await write((spec) => ({ ...spec, renewTime: microTime(clock.now()) }), bound);
      if (holds()) watchDeadline();
      for (const each of served)
        if (ended.signal.aborted) each.reject(new Error('the lease was lost'));
        else each.resolve();
    } catch (error) {
      if (ended.signal.aborted) for (const each of served) each.reject(error);
      waiting = [...served, ...waiting];
      if (!ended.signal.aborted) isolated(() => observer.failed({ during: 'renewal', error }));
    }
  }

  async function renewUntilTheEnd(): Promise<void> {
    let began = clock.monotonic();
    for (;;) {
      await sleep(clock, began + retryPeriod - clock.monotonic(), wake.signal);
      wake.dispose();
      if (!holds()) return;
      wake = linkedAbort(ended.signal);
      began = clock.monotonic();
      await renew();
    }
  }

  isolated(() => observer.leads(true));
  watchDeadline();
  const renewing = renewUntilTheEnd();
  return {
    holds,
    lost: lost.promise,
    annotations: () => lease.metadata.annotations ?? {},
    annotate(annotations) {
      if (!holds()) return Promise.reject(new Error('the lease was lost'));
      wanted = { ...wanted, ...annotations };
      const written = Promise.withResolvers<void>();
      waiting.push(written);
      wake.abort(new Error('there is something to write'));
      return written.promise;
    },
    async release() {
      if (!holds()) return;
      end('the lease was released');
      await renewing;
      const now = microTime(clock.now());
      const free = { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
      const timeoutMs = Math.min(RELEASE_TIMEOUT_MS, renewDeadline);
      try {
        await write(
          (spec) => ({ ...spec, ...free }),
          () => ({ timeoutMs }),
        );
      } catch (error) {
        isolated(() => observer.failed({ during: 'release', error }));
      }
    },
  };
}
