import { expect, test } from 'vitest';
import { complaintsAbout, tolerant } from './campaign.ts';
import type { Faults } from './faults.ts';
import { claims, STEPS } from './scenario.ts';
import { createSimulation, type Simulation, type SimProcess } from './simulation.ts';

/** Two replicas on a range of one number with a holder, and another Service that waits for it. */
async function twoReplicas(onWatch?: Faults['onWatch']): Promise<{
  sim: Simulation;
  leader: SimProcess;
  standby: SimProcess;
  /** What was listed so far, in order. */
  listed: string[];
}> {
  const listed: string[] = [];
  const sim = createSimulation({
    seed: 1,
    replicas: 2,
    faults: {
      ...(onWatch === undefined ? {} : { onWatch }),
      onRequest({ method, path }) {
        const [kind = '', query = ''] = path.split('?');
        const parameters = new URLSearchParams(query);
        // A look at the position is a list of one.
        if (method === 'GET' && Number(parameters.get('limit')) > 1)
          listed.push(kind.slice(kind.lastIndexOf('/') + 1));
        return undefined;
      },
    },
  });
  sim.namespace('a');
  sim.range('one', 30_000, 30_000, { cooldown: '0s' });
  const both = [sim.start(), sim.start()];
  await sim.rest();
  sim.service('a/old', { range: 'one' });
  await sim.elapse(1_000);
  sim.service('a/next', { range: 'one' });
  await sim.rest();
  const [leader, standby] = both.toSorted((a) => (a.identity === sim.leaseHolder() ? -1 : 1));
  return { sim, leader: leader as SimProcess, standby: standby as SimProcess, listed };
}

test('One owner: a standby whose watches have fallen silent lists everything anew before it leads', async () => {
  const { sim, leader, standby } = await twoReplicas();
  // The watch of Services dies without a word.
  standby.cutOff(true);
  sim.remove('a/old');
  await sim.elapse(1_000);
  standby.cutOff(false);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
  leader.kill();
  await sim.elapse(30_000);
  expect(sim.leaseHolder()).toBe(standby.identity);
  expect(await complaintsAbout(sim)).toEqual([]);
});

test('One owner: what a standby was never shown of a Service does not release the number that it got since', async () => {
  let watches = 0;
  const sim = createSimulation({
    seed: 1,
    replicas: 2,
    // The second to watch Services is told of none that changes, and of every bookmark.
    faults: {
      onWatch: ({ path }) =>
        path.includes('/services') && ++watches === 2 ? { do: 'drop', odds: 1 } : undefined,
    },
  });
  sim.namespace('a');
  sim.range('one', 30_000, 30_000, { cooldown: '0s' });
  sim.range('two', 30_010, 30_010, { cooldown: '0s' });
  const leader = sim.start();
  sim.service('a/web', { range: 'two' });
  await sim.rest();
  sim.start();
  await sim.elapse(5_000);
  sim.edit('a/web', { metadata: { annotations: { 'nodeport-manager.io/range': 'one' } } });
  // A bookmark comes meanwhile, so that it seems to have seen all there is.
  await sim.elapse(120_000);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
  leader.kill();
  await sim.elapse(900_000);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
  expect(sim.violations()).toEqual([]);
});

test('a standby that has kept in touch takes over with a fresh list of the table alone', async () => {
  const { sim, leader, standby, listed } = await twoReplicas();
  const before = listed.length;
  sim.remove('a/old');
  await sim.elapse(1_000);
  leader.kill();
  await sim.elapse(30_000);
  expect(sim.leaseHolder()).toBe(standby.identity);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
  expect(listed.slice(before)).toEqual(['configmaps']);
  expect(await complaintsAbout(sim)).toEqual([]);
});

test('a standby whose watch kept breaking lists that kind anew before it leads, and waits for no pause to end', async () => {
  let isBroken = false;
  const { sim, leader, standby, listed } = await twoReplicas(({ path }) =>
    isBroken && path.startsWith('/api/v1/services') ? { do: 'reset', after: 0 } : undefined,
  );
  isBroken = true;
  sim.resetConnections();
  await sim.elapse(120_000);
  const before = listed.length;
  sim.remove('a/old');
  leader.kill();
  await sim.until('led', () => sim.leaseHolder() === standby.identity);
  isBroken = false;
  await sim.elapse(1_000);
  expect(listed.slice(before).toSorted()).toEqual(['configmaps', 'services']);
  expect(sim.services().map(({ spec }) => spec)).toMatchObject([{ ports: [{ nodePort: 30_000 }] }]);
  expect(await complaintsAbout(sim)).toEqual([]);
});

const LEASE_DURATION = 10_000;
const TAKEOVER = LEASE_DURATION + 2_000;

const AWAY: Record<string, (leader: SimProcess) => void> = {
  'is killed': (leader) => leader.kill(),
  'is stopped': (leader) => leader.freeze(),
  'is cut off from the apiserver': (leader) => leader.cutOff(true),
};

test.each(Object.keys(AWAY))(
  'the standby serves within the lease and two seconds when the leader %s',
  async (how) => {
    const { sim, leader, standby } = await twoReplicas();
    sim.range('more', 30_010, 30_019);
    await sim.rest();
    AWAY[how]?.(leader);
    sim.service('a/meanwhile', { range: 'more' });
    const since = sim.clock.monotonic();
    await sim.until('served', () => holds(sim, 'meanwhile', 30_010));
    expect(sim.clock.monotonic() - since).toBeLessThanOrEqual(TAKEOVER);
    expect(sim.leaseHolder()).toBe(standby.identity);
    leader.thaw();
    leader.cutOff(false);
    await sim.elapse(30_000);
    expect(leader.ended).toBeDefined();
    expect(await complaintsAbout(sim)).toEqual([]);
  },
);

function holds(sim: Simulation, name: string, port: number): boolean {
  return claims(sim).some(({ key, numbers }) => key === `a/${name}` && numbers.includes(port));
}

/** The scenario, in which the leader is stopped past its lease at that moment of write `at`, and then continued. */
async function stoppedAt(at: number, moment: 'before' | 'after'): Promise<string[]> {
  const seen = { before: 0, after: 0, answered: 0 };
  let sim: Simulation | undefined;
  const faults: Faults = {
    onWrite(now, { path }, from) {
      if (path.includes('/leases')) return;
      if (now === moment && seen[now] === at) {
        from?.freeze();
        sim?.clock.after(LEASE_DURATION + 5_000, () => from?.thaw());
      }
      seen[now] += 1;
    },
  };
  sim = createSimulation({ seed: at, replicas: 2, faults });
  sim.supervise();
  for (const step of STEPS) {
    await tolerant(() => step.run(sim));
    await sim.elapse(2_000);
    if (seen[moment] > at + 20) break;
  }
  // Until nothing rests any more.
  await sim.elapse(360_000);
  await sim.rest();
  return complaintsAbout(sim);
}

/** `EVERY=1` takes all of them. */
const EVERY = Number(process.env['EVERY'] ?? 60);

test.each(['before', 'after'] as const)(
  'One writer: a leader that is stopped past its lease and continued %s a write took effect writes nothing any more',
  async (moment) => {
    for (let at = 0; at < 240; at += EVERY)
      expect(await stoppedAt(at, moment), `stopped ${moment} write ${at}`).toEqual([]);
  },
  900_000,
);
