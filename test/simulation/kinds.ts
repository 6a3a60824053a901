/** What can go wrong, and how often it does: per request, per watch or per pause between two steps. */
import type { WireRequest } from '../../src/kube/wire.ts';
import { editAnnotations, RANGE_EDITS, rival, spoil, withoutSome } from './people.ts';
import type { Fault, Victim, WatchFault } from './faults.ts';
import type { Simulation, SimProcess } from './simulation.ts';

export interface Stage {
  readonly sim: Simulation;
  /** The process that leads. */
  present(): SimProcess;
}

type Random = () => number;

/** 'done': it struck, and the request goes its way. Undefined: this request is none of its business. */
type Strike = Fault | 'done' | undefined;

export type Kind = {
  /** Of a request, watch or pause. */
  readonly odds: number;
  /** More than one, whatever the history has otherwise. */
  readonly replicas?: number;
} & (
  | {
      per: 'request';
      strike(random: Random, request: WireRequest, from: Victim, stage: Stage): Strike;
    }
  | { per: 'watch'; strike(random: Random): WatchFault }
  | { per: 'pause'; strike(random: Random, stage: Stage): void | Promise<void> }
);

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
const watch = (odds: number, strike: (random: Random) => WatchFault): Kind => ({
  per: 'watch',
  odds,
  strike,
});
const between = (odds: number, strike: (random: Random, stage: Stage) => void | Promise<void>): Kind => ({
  per: 'pause',
  odds,
  strike,
});
const upTo = (most: number) => (random: Random) => Math.floor(random() * most);
const hours = (n: number): number => n * 3_600_000;

const OF_REQUESTS = {
  nothing: { per: 'request', odds: 0, strike: () => undefined },
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
  '422 already allocated': { per: 'request', odds: 0.3, strike: (_, request) => alreadyAllocated(request) },
  '429': refusal(429, 'TooManyRequests', 1),
  '500': refusal(500, 'InternalError'),
  '503': refusal(503, 'ServiceUnavailable'),
  '504': refusal(504, 'Timeout'),
  'stale lists': {
    per: 'request',
    odds: 0.5,
    strike: (random, { method, path }) =>
      method === 'GET' && path.includes('limit=')
        ? { at: 'before', do: 'stale', by: upTo(60)(random) }
        : undefined,
  },
  'a rival takes the number just chosen': {
    per: 'request',
    odds: 0.2,
    strike: (random, request, _, { sim }) => takeFirst(sim, random, request),
  },
} satisfies Record<string, Kind>;

const OF_WATCHES = {
  'watches that end in 410': watch(0.3, () => ({ do: 'gone', as: 'status' })),
  'watches that say 410': watch(0.3, () => ({ do: 'gone', as: 'event' })),
  'watches that break': watch(0.5, (random) => ({ do: 'reset', after: upTo(60_000)(random) })),
  'watches cut in a line': watch(0.5, (random) => ({ do: 'cut line', after: upTo(60_000)(random) })),
  'half-open watches': watch(0.4, (random) => ({ do: 'silence', after: upTo(20_000)(random) })),
  'watches that lag': watch(0.7, (random) => ({ do: 'lag', ms: upTo(20_000)(random) })),
  'events coalesced': watch(0.7, (random) => ({ do: 'coalesce', within: upTo(20_000)(random) })),
  'events dropped': watch(0.5, () => ({ do: 'drop', odds: 0.1 })),
  'no bookmarks': watch(0.7, () => ({ do: 'no bookmarks' })),
} satisfies Record<string, Kind>;

