import { describe, test } from 'vitest';
import { linesOf } from '../../src/kube/lines.ts';
import { manualClock } from '../support/manualClock.ts';
import { createApiserver } from './apiserver.ts';
import { type Beside, type Call, CASES, type Line } from './conformance.ts';
import { OBJECT_CASES } from './conformanceObjects.ts';
import { WATCH_CASES } from './conformanceWatches.ts';
import { createMachine } from './machine.ts';
import { createNetwork } from './network.ts';
import { randomFrom } from './simulation.ts';

/** Longer than a watch that nobody ends is silent. */
const PATIENCE = 90_000;

describe('the simulated apiserver', () => {
  let picks = 0;
  const clock = manualClock();
  const random = randomFrom(1);
  const server = createApiserver({
    nodePorts: [30_000, 30_299],
    now: clock.now,
    random: () => ((picks += 7) % 100) / 100,
  });
  const call: Call = (method, path, body, contentType) => {
    const request = { method, path, contentType: contentType ?? 'application/json' };
    return Promise.resolve(
      server.handle(body === undefined ? request : { ...request, body: JSON.stringify(body) }),
    );
  };
  const nobody = (): void => undefined;
  const network = createNetwork({
    server,
    clock,
    machine: createMachine(clock, random, () => 0),
    random,
    faults: {},
    victim: { kill: nobody, freeze: nobody, thaw: nobody, cutOff: nobody },
    isDown: () => false,
    onSend: nobody,
  });

  /** Time passes until then. */
  async function awaited<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    promise.then(settle, settle);
    await clock.until(() => isSettled, { most: PATIENCE });
    return promise;
  }

  const beside: Beside = {
    async watch(path) {
      const gone = new AbortController();
      const request = { method: 'GET', path, headers: {}, headersTimeoutMs: 0, bodyTimeoutMs: 0 };
      const response = await awaited(network.wire().send('watches', { ...request, signal: gone.signal }));
      const lines = linesOf(response.body, nobody);
      return {
        async next() {
          const { done, value } = await awaited(lines.next());
          return done === true ? undefined : (JSON.parse(value) as Line);
        },
        close: () => gone.abort(),
      };
    },
    compact: () => Promise.resolve(server.compact()),
  };

  test.each(Object.entries({ ...CASES, ...WATCH_CASES, ...OBJECT_CASES }))('%s', (_, run) =>
    run(call, beside),
  );
});
