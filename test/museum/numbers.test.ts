/** One number, and who may have it. The stories are told in docs/museum.md. */
import { describe, expect, test } from 'vitest';
import { ANNOTATION } from '../../src/api/names.ts';
import { RANGES } from '../../e2e/support/objects.ts';
import type { JsonObject } from '../simulation/patches.ts';
import { createSimulation, type Simulation } from '../simulation/simulation.ts';
import { numbersOn, ourMoves, portsOf, table, told } from './shelf.ts';

const names = (value: string): Record<string, string> => ({ [ANNOTATION.ports]: value });

describe('a number that was released and that the apiserver refuses for five minutes all the same', () => {
  /** As several apiservers may, each with a memory of its own. */
  function forgetful(seed: number) {
    let isForgetful = true;
    let refused = 0;
    const sim = createSimulation({
      seed,
      faults: {
        onRequest({ method, body = '' }) {
          if (!isForgetful || method !== 'PATCH' || !body.includes('/nodePort","value":30000'))
            return undefined;
          refused += 1;
          const message = 'Invalid value: 30000: provided port is already allocated';
          const causes = [{ field: 'spec.ports[0].nodePort', message, reason: 'FieldValueInvalid' }];
          return { at: 'before', do: 'answer', status: 422, reason: 'Invalid', causes };
        },
      },
    });
    sim.namespace('a');
    sim.range('r', 30_000, 30_001, { cooldown: '0s' });
    const refuse = (now: boolean): void => void (isForgetful = now);
    return { sim, refused: () => refused, remember: () => refuse(false), forget: () => refuse(true) };
  }

  test('kubernetes #89042: who takes any number has another one at once', async () => {
    const { sim } = forgetful(31);
    sim.start();
    await sim.elapse(5_000);
    sim.service('a/any', { range: 'r' });
    await sim.elapse(1_000);
    expect([numbersOn(sim, 'a/any'), told(sim, 'a/any')?.reason]).toEqual([[30_001], 'Assigned']);
  });

  test('kubernetes #73140: who names it is told so, asks seldom, and has it half a minute after the end at the latest', async () => {
    const { sim, refused, remember } = forgetful(32);
    sim.start();
    await sim.elapse(5_000);
    sim.service('a/named', { range: 'r', annotations: names('30000') });
    await sim.elapse(300_000);
    expect(told(sim, 'a/named')?.status).toBe('False');
    expect(refused()).toBeGreaterThan(5);
    expect(refused()).toBeLessThan(25);
    remember();
    await sim.elapse(31_000);
    expect([numbersOn(sim, 'a/named'), told(sim, 'a/named')?.reason]).toEqual([[30_000], 'Assigned']);
  });

  test('kubernetes #32987: one that was deleted and is made again has its number in the end, and nobody else meanwhile', async () => {
    const { sim, remember, forget, refused } = forgetful(33);
    const web = { range: 'r', annotations: names('30000') };
    remember();
    sim.service('a/web', web);
    sim.start();
    await sim.rest();
    forget();
    sim.remove('a/web');
    sim.service('a/web', web);
    await sim.elapse(10_000);
    for (const name of ['x', 'y']) sim.service(`a/${name}`, { range: 'r' });
    await sim.elapse(290_000);
    expect(refused()).toBeGreaterThan(5);
    expect([told(sim, 'a/web')?.status, numbersOn(sim, 'a/x')]).toEqual(['False', [30_001]]);
    remember();
    await sim.elapse(31_000);
    expect([numbersOn(sim, 'a/web'), told(sim, 'a/web')?.reason]).toEqual([[30_000], 'Assigned']);
    expect(told(sim, 'a/y')?.reason).toBe('RangeExhausted');
    expect(sim.violations()).toEqual([]);
  });
});

