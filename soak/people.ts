import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError, type Client } from '../e2e/cluster/client.ts';
import {
  type Namespace,
  portRange,
  type PortRange,
  PORTS_ANNOTATION,
  RANGE_ANNOTATION,
  RANGES,
  type Service,
  service,
  type ServiceOptions,
  servicesPath,
} from '../e2e/support/objects.ts';
import type { Record } from './record.ts';

/** Who uses the cluster, without ever stopping for long. */
export interface People {
  /** Goes on until `rest`. */
  work(): void;
  /** Resolves when nothing of theirs is under way. */
  rest(): Promise<void>;
  /** So many at once, and gone again with the rest of the churn. */
  burst(count: number): Promise<void>;
  alive(): number;
}

const TEAMS = ['a', 'b', 'c'] as const;
/** Segments that the apiserver never picks from at random lie below 30228; these lie wide apart, so hits are rare. */
const SEGMENTS: { [team: string]: readonly [from: number, to: number] } = {
  a: [30100, 30299],
  b: [30500, 30699],
  c: [30900, 31099],
  few: [31500, 31509],
};
const POPULATION = 250;
const ACTIONS_A_SECOND = 8;

const KINDS: readonly [ServiceOptions, ...ServiceOptions[]] = [
  {},
  {},
  { ports: [80, 443].map((port) => ({ name: `p${port}`, port })) },
  { ports: ['TCP', 'UDP'].map((protocol) => ({ name: protocol.toLowerCase(), port: 53, protocol })) },
  { type: 'LoadBalancer' },
  { type: 'LoadBalancer', spec: { externalTrafficPolicy: 'Local' } },
];

export async function gatherPeople(client: Client, record: Record, random: () => number): Promise<People> {
  const alive: string[] = [];
  let names = 0;
  let stop = new AbortController();
  let working = Promise.resolve();
  const among = <T>(all: readonly [T, ...T[]]): T => all[Math.floor(random() * all.length)] ?? all[0];

  for (const team of TEAMS)
    record.wrote(
      await client.create<Namespace>('/api/v1/namespaces', { metadata: { name: `team-${team}` } }),
    );
  for (const [name, [from, to]] of Object.entries(SEGMENTS)) {
    const strategy = { a: 'Sequential', b: 'Random', c: 'Hash' }[name] ?? 'Sequential';
    record.wrote(
      await client.create<PortRange>(RANGES, portRange(name, from, to, { strategy, cooldown: '5s' })),
    );
  }

  async function create(): Promise<void> {
    const team = among(TEAMS);
    const key = `team-${team}/soak-${(names += 1)}`;
    const range =
      random() < 0.1 ? 'few' : random() < 0.05 ? undefined : random() < 0.1 ? `few,${team}` : team;
    const path = `/api/v1/namespaces/team-${team}/services`;
    record.wrote(await client.create<Service>(path, service(key, { ...among(KINDS), range })));
    alive.push(key);
  }

  async function remove(): Promise<void> {
    const [key = ''] = alive.splice(Math.floor(random() * alive.length), 1);
    await client.delete(servicesPath(key));
  }

  const edit = async (body: object): Promise<void> =>
    void record.wrote(
      await client.patch<Service>(
        servicesPath(alive[Math.floor(random() * alive.length)] ?? ''),
        'merge',
        body,
      ),
    );
  const annotate = (annotations: { [name: string]: string | null }): Promise<void> =>
    edit({ metadata: { annotations } });

  /** Of one of the segments, so that people want what others have. */
  const someNumber = (): number => {
    const [from, to] = SEGMENTS[among(TEAMS)] ?? [30100, 30100];
    return from + Math.floor(random() * (to - from + 1));
  };

  async function editRange(): Promise<void> {
    const name = among(TEAMS);
    const [from, to] = SEGMENTS[name] ?? [0, 0];
    const spec = among([
      { paused: false, ranges: [{ from, to }] },
      { paused: false, ranges: [{ from, to: to - 20 }] },
      { paused: random() < 0.2, ranges: [{ from, to }] },
      { cooldown: among(['0s', '2s', '5s']) },
    ]);
    record.wrote(await client.patch<PortRange>(`${RANGES}/${name}`, 'merge', { spec }));
  }

  async function act(): Promise<void> {
    const chance = random();
    if (alive.length < 20 || chance < 0.42) await (alive.length > POPULATION ? remove() : create());
    else if (chance < 0.8) await remove();
    else if (chance < 0.87)
      await annotate({ [RANGE_ANNOTATION]: among([...TEAMS, 'few', 'auto', 'nowhere']) });
    else if (chance < 0.91) await annotate({ [PORTS_ANNOTATION]: `${someNumber()}` });
    else if (chance < 0.95) await annotate({ [PORTS_ANNOTATION]: null });
    else if (chance < 0.98) await edit({ spec: { selector: { app: `v${names}` } } });
    else await editRange();
  }

  async function workUntil(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await tolerant(act);
      await sleep((random() * 2_000) / ACTIONS_A_SECOND);
    }
  }

  return {
    work() {
      stop = new AbortController();
      working = workUntil(stop.signal);
    },
    rest() {
      stop.abort();
      return working;
    },
    async burst(count) {
      await Promise.all(Array.from({ length: count }, () => tolerant(create)));
    },
    alive: () => alive.length,
  };
}

/** What the apiserver refuses, people do not insist on: an edit that came too late, or of what is gone. */
export async function tolerant(act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof ApiError) || ![404, 409, 422].includes(error.status)) throw error;
  }
}
