import { describe, expect, test } from 'vitest';
import type { WireRequest } from '../../src/kube/wire.ts';
import { isWrite, observed, servedIn, showing, type Traffic } from './traffic.ts';

const WAITING = 1_000;
const MINUTE = 60_000;

/** 1,000 Services wait, and for a minute the apiserver answers what matches with 429. */
async function throttled(
  name: string,
  matches: (request: WireRequest) => boolean,
  retryAfterSeconds: number | undefined,
): Promise<void> {
  let until = 0;
  const { sim, traffic } = observed(
    { seed: 2, concurrency: 32, nodePorts: [30_000, 59_999] },
    (request, now) =>
      now < until && matches(request)
        ? {
            at: 'before',
            do: 'answer',
            status: 429,
            reason: 'TooManyRequests',
            ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
          }
        : undefined,
  );
  sim.namespace('a');
  for (let i = 0; i < WAITING; i += 1) sim.service(`a/waits-${i}`, { range: 'wide' });
  sim.start();
  await sim.elapse(5_000);
  const served = servedIn(sim);
  until = sim.clock.monotonic() + MINUTE;
  traffic.forget();
  sim.range('wide', 30_200, 30_200 + WAITING - 1);
  await sim.elapse(MINUTE);
  tell(name, traffic);
  expect(served.size).toBe(0);
  // As many as may be under way, each as often as it was told to come again; table, events and status beside them.
  const perSecond = 45 / (retryAfterSeconds ?? 1);
  expect(traffic.count() / 60).toBeLessThan(perSecond);
  expect(traffic.mostInASecond()).toBeLessThan(60);
  const over = sim.clock.monotonic();
  await sim.until('all served', () => served.size >= WAITING);
  console.info(`${name}: all served ${((sim.clock.monotonic() - over) / 1_000).toFixed(1)} s after it`);
  expect(sim.clock.monotonic() - over).toBeLessThan(45_000);
  await sim.rest();
  expect(showing(sim, 'Assigned') + showing(sim, 'Adopted')).toBe(WAITING);
  expect(sim.violations()).toEqual([]);
}

function tell(name: string, traffic: Traffic): void {
  const perSecond = (traffic.count() / 60).toFixed(1);
  console.info(`${name}: ${perSecond} requests a second, at most ${traffic.mostInASecond()} in one`);
}

describe('429 for a minute is no hot loop, and then all is served', { timeout: 60_000 }, () => {
  const isToServices = (request: WireRequest): boolean =>
    isWrite(request) && request.path.includes('/services/');

  test('every request, Retry-After 1 s', () => throttled('429 on everything', () => true, 1));
  test('writes to Services alone', () => throttled('429 on writes to Services', isToServices, 1));
  test('every write, Retry-After 10 s', () => throttled('429 on every write, 10 s', isWrite, 10));
  test('every write, without Retry-After', () => throttled('429 without Retry-After', isWrite, undefined));
});
