import { expect, test } from 'vitest';
import type { WireRequest } from '../../src/kube/wire.ts';
import { heldInTable } from '../simulation/scenario.ts';
import type { Simulation } from '../simulation/simulation.ts';
import { isOfTable, observed, servedIn } from './traffic.ts';

const SLOW_MS = 5_000;
const STREAM = 60;
const EVERY_MS = 100;

/** `30250 a/slow-1` of each number that a write to a Service puts on it. */
function numbersGiven({ method, path, body = '' }: WireRequest): string[] {
  const key = /\/namespaces\/([^/]+)\/services\/([^/?]+)\?/.exec(path);
  if (method !== 'PATCH' || key === null || !body.startsWith('[')) return [];
  const operations = JSON.parse(body) as { path: string; value: unknown }[];
  return operations
    .filter((operation) => operation.path.endsWith('/nodePort'))
    .map(({ value }) => `${String(value)} ${key[1]}/${key[2]}`);
}

/** Two teams, each in a block of its own; whatever writes the block of one takes 5 s. */
function slowBlock(): { sim: Simulation; unreserved: string[] } {
  const unreserved: string[] = [];
  const { sim } = observed({ seed: 3, concurrency: 32, nodePorts: [30_000, 59_999] }, (request) => {
    const isSlow = isOfTable(request) && `${request.path}${request.body}`.includes('nodeport-table-30250');
    const held = new Set(numbersGiven(request).length === 0 ? [] : heldInTable(sim));
    unreserved.push(...numbersGiven(request).filter((each) => !held.has(each)));
    return isSlow ? { at: 'before', do: 'slow', ms: SLOW_MS } : undefined;
  });
  sim.namespace('a');
  sim.range('slow', 30_250, 30_499);
  sim.range('fast', 30_500, 30_749);
  return { sim, unreserved };
}

test('a table write that takes 5 s: Services of other blocks are not held up, and nothing is written to a Service before its reservation is answered', async () => {
  const { sim, unreserved } = slowBlock();
  sim.start();
  await sim.elapse(10_000);
  const served = servedIn(sim);
  const created = new Map<string, number>();
  for (let i = 0; i < STREAM; i += 1) {
    for (const range of ['slow', 'fast']) {
      created.set(`${range}-${i}`, sim.clock.monotonic());
      sim.service(`a/${range}-${i}`, { range });
    }
    await sim.elapse(EVERY_MS);
  }
  await sim.until('all served', () => served.size >= created.size);
  const longest = (range: string): number =>
    Math.max(
      ...[...created]
        .filter(([name]) => name.startsWith(range))
        .map(([name, at]) => (served.get(name) ?? Number.NaN) - at),
    );
  console.info(
    `a table write of 5 s: others wait ${longest('fast').toFixed(0)} ms at most, its own ${longest('slow').toFixed(0)} ms`,
  );
  expect(longest('fast')).toBeLessThan(SLOW_MS / 10);
  // What arrives during a write rides the next one.
  expect(longest('slow')).toBeLessThan(2 * SLOW_MS + 1_000);
  expect(unreserved).toEqual([]);
  await sim.rest();
  expect(sim.violations()).toEqual([]);
}, 60_000);
