/**
 * Keeps the status of PortRanges true. Counts are computed from the ledger, never counted up and down, and written
 * when they differ from what is shown: at most once in STATUS_EVERY a range while things move, never when settled.
 */
import type { Range } from '../allocation/range.ts';
import type { Usage } from '../allocation/usage.ts';
import { FIELD_MANAGER } from '../api/names.ts';
import { type PortRangeStatus, portRangeApiVersion, portRangePath } from '../api/portRange.ts';
import type { Cancel, Clock, Millis } from '../kube/clock.ts';
import { isKubeError } from '../kube/errors.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { Log } from './audit.ts';
import type { PortRangeView } from './inputs.ts';
import { isSameStatus, statusOf } from './portRangeStatus.ts';

const STATUS_EVERY: Millis = 250;
/** For the range after a failure, doubled with each in a row. STATUS_EVERY is, too, while what was written is outdated. */
const RETRY_AFTER: Millis = 1_000;
const LONGEST_RETRY: Millis = 15_000;
const WRITES_AT_ONCE = 8;

type Result = 'done' | 'outdated' | 'failed';

export interface RangeStatusParts {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly log: Log;
  readonly views: Store<PortRangeView>;
  readonly ranges: () => ReadonlyMap<string, Range>;
  /** Of the named ranges. */
  readonly usage: (names: readonly string[]) => ReadonlyMap<string, Usage>;
  /** Everything was counted anew. */
  readonly onCounted: () => void;
  /** How many Services wait for the range. */
  readonly pending: (name: string) => number;
}

export interface RangeStatusWriter {
  /** Counts of these ranges may have changed; named or not, everything is counted again. */
  touch(names?: Iterable<string>): void;
  /** Writes nothing any more. */
  close(): void;
}

export function createRangeStatusWriter(parts: RangeStatusParts): RangeStatusWriter {
  const { clock, transport, log } = parts;
  const dirty = new Set<string>();
  /** Ranges that could not be written, and until when they are left alone. */
  const pauses = new Map<string, { readonly failures: number; readonly until: Millis }>();
  let cancel: Cancel = () => undefined;
  let due = Number.POSITIVE_INFINITY;
  let isTouched = false;
  let isWriting = false;
  const closed = new AbortController();

  function plan(after: Millis): void {
    const at = clock.monotonic() + after;
    if (closed.signal.aborted || isWriting || at >= due || !isTouched) return;
    cancel();
    due = at;
    cancel = clock.after(after, () => {
      due = Number.POSITIVE_INFINITY;
      void writeAll();
    });
  }

  async function writeAll(): Promise<void> {
    isWriting = true;
    const names = [...dirty].filter((name) => pauseOf(name) <= 0);
    for (const name of names) dirty.delete(name);
    isTouched = false;
    const usage = parts.usage(names);
    for (let i = 0; i < names.length && !closed.signal.aborted; i += WRITES_AT_ONCE) {
      const some = names.slice(i, i + WRITES_AT_ONCE);
      await Promise.all(some.map(async (name) => note(name, await write(name, usage.get(name)))));
    }
    parts.onCounted();
    isWriting = false;
    isTouched ||= dirty.size > 0;
    const soonest = dirty.size === 0 ? 0 : Math.min(...[...dirty].map(pauseOf));
    plan(Math.max(STATUS_EVERY, soonest));
  }

  /** ms for which the range is left alone from now on. */
  function pauseOf(name: string): Millis {
    return (pauses.get(name)?.until ?? 0) - clock.monotonic();
  }

  function note(name: string, result: Result): void {
    if (result === 'done') return void pauses.delete(name);
    const failures = (pauses.get(name)?.failures ?? 0) + 1;
    const first = result === 'failed' ? RETRY_AFTER : STATUS_EVERY;
    const until = clock.monotonic() + Math.min(first * 2 ** (failures - 1), LONGEST_RETRY);
    pauses.set(name, { failures, until });
  }

  /** But for 'done' it is to be tried again. */
  async function write(name: string, usage: Usage | undefined): Promise<Result> {
    const view = parts.views.get(name);
    const range = parts.ranges().get(name);
    if (view === undefined || range === undefined || usage === undefined || range.uid !== view.uid)
      return 'done';
    const status = statusOf(view, range, usage, parts.pending(name), clock.now());
    if (isSameStatus(view.object.status, status)) return 'done';
    const body = { metadata: { resourceVersion: view.resourceVersion }, status };
    const path = `${portRangePath}/${name}/status`;
    try {
      const contentType = 'application/merge-patch+json';
      await transport.request({
        method: 'PATCH',
        path,
        query: { fieldManager: FIELD_MANAGER },
        body,
        contentType,
      });
    } catch (error) {
      if (isKubeError(error, 'NotFound')) return 'done';
      dirty.add(name);
      // The watch is about to bring what it was changed to; but it may be late.
      if (isKubeError(error, 'Conflict')) return 'outdated';
      log.warn({ range: name, error: String(error) }, 'PortRange status not written');
      return 'failed';
    }
    tell(view, status);
    return 'done';
  }

  function tell(view: PortRangeView, status: PortRangeStatus): void {
    const now = status.conditions?.find(({ type }) => type === 'Exhausted');
    const before = view.object.status?.conditions?.find(({ type }) => type === 'Exhausted');
    if (now?.status !== 'True' || before?.status === 'True') return;
    const regarding = { apiVersion: portRangeApiVersion, kind: 'PortRange', name: view.key, uid: view.uid };
    const reason = 'RangeExhausted';
    parts.events.record({ regarding, type: 'Warning', reason, action: 'Allocate', note: now.message });
  }

  return {
    touch(names = []) {
      for (const name of names) dirty.add(name);
      isTouched = true;
      plan(STATUS_EVERY);
    },
    close() {
      closed.abort();
      cancel();
    },
  };
}
