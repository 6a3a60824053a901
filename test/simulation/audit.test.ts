import { describe, expect, test } from 'vitest';
import { AUDIT_FIELDS } from '../../src/controller/audited.ts';
import type { WireRequest } from '../../src/kube/wire.ts';
import type { Fault, Faults } from './network.ts';
import { STEPS } from './scenario.ts';
import {
  createSimulation,
  type LogLine,
  randomFrom,
  type Simulation,
  type SimProcess,
} from './simulation.ts';
import { transitionsIn, transitionsOf } from './transitions.ts';

/** In the log and not in the history, and the other way round; how often counts. */
function differences(
  lines: readonly LogLine[],
  happened: readonly string[],
): { extra: string[]; missing: string[] } {
  const missing = [...happened];
  const extra = transitionsOf(lines).filter((line) => {
    const at = missing.indexOf(line);
    if (at >= 0) missing.splice(at, 1);
    return at < 0;
  });
  return { extra, missing };
}

const NONE = { extra: [], missing: [] };
const whats = (sim: Simulation): string[] => transitionsIn(sim.server.history).map(({ what }) => what);

async function playAll(sim: Simulation, between: () => void = () => undefined): Promise<void> {
  for (const step of STEPS) {
    await step.run(sim);
    await sim.rest();
    between();
  }
}

describe('each transition of a number is one line in the log', () => {
  test('in a history in which everything happens that people do', async () => {
    const lines: LogLine[] = [];
    const sim = createSimulation({ seed: 1, onLog: (line) => lines.push(line) });
    sim.start();
    await playAll(sim);
    expect(differences(lines, whats(sim))).toEqual(NONE);
    const documented = [...Object.keys(AUDIT_FIELDS), 'msg'];
    for (const line of lines.filter(({ audit }) => audit !== undefined))
      expect(documented).toEqual(expect.arrayContaining(Object.keys(line)));
    const kinds = new Set(lines.map(({ audit }) => audit));
    for (const kind of ['reserved', 'assigned', 'adopted', 'moved', 'released', 'refused'])
      expect(kinds).toContain(kind);
  });

  test('with conflicts, failures, and answers that are lost after the write took effect', async () => {
    const FAULTS: readonly Fault[] = [
      { at: 'before', do: 'answer', status: 409, reason: 'Conflict' },
      { at: 'before', do: 'answer', status: 500, reason: 'InternalError' },
      { at: 'after', do: 'reset' },
      { at: 'after', do: 'hang' },
    ];
    for (let seed = 1; seed <= 6; seed += 1) {
      const random = randomFrom(seed);
      const lines: LogLine[] = [];
      const faults: Faults = {
        onRequest: () => (random() < 0.15 ? FAULTS[Math.floor(random() * FAULTS.length)] : undefined),
      };
      const sim = createSimulation({ seed, faults, onLog: (line) => lines.push(line) });
      sim.start();
      await playAll(sim);
      expect(differences(lines, whats(sim)), `seed ${seed}`).toEqual(NONE);
    }
  }, 60_000);

  test('after restarts, and when a second controller takes over, but for what a dying one never heard of', async () => {
    const { lines, faults, unheard } = listening();
    const sim: Simulation = createSimulation({
      seed: 2,
      faults: faults(() => sim.server.revision),
      onLog: (line) => lines.push(line),
    });
    let last = sim.start();
    const all: SimProcess[] = [last];
    await playAll(sim, () => {
      if (all.length % 2 === 0) last.kill();
      // The other time it lives, meets the stamp of the next one, and ends.
      all.push((last = sim.start()));
    });
    await sim.rest();
    expect(all.filter(({ ended }) => ended?.includes('another leader')).length).toBeGreaterThan(5);
    const { extra, missing } = differences(lines, whats(sim));
    expect(extra).toEqual([]);
    expect(missing.filter((what) => !unheard(sim).includes(what))).toEqual([]);
  });
});

