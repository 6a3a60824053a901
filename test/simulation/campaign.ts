/**
 * Histories under faults. A seed says everything: which two kinds of faults, when each strikes, and how the people in
 * it hurry through the scenario instead of waiting until it rests. When the faults are over, all must be well again.
 */
import type { WireRequest } from '../../src/kube/wire.ts';
import type { JsonObject } from './patches.ts';
import type { Fault, Faults, WatchFault } from './network.ts';
import { endState, heldByServices, heldInTable, STEPS } from './scenario.ts';
import { createSimulation, randomFrom, type Simulation, type SimProcess } from './simulation.ts';

const SYSTEM_MAPS = '/api/v1/namespaces/nodeport-manager-system/configmaps';

/** What can go wrong, and how often it does: per request, per watch or per pause between two steps. */
type Kind =
  | { per: 'request'; odds: number; strike(random: () => number, request: WireRequest): Fault }
  | { per: 'watch'; odds: number; strike(random: () => number): WatchFault }
  | { per: 'pause'; odds: number; strike(random: () => number, stage: Stage): void | Promise<void> };

interface Stage {
  readonly sim: Simulation;
  present(): SimProcess;
}

const refusal = (status: number, reason: string, retryAfterSeconds?: number): Kind => ({
  per: 'request',
  odds: 0.08,
  strike: () => ({
    at: 'before',
    do: 'answer',
    status,
    reason,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  }),
});
const lost = (fault: Fault): Kind => ({ per: 'request', odds: 0.06, strike: () => fault });
const watch = (odds: number, strike: (random: () => number) => WatchFault): Kind => ({
  per: 'watch',
  odds,
  strike,
});
const upTo = (most: number) => (random: () => number) => Math.floor(random() * most);

export const KINDS: Readonly<Record<string, Kind>> = {
  nothing: { per: 'request', odds: 0, strike: () => ({ at: 'before', do: 'reset' }) },
  'connection lost before the request': lost({ at: 'before', do: 'reset' }),
  'connection lost after it took effect': lost({ at: 'after', do: 'reset' }),
  'no answer, and nothing done': lost({ at: 'before', do: 'hang' }),
  'no answer, and it was done': lost({ at: 'after', do: 'hang' }),
  'an answer cut in the middle': lost({ at: 'after', do: 'cut' }),
  'slow answers': {
    per: 'request',
    odds: 0.2,
    strike: (random) => ({ at: 'before', do: 'slow', ms: upTo(3_000)(random) }),
  },
  '409': refusal(409, 'Conflict'),
  '429': refusal(429, 'TooManyRequests', 1),
  '500': refusal(500, 'InternalError'),
  '503': refusal(503, 'ServiceUnavailable'),
  '504': refusal(504, 'Timeout'),
  'watches that end in 410': watch(0.3, () => ({ do: 'gone', as: 'status' })),
  'watches that say 410': watch(0.3, () => ({ do: 'gone', as: 'event' })),
  'watches that break': watch(0.5, (random) => ({ do: 'reset', after: upTo(60_000)(random) })),
  'watches cut in a line': watch(0.5, (random) => ({ do: 'cut line', after: upTo(60_000)(random) })),
  'half-open watches': watch(0.4, (random) => ({ do: 'silence', after: upTo(20_000)(random) })),
  'watches that lag': watch(0.7, (random) => ({ do: 'lag', ms: upTo(20_000)(random) })),
  'kill -9': { per: 'pause', odds: 0.3, strike: (_, { present }) => present().kill() },
  'all connections reset': { per: 'pause', odds: 0.3, strike: (_, { sim }) => sim.resetConnections() },
  'history compacted': { per: 'pause', odds: 0.3, strike: (_, { sim }) => sim.server.compact() },
  'the table deleted': {
    per: 'pause',
    odds: 0.2,
    strike: (random, { sim }) => spoil(sim, random, () => undefined),
  },
  'the table edited by hand': {
    per: 'pause',
    odds: 0.3,
    strike: (random, { sim }) => spoil(sim, random, (data) => withoutSome(data, random)),
  },
  'the table overwritten with nonsense': {
    per: 'pause',
    odds: 0.2,
    strike: (random, { sim }) => spoil(sim, random, (data) => ({ ...data, '30001': '{"state":"He' })),
  },
  'node ports edited by hand': { per: 'pause', odds: 0.3, strike: (random, { sim }) => rival(sim, random) },
  'etcd put back': {
    per: 'pause',
    odds: 0.1,
    // Nobody writes while the apiserver is down, nor until its clients are back: whose position is overtaken meanwhile
    // cannot tell, which is why a restored etcd is to be given a higher revision (etcdutl --bump-revision).
    async strike(random, { sim }) {
      sim.restore(sim.server.revision - upTo(40)(random));
      await sim.elapse(600_000);
    },
  },
};

