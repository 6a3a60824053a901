import { expect, test } from 'vitest';
import { RANGES } from '../../e2e/support/objects.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import type { WireRequest } from '../../src/kube/wire.ts';
import { isEvent, isOfServices, isOfTable, isWrite, observed, servedIn, showing } from './traffic.ts';

const HOLDERS = 1_000;
const FOR_SECONDS = 20;
/** Not in step with whatever happens once a second. */
const EDITED_EVERY_MS = 90;

test.each([
  ['between two ranges', ['left', 'right']],
  ['between a range and one that does not exist', ['left', 'nowhere']],
  ['between asking and not asking', ['left', null]],
])(
  'a Service whose annotation flaps 100 times a second %s: bounded writes, others are served, and then it rests',
  async (_, values) => {
    const { sim, traffic } = observed({ seed: 6, nodePorts: [30_000, 59_999] });
    sim.namespace('a');
    sim.range('left', 30_100, 30_149, { cooldown: '1s' });
    sim.range('right', 30_400, 30_449, { cooldown: '1s' });
    sim.service('a/flaps', { range: 'left' });
    sim.start();
    await sim.rest();
    traffic.forget();
    const served = servedIn(sim);
    let created = 0;
    for (let i = 0; i < FOR_SECONDS * 100; i += 1) {
      const annotations = { [ANNOTATION.range]: values[i % 2] ?? null };
      sim.edit('a/flaps', { metadata: { annotations } });
      if (i === 500) {
        created = sim.clock.monotonic();
        sim.service('a/other', { range: 'left' });
      }
      await sim.elapse(10);
    }
    const flaps = FOR_SECONDS * 100;
    const writes = traffic.count((request) => isWrite(request) && !isEvent(request));
    const waited = (served.get('other') ?? Number.NaN) - created;
    console.info(
      `100 flaps a second ${_}: ${(writes / FOR_SECONDS).toFixed(0)} writes a second ` +
        `(${traffic.count(isOfServices)} to Services, ${traffic.count(isOfTable)} to the table), events ${traffic.count(isEvent)} in all; ` +
        `another Service waits ${waited.toFixed(0)} ms`,
    );
    // Each flap may at most be followed: Pending, the port, the condition, and the table.
    expect(writes / flaps).toBeLessThan(4);
    expect(traffic.count(isEvent)).toBeLessThan(60);
    expect(waited).toBeLessThan(500);
    await sim.rest();
    traffic.forget();
    await sim.elapse(600_000);
    expect(traffic.count(isWrite)).toBe(0);
    expect(sim.violations()).toEqual([]);
  },
);

const isStatusOfRange = ({ path }: WireRequest): boolean => path.includes('/portranges/');
const withoutHalf = (i: number): { ranges: { from: number; to: number }[] } => ({
  ranges: [{ from: 30_200 + (i % 2) * (HOLDERS / 2), to: 30_200 + HOLDERS - 1 }],
});

test.each([
  ['its cooldown', (i: number) => ({ cooldown: `${i}s` }), 0],
  ['whether it is paused', (i: number) => ({ paused: i % 2 === 0 }), 0],
  ['whether it has half of their numbers', withoutHalf, HOLDERS / 2],
])(
  'a PortRange with 1,000 holders that is edited every 90 ms, %s: bounded writes, and then it rests',
  async (what, spec, concerned) => {
    const { sim, traffic } = observed({ seed: 7, concurrency: 32, nodePorts: [30_000, 59_999] });
    sim.namespace('a');
    sim.range('held', 30_200, 30_200 + HOLDERS - 1);
    for (let i = 0; i < HOLDERS; i += 1) sim.service(`a/holder-${i}`, { range: 'held' });
    sim.start();
    await sim.rest();
    traffic.forget();
    const seconds = 5;
    for (let i = 1; i <= (seconds * 1_000) / EDITED_EVERY_MS; i += 1) {
      sim.request('PATCH', `${RANGES}/held`, { spec: spec(i) });
      await sim.elapse(EDITED_EVERY_MS);
    }
    const [status, services] = [traffic.count(isStatusOfRange), traffic.count(isOfServices)];
    console.info(
      `11 edits a second of ${what}: ${(status / seconds).toFixed(1)} status writes a second, ` +
        `${(services / seconds).toFixed(0)} to its 1,000 Services, ${traffic.count(isEvent)} events in all`,
    );
    // One each 250 ms.
    expect(status / seconds).toBeLessThanOrEqual(4);
    // Who is concerned is told at once, and then once a second how it is.
    expect(services).toBeLessThanOrEqual((1 + seconds) * concerned);
    await sim.rest();
    traffic.forget();
    await sim.elapse(600_000);
    expect(traffic.count(isWrite)).toBe(0);
    expect(sim.violations()).toEqual([]);
  },
  60_000,
);

test('a Namespace whose label flaps 11 times a second: its 500 Services are told once a second whether they are admitted', async () => {
  const { sim, traffic } = observed({ seed: 8, concurrency: 32, nodePorts: [30_000, 59_999] });
  sim.namespace('a');
  sim.range('full', 30_100, 30_100, { namespaceSelector: { matchLabels: { team: 'a' } } });
  for (let i = 0; i < 500; i += 1) sim.service(`a/asks-${i}`, { range: 'full' });
  sim.start();
  await sim.rest();
  traffic.forget();
  const seconds = 5;
  for (let i = 1; i <= (seconds * 1_000) / EDITED_EVERY_MS; i += 1) {
    const labels = { team: i % 2 === 0 ? 'b' : 'a' };
    sim.request('PATCH', '/api/v1/namespaces/a', { metadata: { labels } });
    await sim.elapse(EDITED_EVERY_MS);
  }
  const services = traffic.count(isOfServices);
  console.info(
    `11 edits a second of a label: ${(services / seconds).toFixed(0)} writes a second to 500 Services`,
  );
  expect(services).toBeGreaterThan(500);
  expect(services).toBeLessThanOrEqual((1 + seconds) * 500);
  await sim.rest();
  expect(showing(sim, 'RangeExhausted')).toBe(499);
  expect(sim.violations()).toEqual([]);
}, 60_000);