const OF_MACHINES = {
  'kill -9': between(0.3, (_, { present }) => present().kill()),
  'the leader stopped past its lease, then continued': {
    per: 'request',
    odds: 0.02,
    replicas: 2,
    strike(random, { method }, from, { sim }) {
      if (method === 'GET') return undefined;
      from.freeze();
      sim.clock.after(10_000 + upTo(20_000)(random), () => from.thaw());
      return 'done';
    },
  },
  'the leader cut off from the apiserver': {
    ...between(0.3, (random, { sim, present }) => {
      const leader = present();
      leader.cutOff(true);
      sim.clock.after(upTo(30_000)(random), () => leader.cutOff(false));
    }),
    replicas: 2,
  },
  'clock steps': between(0.3, (random, { sim }) => sim.stepClock(hours(12 * random() - 6))),
  'all connections reset': between(0.3, (_, { sim }) => sim.resetConnections()),
  'apiserver killed and restarted': between(0.2, (random, { sim }) => {
    sim.outage(1_000 + upTo(30_000)(random));
    // What its watch cache had is gone.
    sim.server.compact();
  }),
  'history compacted': between(0.3, (_, { sim }) => sim.server.compact()),
  'etcd put back': between(
    0.1,
    // Nobody writes while the apiserver is down, nor until its clients are back: whose position is overtaken meanwhile
    // cannot tell, which is why a restored etcd is to be given a higher revision (etcdutl --bump-revision).
    async (random, { sim }) => {
      sim.restore(sim.server.revision - upTo(40)(random));
      await sim.elapse(600_000);
    },
  ),
} satisfies Record<string, Kind>;

const OF_PEOPLE = {
  'the table deleted': between(0.2, (random, { sim }) => spoil(sim, random, () => undefined)),
  'the table edited by hand': between(0.3, (random, { sim }) =>
    spoil(sim, random, (data) => withoutSome(data, random)),
  ),
  'the table overwritten with nonsense': between(0.2, (random, { sim }) =>
    spoil(sim, random, (data) => ({ ...data, '30001': '{"state":"He' })),
  ),
  'node ports edited by hand': between(0.3, (random, { sim }) => rival(sim, random)),
  'annotations edited by hand': between(0.5, (random, { sim }) => editAnnotations(sim, random)),
} satisfies Record<string, Kind>;

const OF_ADMINS: Record<string, Kind> = Object.fromEntries(
  Object.entries(RANGE_EDITS).map(([name, edit]) => [
    `a PortRange ${name}`,
    between(0.4, (random, { sim }) => edit(sim, random)),
  ]),
);

export const KINDS: Readonly<Record<string, Kind>> = {
  ...OF_REQUESTS,
  ...OF_WATCHES,
  ...OF_MACHINES,
  ...OF_PEOPLE,
  ...OF_ADMINS,
};

/** The first node port that a write would put on a Service, and where it is in the patch. */
function chosen({ method, path, body = '[]' }: WireRequest): { field: string; port: number } | undefined {
  if (method !== 'PATCH' || !/\/services\/[^/?]+\?/.test(path)) return undefined;
  for (const { path, value } of JSON.parse(body) as { path: string; value: unknown }[]) {
    const at = /^\/spec\/ports\/(\d+)\/nodePort$/.exec(path);
    if (at !== null) return { field: `spec.ports[${at[1]}].nodePort`, port: Number(value) };
  }
  return undefined;
}

function alreadyAllocated(request: WireRequest): Fault | undefined {
  const choice = chosen(request);
  if (choice === undefined) return undefined;
  const { field, port } = choice;
  const message = `Invalid value: ${port}: provided port is already allocated`;
  const causes = [{ field, message, reason: 'FieldValueInvalid' }];
  return {
    at: 'before',
    do: 'answer',
    status: 422,
    reason: 'Invalid',
    message: `Service is invalid: ${field}: ${message}`,
    causes,
  };
}

/** Another Service gets that very number between the decision and its write; some of those go again. */
function takeFirst(sim: Simulation, random: Random, request: WireRequest): Strike {
  const choice = chosen(request);
  if (choice === undefined) return undefined;
  const key = `rival/r${choice.port}`;
  try {
    sim.service(key, { ports: [{ name: 'http', port: 80, nodePort: choice.port }] });
  } catch {
    // Somebody has it, or had it: the apiserver refuses.
    return undefined;
  }
  if (random() < 0.7) sim.clock.after(upTo(60_000)(random), () => gone(sim, key));
  return 'done';
}

/** A restored etcd may have taken it already. */
function gone(sim: Simulation, key: string): void {
  if (sim.services().some(({ metadata }) => key === `${metadata.namespace}/${metadata.name}`))
    sim.remove(key);
}