export interface Outcome {
  /** What a person would need to hear; empty: all is well. */
  readonly complaints: readonly string[];
}

/** The two kinds that a seed stands for: all pairs come in turn, and each alone with itself. */
export function kindsOf(seed: number): readonly [string, string] {
  const names = Object.keys(KINDS);
  const at = (i: number): string => names[i % names.length] ?? 'nothing';
  return [at(seed), at(Math.floor(seed / names.length))];
}

export async function play(seed: number): Promise<Outcome> {
  const random = randomFrom(seed * 7 + 3);
  const kinds = [...new Set(kindsOf(seed))].map((name) => KINDS[name] as Kind);
  let isOver = false;
  const strikes = <T>(per: Kind['per'], use: (kind: Kind) => T): T | undefined => {
    for (const kind of kinds) if (!isOver && kind.per === per && random() < kind.odds) return use(kind);
    return undefined;
  };
  const faults: Faults = {
    onRequest: (request) =>
      strikes('request', (kind) => (kind.per === 'request' ? kind.strike(random, request) : undefined)),
    onWatch: () => strikes('watch', (kind) => (kind.per === 'watch' ? kind.strike(random) : undefined)),
  };
  const sim = createSimulation({ seed, faults });
  const present = sim.supervise();
  for (const step of STEPS) {
    await tolerant(() => step.run(sim));
    await sim.elapse(random() < 0.3 ? 60_000 * random() : 3_000 * random());
    await strikes('pause', (kind) =>
      kind.per === 'pause' ? kind.strike(random, { sim, present }) : undefined,
    );
  }
  isOver = true;
  // A cache that a fault made blind notices it by itself, but not at once; what it missed, the resync brings.
  await sim.elapse(900_000);
  await sim.rest();
  return { complaints: await complaintsAbout(sim, present) };
}

async function complaintsAbout(sim: Simulation, present: () => SimProcess): Promise<string[]> {
  const complaints = [...sim.violations()];
  const [told, held] = [heldByServices(sim), heldInTable(sim)];
  for (const each of told) if (!held.includes(each)) complaints.push(`Table = reality: no entry for ${each}`);
  for (const each of held) if (!told.includes(each)) complaints.push(`Table = reality: nobody has ${each}`);
  const before = JSON.stringify(endState(sim));
  const revisions = sim.services().map(({ metadata }) => metadata.resourceVersion);
  present().kill();
  await sim.elapse(5_000);
  await sim.rest();
  const now = sim.services().map(({ metadata }) => metadata.resourceVersion);
  if (JSON.stringify(revisions) !== JSON.stringify(now))
    complaints.push('Converges: a fresh start wrote to Services, so not all was settled');
  if (before !== JSON.stringify(endState(sim)))
    complaints.push('Converges: a fresh start came to another state');
  return [...complaints, ...sim.violations()];
}

/** Steps are written for a history without faults: what cannot be done in this one is left out. */
async function tolerant(run: () => void | Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!/: (404|409|422) /.test(String(error))) throw error;
  }
}

/** Changes one block of the table; undefined deletes it. */
function spoil(
  sim: Simulation,
  random: () => number,
  change: (data: Record<string, string>) => JsonObject | undefined,
): void {
  const all = sim.list(SYSTEM_MAPS).filter(({ metadata }) => /^nodeport-table-\d+$/.test(metadata.name));
  const block = all[Math.floor(random() * all.length)];
  if (block === undefined) return;
  const path = `${SYSTEM_MAPS}/${block.metadata.name}`;
  const data = change(block['data'] as Record<string, string>);
  if (data === undefined) sim.request('DELETE', path);
  else
    sim.request('PUT', path, { ...block, metadata: { ...block.metadata, resourceVersion: undefined }, data });
}

function withoutSome(data: Record<string, string>, random: () => number): JsonObject {
  return Object.fromEntries(Object.entries(data).filter(() => random() < 0.7));
}

/** Somebody pins a number of the segments on a Service of theirs, or on one that is managed. */
function rival(sim: Simulation, random: () => number): void {
  const services = sim.services();
  const target = services[Math.floor(random() * services.length)];
  const spec = target?.['spec'] as { type: string; ports: JsonObject[] } | undefined;
  if (target === undefined || spec?.type !== 'NodePort') return;
  const nodePort = 30_000 + Math.floor(random() * 50);
  const ports = spec.ports.map((port, i) => (i === 0 ? { ...port, nodePort } : port));
  try {
    sim.edit(`${target.metadata.namespace}/${target.metadata.name}`, { spec: { ports } });
  } catch {
    // Taken: the apiserver refuses it, as anybody's.
  }
}
