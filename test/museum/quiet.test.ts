/** Controllers that never came to rest, and counts that drifted. The stories are told in docs/museum.md. */
import { describe, expect, test } from 'vitest';
import { RANGES } from '../../e2e/support/objects.ts';
import type { Controller } from '../../src/controller/controller.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { createSimulation, randomFrom, type Simulation } from '../simulation/simulation.ts';
import { counted, everybodysNumbers, numbersOn, ourMoves, table, told } from './shelf.ts';

const HTTP = { name: 'http', port: 80 };
const HALF_A_MINUTE = 30_000;

describe('a GitOps tool that applies its manifest every half minute for an hour', () => {
  async function applied(ports: object[], seed: number): Promise<{ sim: Simulation; sent: string[] }> {
    const { faults, sent } = counted();
    const sim = createSimulation({ seed, faults });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    sim.service('a/web', { range: 'r', ports: ports as never });
    sim.start();
    await sim.elapse(HALF_A_MINUTE);
    sent.length = 0;
    for (let i = 0; i < 120; i += 1) {
      sim.edit('a/web', { spec: { ports } as never });
      await sim.elapse(HALF_A_MINUTE);
    }
    return { sim, sent };
  }

  test('argo-cd #18764: and pins a number outside the range: it stays, and is not written once more', async () => {
    const { sim, sent } = await applied([{ ...HTTP, nodePort: 30_222 }], 41);
    expect([numbersOn(sim, 'a/web'), ourMoves(sim), sent]).toEqual([[30_222], [], []]);
    expect(told(sim, 'a/web')?.reason).toBe('HeldOutOfRange');
  });

  test.each([
    ['no nodePort', {}],
    ['nodePort: 0', { nodePort: 0 }],
  ])(
    'nginx kubernetes-ingress #9054: and says %s: ours stays, and is not written once more',
    async (_, blank) => {
      const { sim, sent } = await applied([{ ...HTTP, ...blank }], 42);
      expect([numbersOn(sim, 'a/web'), ourMoves(sim), sent]).toEqual([[30_000], ['a/web'], []]);
      expect(told(sim, 'a/web')?.reason).toBe('Assigned');
    },
  );

  test('argo-cd #18764: and pins another number after we gave one: its number counts, once and for all', async () => {
    const { sim, sent } = await applied([HTTP], 43);
    for (let i = 0; i < 20; i += 1) {
      sim.edit('a/web', { spec: { ports: [{ ...HTTP, nodePort: 30_005 }] } });
      await sim.elapse(HALF_A_MINUTE);
    }
    expect(numbersOn(sim, 'a/web')).toEqual([30_005]);
    expect(sent.filter((name) => name !== 'r/status')).toEqual(['web/status']);
    expect(table(sim).get(30_005)?.state).toBe('Held');
    expect(table(sim).get(30_000)?.state).toBe('Released');
  });
});

describe('gauges', () => {
  /** Gauge of the range → value, as Prometheus would read it. */
  async function scrape(controller: Controller): Promise<Record<string, number>> {
    const metrics = createMetrics();
    metrics.watch(controller);
    const text = await metrics.registry.metrics();
    return Object.fromEntries(
      [...text.matchAll(/^nodeport_manager_range_(\w+)_ports\{range="r"\} (\S+)$/gm)].map(
        ([, name = '', value]) => [name, Number(value)],
      ),
    );
  }

  /** The same, counted by hand from what anybody can read. */
  function recounted(sim: Simulation): Record<string, number> {
    const inRange = (port: number): boolean => port >= 30_020 && port <= 30_059;
    const used = Object.values(everybodysNumbers(sim)).flat().filter(inRange);
    const [held, resting] = ['Held', 'Released'].map((state) =>
      [...table(sim)].flatMap(([port, entry]) =>
        entry.state === state && (state === 'Held' || Date.parse(entry.until ?? '') > sim.clock.now())
          ? port
          : [],
      ),
    );
    const allocated = (held ?? []).filter(inRange).length;
    const coolingDown = (resting ?? []).filter((port) => !used.includes(port)).length;
    const free = 40 - used.length - coolingDown;
    return { capacity: 40, allocated, foreign: used.length - allocated, cooling_down: coolingDown, free };
  }

  /** One of the things that people do to the Services `a/s0` … `a/s29`; many of them to one that does not exist. */
  function somethingHappens(sim: Simulation, random: () => number): void {
    const key = `a/s${Math.floor(random() * 30)}`;
    const what = Math.floor(random() * 5);
    try {
      if (what < 2) sim.service(key, { range: 'r', ports: [HTTP, { name: 'b', port: 81 }] });
      else if (what === 2) sim.remove(key);
      else sim.edit(key, { spec: { type: what === 3 ? 'ClusterIP' : 'NodePort' } });
    } catch {
      // There is one already, or none.
    }
  }

  async function churn(sim: Simulation, seed: number, times: number): Promise<void> {
    const random = randomFrom(seed);
    for (let i = 0; i < times; i += 1) {
      somethingHappens(sim, random);
      if (random() < 0.3) await sim.elapse(1_000 * random());
    }
    await sim.elapse(20_000);
  }

  test('cilium #41084: are what a recount finds, after hundreds of creates, deletes and type flips', async () => {
    const sim = createSimulation({ seed: 44 });
    sim.namespace('a');
    sim.range('r', 30_020, 30_059, { cooldown: '1m' });
    sim.service('a/stranger', { ports: [{ ...HTTP, nodePort: 30_040 }] });
    const { controller } = sim.start();
    for (let round = 0; round < 10; round += 1) {
      await churn(sim, 100 + round, 40);
      expect(await scrape(controller)).toMatchObject(recounted(sim));
    }
    const { allocated, free, foreign } = recounted(sim);
    expect(sim.request('GET', `${RANGES}/r`)['status']).toMatchObject({ allocated, free, foreign });
  });

  test('cilium #41981: never go below 0, and begin with the truth after a restart and after a table was lost', async () => {
    const sim = createSimulation({ seed: 45 });
    sim.namespace('a');
    sim.range('r', 30_020, 30_059, { cooldown: '0s' });
    let present = sim.start();
    for (let round = 0; round < 5; round += 1) {
      await churn(sim, 200 + round, 40);
      if (round % 2 === 0) present.kill();
      const block = '/api/v1/namespaces/nodeport-manager-system/configmaps/nodeport-table-30000';
      sim.request('DELETE', block);
      if (round % 2 === 0) present = sim.start();
      await sim.elapse(20_000);
      const gauges = await scrape(present.controller);
      expect(gauges).toMatchObject(recounted(sim));
      expect(Math.min(...Object.values(gauges))).toBeGreaterThanOrEqual(0);
    }
    for (const key of Object.keys(everybodysNumbers(sim))) sim.remove(key);
    await sim.elapse(20_000);
    expect(await scrape(present.controller)).toMatchObject({ allocated: 0, foreign: 0, free: 40 });
  });
});
