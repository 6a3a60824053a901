import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { createWorkqueue } from '../../src/kube/workqueue.ts';
import { manualClock } from '../support/manualClock.ts';

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
const operation = fc.oneof(
  fc.record({
    do: fc.constant('add' as const),
    key,
    lane: fc.constantFrom('x', 'y', 'z'),
    first: fc.constantFrom(undefined, 'in lane' as const, 'of all' as const),
  }),
  fc.record({ do: fc.constant('take' as const), max: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ do: fc.constant('done' as const), key }),
  fc.record({ do: fc.constant('retry' as const), key }),
  fc.record({ do: fc.constant('forget' as const), key }),
  fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 200 }) }),
);

/**
 * Over any history: no key is worked on twice at once, none that was added is lost, none comes that was not added,
 * and what is ready is what depth says.
 */
test('no key overlaps itself, is lost or comes from nowhere', () => {
  fc.assert(
    fc.property(
      fc.array(operation, { maxLength: 200 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (operations, randoms) => {
        const clock = manualClock();
        const queue = createWorkqueue({ clock, random: () => randoms.next().value as number });
        const processing = new Set<string>();
        /** Keys whose work is still to begin: added, or failed, since they were last taken. */
        const owed = new Set<string>();
        const take = (max: number): string[] => {
          const taken = queue.take(max);
          expect(taken.length).toBeLessThanOrEqual(max);
          for (const each of taken) {
            expect(processing.has(each)).toBe(false);
            expect(owed.delete(each)).toBe(true);
            processing.add(each);
          }
          return taken;
        };
        for (const step of operations) {
          if (step.do === 'add') {
            queue.add(step.key, step);
            owed.add(step.key);
          } else if (step.do === 'take') take(step.max);
          else if (step.do === 'forget') queue.forget(step.key);
          else if (step.do === 'advance') clock.advance(step.ms);
          else {
            queue[step.do](step.key);
            if (processing.delete(step.key) && step.do === 'retry') owed.add(step.key);
          }
          expect(queue.processing).toBe(processing.size);
          expect(queue.depth).toBeLessThanOrEqual(owed.size);
        }
        // Whatever is owed comes in the end.
        for (let rounds = 0; owed.size > 0 || processing.size > 0; rounds++) {
          expect(rounds).toBeLessThan(100);
          for (const each of processing) {
            processing.delete(each);
            queue.done(each);
          }
          clock.advance(60_000);
          take(10);
        }
        expect([queue.depth, queue.processing, clock.pending]).toEqual([0, 0, 0]);
      },
    ),
    { numRuns: Number(process.env['RUNS'] ?? 1000) },
  );
});

test('between two turns of a lane every other lane that waits has one', () => {
  const lanes = fc.array(fc.constantFrom('x', 'y', 'z'), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(lanes, fc.integer({ min: 1, max: 7 }), (arrivals, batch) => {
      const queue = createWorkqueue({ clock: manualClock(), random: () => 0 });
      const waiting = new Map<string, number>();
      for (const [i, lane] of arrivals.entries()) {
        queue.add(`${lane}${i}`, { lane });
        waiting.set(lane, (waiting.get(lane) ?? 0) + 1);
      }
      const order: string[] = [];
      while (queue.depth > 0) order.push(...queue.take(batch).map((each) => each.slice(0, 1)));
      expect(order).toHaveLength(arrivals.length);
      for (const [i, lane] of order.entries()) {
        const next = order.indexOf(lane, i + 1);
        const between = new Set(order.slice(i + 1, next === -1 ? undefined : next));
        waiting.set(lane, (waiting.get(lane) ?? 0) - 1);
        if (next === -1) continue;
        for (const [other, left] of waiting) if (other !== lane && left > 0) expect(between).toContain(other);
      }
    }),
  );
});
