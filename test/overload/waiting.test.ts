import { expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import { isEvent, isOfServices, isWrite, observed, servedIn, showing } from './traffic.ts';

const WAITING = 1_000;
const HALF_AN_HOUR = 1_800_000;

function exhausted(): ReturnType<typeof observed> {
  const world = observed({ seed: 5, concurrency: 32, nodePorts: [30_000, 59_999] });
  const { sim } = world;
  sim.namespace('a');
  sim.range('full', 30_100, 30_109, { cooldown: '0s' });
  for (let i = 0; i < 10; i += 1) sim.service(`a/holder-${i}`, { range: 'full' });
  sim.start();
  return world;
}

test('a full range with 1,000 waiting: nothing is written, and nothing is asked but watches and resyncs, for half an hour', async () => {
  const { sim, traffic } = exhausted();
  await sim.rest();
  traffic.forget();
  for (let i = 0; i < WAITING; i += 1) sim.service(`a/waits-${i}`, { range: 'full' });
  await sim.rest();
  expect(showing(sim, 'RangeExhausted')).toBe(WAITING);
  const refusals = traffic.count((request) => isWrite(request) && isOfServices(request));
  expect(refusals).toBe(WAITING);
  // Their events are limited, and are sent for a while.
  await sim.elapse(HALF_AN_HOUR);
  traffic.forget();
  await sim.elapse(HALF_AN_HOUR);
  const [writes, requests] = [traffic.count(isWrite), traffic.count()];
  console.info(
    `1,000 waiting for half an hour: ${writes} writes, ${(requests / 1_800).toFixed(3)} requests a second`,
  );
  expect(writes).toBe(0);
  // Four watches that end every five to ten minutes; and at each resync four lists, after which four watches begin, and the
  // range of node ports: at most four times (4 + 4 + 4 + 1).
  expect(requests).toBeLessThanOrEqual(52);
}, 60_000);

test('one number that is released serves one of 1,000 who wait: few writes, and none to any other Service', async () => {
  const { sim, traffic } = exhausted();
  await sim.rest();
  for (let i = 0; i < WAITING; i += 1) sim.service(`a/waits-${i}`, { range: 'full' });
  await sim.rest();
  await sim.elapse(HALF_AN_HOUR);
  traffic.forget();
  const served = servedIn(sim);
  const began = sim.clock.monotonic();
  sim.remove('a/holder-3');
  await sim.rest();
  expect([...served.keys()]).toEqual(['waits-0']);
  const writes = traffic.count((request) => isWrite(request) && !isEvent(request));
  console.info(
    `one number for 1,000 waiting: ${writes} writes, served after ${((served.get('waits-0') ?? 0) - began).toFixed(0)} ms`,
  );
  // Released, reserved, the port, the condition, and the counts of the range once or twice.
  expect(writes).toBeLessThanOrEqual(7);
  expect(traffic.count(isOfServices)).toBeLessThanOrEqual(3);
}, 60_000);

test('a number that 200 name: its release serves one, and the others are told who has it now, once', async () => {
  const { sim, traffic } = exhausted();
  await sim.rest();
  const wants = { [ANNOTATION.ports]: '30105' };
  for (let i = 0; i < 200; i += 1) sim.service(`a/names-${i}`, { range: 'full', annotations: wants });
  await sim.rest();
  traffic.forget();
  const holder = sim.services().find(({ spec }) => JSON.stringify(spec).includes('"nodePort":30105'));
  sim.remove(`a/${holder?.metadata.name}`);
  await sim.rest();
  expect(showing(sim, 'PortTaken')).toBe(199);
  const writes = traffic.count((request) => isWrite(request) && isOfServices(request));
  console.info(`one number for 200 who name it: ${writes} writes to Services`);
  expect(writes).toBeLessThanOrEqual(200 + 5);
}, 60_000);

test.each([
  ['no such range', { range: 'nowhere' }],
  ['a request that cannot be read', { range: 'full', annotations: { [ANNOTATION.ports]: 'x=y=z' } }],
  ['a number outside', { range: 'full', annotations: { [ANNOTATION.ports]: '40000' } }],
])(
  'a Service that can never be served (%s) costs one write and one event, then nothing',
  async (_, options) => {
    const { sim, traffic } = exhausted();
    await sim.rest();
    traffic.forget();
    sim.service('a/never', options);
    await sim.elapse(10_000);
    expect(traffic.count((request) => isWrite(request) && isOfServices(request))).toBe(1);
    expect(traffic.count(isEvent)).toBe(1);
    await sim.rest();
    traffic.forget();
    await sim.elapse(HALF_AN_HOUR);
    expect(traffic.count(isWrite)).toBe(0);
  },
);