test('what somebody did to the table is told when it is mended: which number, who, and what it was', async () => {
  const lines: LogLine[] = [];
  const sim = createSimulation({ seed: 3, onLog: (line) => lines.push(line) });
  const block = '/api/v1/namespaces/nodeport-manager-system/configmaps/nodeport-table-30000';
  sim.namespace('a');
  sim.range('low', 30_000, 30_009);
  let present = sim.start();
  for (const name of ['one', 'two']) sim.service(`a/${name}`, { range: 'low' });
  await sim.rest();
  const healed = async (spoil: () => void): Promise<object[]> => {
    lines.length = 0;
    spoil();
    await sim.rest();
    const told = lines.filter(({ audit }) => audit === 'healed');
    return told.map(({ port, service, kind, by, from, to }) => ({ port, service, kind, by, from, to }));
  };
  const one = { port: 30_000, service: 'a/one', to: 'Held' };
  const two = { ...one, port: 30_001, service: 'a/two' };
  const edit = (data: object) => () => void sim.request('PATCH', block, { data });

  expect(await healed(edit({ 30000: '{}' }))).toEqual([{ ...one, kind: 'corrupt', by: 'team', from: '{}' }]);
  const thief = {
    state: 'Held',
    service: 'a/thief',
    uid: 'u',
    ports: [],
    range: '',
    request: '',
    since: '2026-01-01T00:00:00Z',
  };
  expect(await healed(edit({ 30000: JSON.stringify(thief), 30007: JSON.stringify(thief) }))).toEqual([
    { ...one, kind: 'edited', by: 'team', from: 'Held a/thief' },
    { port: 30_007, service: '', kind: 'edited', by: 'team', from: 'Held a/thief', to: 'no entry' },
  ]);
  // Of what was taken out, the apiserver does not remember by whom.
  const unknown = { by: undefined, from: 'no entry' };
  expect(await healed(edit({ 30001: null }))).toEqual([{ ...two, kind: 'edited', ...unknown }]);
  expect(await healed(() => void sim.request('DELETE', block))).toEqual([
    { ...one, kind: 'deleted', ...unknown },
    { ...two, kind: 'deleted', ...unknown },
  ]);
  const restarted = await healed(() => {
    present.kill();
    sim.request('DELETE', block);
    present = sim.start();
  });
  expect(restarted.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))).toEqual([
    { ...one, kind: 'rebuilt', ...unknown },
    { ...two, kind: 'rebuilt', ...unknown },
  ]);
});

/** Hears which writes took effect without an answer to the process that made them. */
function listening() {
  const underWay = new Map<WireRequest, number>();
  const faults = (revision: () => number, onWrite: Faults['onWrite'] = () => undefined): Faults => ({
    onWrite(now, request) {
      if (now === 'after') underWay.set(request, revision());
      if (now === 'answered') underWay.delete(request);
      onWrite(now, request);
    },
  });
  const unheard = (sim: Simulation): string[] => {
    const revisions = new Set(underWay.values());
    return transitionsIn(sim.server.history).flatMap(({ what, revision }) =>
      revisions.has(revision) ? what : [],
    );
  };
  return { lines: [] as LogLine[], faults, unheard };
}

/** What the log has too much, and lacks, when the controller is killed at this write. */
async function killedAt(at: number, moment: 'before' | 'after' | 'answered') {
  const { lines, faults, unheard } = listening();
  let present: () => SimProcess;
  let writes = 0;
  const onWrite: Faults['onWrite'] = (now) => {
    if (now !== moment) return;
    if (writes === at) present().kill();
    writes += 1;
  };
  const sim: Simulation = createSimulation({
    seed: 42,
    concurrency: 1,
    faults: faults(() => sim.server.revision, onWrite),
    onLog: (line) => lines.push(line),
  });
  present = sim.supervise();
  for (const step of STEPS) {
    await step.run(sim);
    await sim.rest();
    if (writes > at) break;
  }
  const { extra, missing } = differences(lines, whats(sim));
  return { extra, missing: missing.filter((what) => !unheard(sim).includes(what)) };
}

test('killed around a write, the log has nothing twice, and lacks only what was done without an answer', async () => {
  for (const moment of ['before', 'after', 'answered'] as const) {
    for (let at = 0; at < 180; at += 15)
      expect(await killedAt(at, moment), `killed at write ${at}: ${moment}`).toEqual(NONE);
  }
}, 120_000);