describe('TCP and UDP on one number', () => {
  const TCP: JsonObject = { name: 'dns-tcp', port: 53, protocol: 'TCP' };
  const UDP: JsonObject = { name: 'dns', port: 53, protocol: 'UDP' };
  const entries = (sim: Simulation): string[] => portsOf(sim, 'a/dns');

  async function served(seed: number): Promise<Simulation> {
    const sim = createSimulation({ seed });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    sim.service('a/dns', { range: 'r', ports: [TCP, UDP] as never });
    sim.start();
    await sim.rest();
    return sim;
  }

  test('kubernetes #105610: a write of ours keeps both entries, each with its protocol', async () => {
    const sim = await served(34);
    expect(entries(sim)).toEqual(['dns-tcp 53/TCP 30000', 'dns 53/UDP 30000']);
    expect(ourMoves(sim)).toEqual(['a/dns']);
    sim.edit('a/dns', { metadata: { annotations: names('30007') } });
    await sim.rest();
    expect(entries(sim)).toEqual(['dns-tcp 53/TCP 30007', 'dns 53/UDP 30007']);
  });

  test('kubernetes #119126: an apply that loses the UDP entry releases nothing of the TCP one, and UDP comes back to its number', async () => {
    const sim = await served(35);
    sim.edit('a/dns', { spec: { ports: [TCP] } });
    await sim.rest();
    expect(entries(sim)).toEqual(['dns-tcp 53/TCP 30000']);
    expect(table(sim).get(30_000)).toMatchObject({ state: 'Held', ports: ['dns-tcp:53/TCP'] });
    sim.edit('a/dns', { spec: { ports: [TCP, UDP] } });
    await sim.rest();
    expect(entries(sim)).toEqual(['dns-tcp 53/TCP 30000', 'dns 53/UDP 30000']);
    expect(table(sim).get(30_000)?.ports).toEqual(['dns-tcp:53/TCP', 'dns:53/UDP']);
    expect([...table(sim).keys()]).toEqual([30_000]);
  });

  test('kubernetes #135439: two ports that an update put on one number, which a create may not, stay so and are one entry', async () => {
    const sim = createSimulation({ seed: 36 });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    const [a, b] = [
      { name: 'a', port: 53, protocol: 'TCP', nodePort: 30_005 },
      { name: 'b', port: 54, protocol: 'UDP', nodePort: 30_005 },
    ];
    expect(() => sim.service('a/dns', { range: 'r', ports: [a, b] })).toThrow('422');
    sim.service('a/dns', { range: 'r', ports: [a] });
    sim.edit('a/dns', { spec: { ports: [a, b] } });
    sim.start();
    await sim.rest();
    expect(entries(sim)).toEqual(['a 53/TCP 30005', 'b 54/UDP 30005']);
    expect(ourMoves(sim)).toEqual([]);
    expect(told(sim, 'a/dns')?.reason).toBe('Adopted');
    expect(table(sim).get(30_005)?.ports).toEqual(['a:53/TCP', 'b:54/UDP']);
    expect(sim.request('GET', `${RANGES}/r`)['status']).toMatchObject({ allocated: 1, free: 9 });
  });
});

describe('numbers that nobody asked us for', () => {
  test('tiggoins: creates that the apiserver refuses leave nothing behind, however many', async () => {
    const sim = createSimulation({ seed: 37 });
    sim.namespace('a');
    sim.range('r', 30_000, 30_009);
    sim.service('a/first', { range: 'r', ports: [{ name: 'http', port: 80, nodePort: 30_000 }] });
    sim.start();
    await sim.rest();
    const before = [...table(sim).keys()];
    for (let i = 0; i < 20; i += 1) {
      const ports = [
        { name: 'a', port: 80 },
        { name: 'b', port: 81, nodePort: 30_000 },
      ];
      expect(() => sim.service(`a/refused-${i}`, { range: 'r', ports })).toThrow('already allocated');
    }
    await sim.rest();
    expect([...table(sim).keys()]).toEqual(before);
    expect(sim.request('GET', `${RANGES}/r`)['status']).toMatchObject({ allocated: 1, foreign: 0, free: 9 });
  });

  test('tiggoins: explicit numbers of LoadBalancer Services are in use like others, and are checked like others', async () => {
    const sim = createSimulation({ seed: 38 });
    sim.namespace('a');
    sim.range('r', 30_000, 30_001);
    const pinned = (nodePort: number) => ({
      type: 'LoadBalancer',
      ports: [{ name: 'http', port: 80, nodePort }],
      spec: { allocateLoadBalancerNodePorts: false },
    });
    sim.service('a/stranger', pinned(30_000));
    sim.service('a/outside', { ...pinned(30_100), range: 'r' });
    sim.service('a/web', { range: 'r' });
    sim.start();
    await sim.rest();
    expect(numbersOn(sim, 'a/web')).toEqual([30_001]);
    expect([numbersOn(sim, 'a/outside'), told(sim, 'a/outside')?.reason]).toEqual([
      [30_100],
      'HeldOutOfRange',
    ]);
    expect(sim.request('GET', `${RANGES}/r`)['status']).toMatchObject({ foreign: 1, free: 0 });
  });

  test('capsule v0.14: the healthCheckNodePort of a Service is given to nobody, and counted', async () => {
    const sim = createSimulation({ seed: 39 });
    sim.namespace('a');
    sim.range('r', 30_000, 30_001);
    const spec = { externalTrafficPolicy: 'Local', healthCheckNodePort: 30_000 };
    sim.service('a/voip', { type: 'LoadBalancer', spec });
    sim.service('a/web', { range: 'r' });
    sim.start();
    await sim.rest();
    expect(numbersOn(sim, 'a/web')).toEqual([30_001]);
    sim.service('a/named', { range: 'r', annotations: names('30000') });
    await sim.rest();
    expect(told(sim, 'a/named')?.message).toContain('a/voip');
    expect(sim.request('GET', `${RANGES}/r`)['status']).toMatchObject({ allocated: 1, foreign: 1, free: 0 });
  });
});
