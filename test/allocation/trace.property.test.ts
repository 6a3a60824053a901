/**
 * Properties of whole histories: the same 300 each time, or with `RUNS` as many others. A failing one is printed with
 * its seed, and `SEED` with the same `RUNS`, or with `TRACE_PATH` (fast-check's `path`), replays it.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { calm, calmWithoutFlips, wild } from './traces.ts';
import { explainsItself } from './explanations.ts';
import { type Action, type Circumstances, createWorld, type CrashPoint, type World } from './world.ts';

const { RUNS, SEED, TRACE_PATH } = process.env;
const TIMEOUT = RUNS === undefined ? 60_000 : 3_600_000;

/** `share`: a part of the runs, for the properties that run a trace more than once. */
function holds(property: fc.IProperty<unknown>, share = 1): void {
  fc.assert(property, {
    numRuns: Math.ceil(Number(RUNS ?? 300) * share),
    ...(RUNS === undefined || SEED !== undefined ? { seed: Number(SEED ?? 1) } : {}),
    ...(TRACE_PATH === undefined ? {} : { path: TRACE_PATH }),
  });
}

function play(trace: readonly Action[], options: Circumstances & { settling: boolean }): World {
  const world = createWorld(options);
  for (const action of trace) {
    world.act(action);
    if (options.settling) world.settle();
  }
  return world;
}

describe('over any history', { timeout: TIMEOUT }, () => {
  test('settling after each step: unique, in segment, sticky, no theft, no early release, table = reality', () => {
    holds(fc.property(calm, (trace) => play(trace, { settling: true }).finish()));
  });

  test('people act between any two steps of the controller, tables get lost: the same, and it comes to rest', () => {
    holds(fc.property(wild, (trace) => play(trace, { settling: false }).finish()));
  });

  test('killed around any write, also between two blocks of the table, in the midst of it all: the same', () => {
    const moment = fc.record<CrashPoint>({
      at: fc.integer({ min: 1, max: 60 }),
      when: fc.constantFrom('before', 'after'),
      blocks: fc.constantFrom('one', 'many'),
    });
    holds(fc.property(wild, moment, (trace, crash) => play(trace, { settling: false, crash }).finish()));
  });

  test('the explanation of a decision comes to the same, and names the check that decided', () => {
    const onDecision = explainsItself(expect);
    holds(
      fc.property(wild, (trace) => play(trace, { settling: false, onDecision }).finish()),
      0.3,
    );
  });

  test('no leak: once nothing cools down any more, a number is free or somebody has it', () => {
    holds(
      fc.property(wild, (trace) => {
        const world = play(trace, { settling: false });
        world.rest();
        const used = world.cluster.inUse();
        for (let port = 30_000; port <= 30_023; port++) {
          const holding = world.controller().ledger.holding(port)?.by;
          expect([port, holding]).toEqual([port, used.has(port) ? 'service' : undefined]);
        }
      }),
      0.3,
    );
  });

  test('converges and rests: once settled, settling again writes nothing', () => {
    holds(
      fc.property(wild, (trace) => {
        const world = play(trace, { settling: false });
        world.finish();
        const writes = world.writes();
        world.settle();
        expect(world.writes()).toBe(writes);
      }),
      0.3,
    );
  });

  test('a restart changes nothing once settled', () => {
    holds(
      fc.property(calm, (trace) => {
        const world = play(trace, { settling: true });
        world.finish();
        const [before, writes] = [world.picture(), world.writes()];
        world.act({ do: 'restart', table: 'kept', i: 0 });
        world.settle();
        expect(world.picture()).toEqual(before);
        expect(world.writes()).toBe(writes);
      }),
      0.5,
    );
  });

  test('order-insensitive: whatever order Services and PortRanges are listed in, everybody gets the same', () => {
    holds(
      fc.property(calm, (trace) => {
        const [one, other] = (['by name', 'backwards'] as const).map((listing) => {
          const world = play(trace, { settling: true, listing });
          world.act({ do: 'stop' });
          world.finish();
          return world.picture();
        });
        expect(other).toEqual(one);
      }),
      0.5,
    );
  });

  test('a lost table moves nobody, and is written again from what the Services show', () => {
    holds(
      fc.property(calm, (trace) => {
        const world = play(trace, { settling: true });
        world.rest();
        const numbers = (): unknown =>
          world.cluster.keys().map((key) => world.cluster.view(key)?.ports.map(({ nodePort }) => nodePort));
        const before = numbers();
        const held = (): number[] =>
          [...world.table]
            .filter(([, text]) => text.includes('"Held"'))
            .map(([number]) => number)
            .toSorted((a, b) => a - b);
        const heldBefore = held();
        world.act({ do: 'restart', table: 'lost', i: 0 });
        world.settle();
        expect(held()).toEqual(heldBefore);
        expect(numbers()).toEqual(before);
      }),
      0.5,
    );
  });

  test('crash-equivalent: killed around any write and restarted, it ends where it would have ended', () => {
    holds(
      fc.property(
        calmWithoutFlips,
        fc.nat(),
        fc.constantFrom('before' as const, 'after' as const),
        (trace, nth, when) => {
          const undisturbed = play(trace, { settling: true });
          const at = 1 + (nth % Math.max(1, undisturbed.writes()));
          const killed = play(trace, { settling: true, crash: { at, when } });
          expect(killed.picture()).toEqual(undisturbed.picture());
        },
      ),
    );
  });
});
