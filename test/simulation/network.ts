/**
 * The network between one process and the simulated apiserver, plugged in under the transport. Every request takes a
 * while to arrive, takes effect at one moment, and its answer takes a while to come back; watches lag behind. All of
 * it on the virtual clock, by seeded chance, so that a seed is one history.
 *
 *   send ──latency──► [fault before] ──► takes effect ──► [fault after] ──latency──► the machine ──► answer
 *
 * What a process that is killed has on its way is not heard of any more. What one that is stopped has sent takes
 * effect all the same; its machine keeps the answers for it.
 */
import type { Clock, Millis } from '../../src/kube/clock.ts';
import { type Wire, wireError, type WireRequest, type WireResponse } from '../../src/kube/wire.ts';
import { type Apiserver, targetOf } from './apiserver.ts';
import type { Fault, Faults, Victim } from './faults.ts';
import type { Machine } from './machine.ts';
import { Refusal } from './refusal.ts';
import { textOf } from './texts.ts';
import { between, goneLine, openWatch } from './watches.ts';

export type { Fault, Faults } from './faults.ts';

export interface NetworkOptions {
  readonly server: Apiserver;
  /** The world's. */
  readonly clock: Clock;
  readonly machine: Machine;
  readonly random: () => number;
  readonly faults: Faults;
  readonly victim: Victim;
  /** Nobody listens: connections are refused. */
  readonly isDown: () => boolean;
  /** In the moment in which the process sends a write. */
  readonly onSend: (request: WireRequest) => void;
}

const LATENCY = { least: 0.2, most: 4 };

export interface Network {
  /** What it sends writes only while `mayWrite`. */
  wire(mayWrite?: () => boolean): Wire;
  /** All connections break, as when the apiserver is restarted. */
  reset(): void;
  /** Until false: nothing gets through in either direction, and nobody is told. */
  cutOff(isCutOff: boolean): void;
  /** The process is dead: the server tells its watches nothing any more. */
  forget(): void;
}

export function createNetwork(options: NetworkOptions): Network {
  const { server, clock, machine, random, faults, victim, isDown } = options;
  const breaks = new Set<() => void>();
  const watching = new Set<() => void>();
  let isCutOff = false;

  /** Resolves later, unless it does not get through: then never. */
  const travel = (ms: Millis = between(random, LATENCY)): Promise<void> =>
    new Promise((resolve) => clock.after(ms, () => (machine.isHalted || isCutOff ? undefined : resolve())));

  async function exchange(request: WireRequest): Promise<WireResponse> {
    await travel();
    // The connection was reset when it went down.
    if (isDown()) return never();
    const fault = faults.onRequest?.(request, victim);
    if (fault?.at === 'before') {
      if (fault.do === 'reset') throw wireError('reset', 'connection reset');
      if (fault.do === 'hang') return never();
      if (fault.do === 'answer') return travel().then(() => refusalOf(fault));
      if (fault.do === 'slow') await travel(fault.ms);
    }
    const isWrite = request.method !== 'GET';
    if (isWrite) faults.onWrite?.('before', request, victim);
    if (machine.isHalted) return never();
    const { status, body } = server.handle({
      ...request,
      contentType: request.headers['content-type'] ?? '',
      ...(fault?.at === 'before' && fault.do === 'stale' ? { staleBy: fault.by } : {}),
    });
    const text = textOf(body);
    if (isWrite) faults.onWrite?.('after', request, victim);
    if (fault?.at === 'after' && fault.do === 'hang') return never();
    await travel();
    if (fault?.at === 'after' && fault.do === 'reset') throw wireError('reset', 'connection reset');
    // What it does with the answer, it does before the next thing happens.
    const isAwaited = request.signal?.aborted !== true;
    if (isWrite && isAwaited) clock.after(0, () => faults.onWrite?.('answered', request, victim));
    return answer(status, fault?.at === 'after' ? text.slice(0, text.length / 2) : text);
  }

  async function watch(request: WireRequest): Promise<WireResponse> {
    await travel();
    if (isDown()) return never();
    const fault = faults.onWatch?.(request);
    const since = Number(targetOf(request.path).query.get('resourceVersion'));
    if (since < server.compacted) return answer(200, goneLine());
    if (fault?.do === 'gone' && fault.as === 'status') {
      return answer(410, JSON.stringify(new Refusal(410, 'Expired', `too old resource version: ${since}`)));
    }
    const parts = { server, clock, random, deliver: machine.deliver, isCutOff: () => isCutOff };
    return openWatch({ ...parts, breaks, watching }, request, fault);
  }

  function send(request: WireRequest, how: (request: WireRequest) => Promise<WireResponse>) {
    return new Promise<WireResponse>((resolve, reject) => {
      const deliver = (settle: () => void): void => machine.deliver(settle);
      const broken = (): void => deliver(() => reject(wireError('reset', 'connection reset')));
      breaks.add(broken);
      request.signal?.addEventListener('abort', () => reject(request.signal?.reason as Error), {
        once: true,
      });
      const refused = async (): Promise<never> => {
        await travel();
        throw wireError('unsent', 'connection refused');
      };
      (isDown() ? refused() : how(request))
        .then(
          (response) => deliver(() => resolve(response)),
          (error: Error) => deliver(() => reject(error)),
        )
        .finally(() => breaks.delete(broken));
    });
  }

  return {
    wire: (mayWrite = () => true) => ({
      async send(pool, request) {
        if (pool === 'watches') return send(request, watch);
        if (request.method !== 'GET') {
          if (!mayWrite()) throw wireError('closed', 'not permitted to write');
          options.onSend(request);
        }
        return send(request, exchange);
      },
      close: () => Promise.resolve(),
    }),
    reset: () => [...breaks].forEach((broken) => broken()),
    cutOff(now) {
      isCutOff = now;
    },
    forget: () => [...watching].forEach((end) => end()),
  };
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}

function refusalOf(fault: Extract<Fault, { do: 'answer' }>): WireResponse {
  const { status, reason, message = `a fault: ${reason}`, causes = [], retryAfterSeconds } = fault;
  const refusal = JSON.stringify(new Refusal(status, reason, message, causes));
  return answer(
    status,
    refusal,
    retryAfterSeconds === undefined ? {} : { 'retry-after': `${retryAfterSeconds}` },
  );
}

function answer(status: number, text: string, headers: Record<string, string> = {}): WireResponse {
  const bytes = new TextEncoder().encode(text);
  const body = {
    text: () => Promise.resolve(text),
    async *[Symbol.asyncIterator]() {
      yield bytes;
    },
  };
  return { status, headers, body };
}
