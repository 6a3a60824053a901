import { expect } from 'vitest';
import { type Client, createClient } from '../cluster/client.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { writesOf } from './audit.ts';
import { eventually } from './eventually.ts';
import { follow } from './follow.ts';
import { judge, type Recorded } from './judge.ts';
import type { AtRest } from './served.ts';
import {
  conditionOf,
  type ConfigMap,
  type Entry,
  keyOf,
  type Metadata,
  type Namespace,
  numbersOf,
  type PortRange,
  RANGES,
  type Service,
  TABLE,
} from './objects.ts';

/** Watches as admin, beside the controller, and remembers every revision. */
export interface Checker {
  /** The latest revision of the Service; `key`: namespace/name. */
  service(key: string): Service | undefined;
  services(): Service[];
  ranges(): PortRange[];
  /** Every revision of the Service, with when it arrived. */
  revisions(key: string): { object: Service; at: number }[];
  /** The table's entries now, by number; what does not parse is left out. */
  table(): Map<number, Entry>;
  /** All that there is of what a Service is served by, with the time of this machine. */
  cluster(): AtRest;
  /** The newest resourceVersion seen of each object, by kind/uid. */
  state(): Map<string, string>;
  /** Waits until every Service that was told what it holds has it in the table, and the other way round. */
  untilTableIsTrue(): Promise<void>;
  /**
   * Waits until it has seen what there is now, and judges all of it. Throws with the violations. Says on stderr of what
   * there may have been revisions that nobody saw: an apiserver that was restarted, a compacted etcd.
   */
  verify(): Promise<void>;
  close(): Promise<void>;
}

const SOURCES = {
  Service: '/api/v1/services',
  ConfigMap: TABLE,
  PortRange: RANGES,
  Namespace: '/api/v1/namespaces',
} as const;

/** `written`: the resourceVersions that the controller wrote; default: what the apiserver's audit log says. */
export async function startChecker(
  cluster: Cluster,
  written = async () => (await writesOf(cluster)).map(({ resourceVersion }) => resourceVersion),
): Promise<Checker> {
  const client = createClient(cluster);
  const stop = new AbortController();
  const history: Recorded[] = [];
  const latest = new Map<string, Recorded>();
  const record = (revision: Recorded): void => {
    history.push(revision);
    const id = `${revision.kind}/${revision.object.metadata.uid}`;
    if (revision.deleted) latest.delete(id);
    else latest.set(id, revision);
  };
  const gaps: string[] = [];
  const missed = (what: string): void => void gaps.push(what);
  await Promise.all([
    follow<Service>(client, SOURCES.Service, stop.signal, (r) => record({ kind: 'Service', ...r }), missed),
    follow<ConfigMap>(
      client,
      SOURCES.ConfigMap,
      stop.signal,
      (r) => record({ kind: 'ConfigMap', ...r }),
      missed,
    ),
    follow<Namespace>(
      client,
      SOURCES.Namespace,
      stop.signal,
      (r) => record({ kind: 'Namespace', ...r }),
      missed,
    ),
    follow<PortRange>(
      client,
      SOURCES.PortRange,
      stop.signal,
      (r) => record({ kind: 'PortRange', ...r }),
      missed,
    ),
  ]);

  const services = (): Service[] => objectsOf(latest, 'Service');
  const state = (): Map<string, string> =>
    new Map([...latest].map(([id, { object }]) => [id, object.metadata.resourceVersion]));
  const table = (): Map<number, Entry> => new Map(objectsOf(latest, 'ConfigMap').flatMap(entriesOf));

  return {
    service: (key) => services().find((object) => keyOf(object) === key),
    services,
    ranges: () => objectsOf(latest, 'PortRange'),
    revisions: (key) =>
      history.flatMap((r) =>
        r.kind === 'Service' && !r.deleted && keyOf(r.object) === key ? [{ object: r.object, at: r.at }] : [],
      ),
    table,
    cluster: () => clusterOf(latest),
    state,
    untilTableIsTrue: () =>
      eventually(() => expect(tableOfHeld(table())).toEqual(heldByServices(services()))),
    async verify() {
      await eventually(async () => expect(state()).toEqual(await listed(client)));
      const ours = new Set(await written());
      const violations = judge(history, ({ object }) => ours.has(object.metadata.resourceVersion));
      if (gaps.length > 0) process.stderr.write(`e2e: judged with gaps\n  ${gaps.join('\n  ')}\n`);
      expect(violations, gaps.length > 0 ? `judged with gaps: ${gaps.join('; ')}` : '').toEqual([]);
    },
    async close() {
      stop.abort();
      await client.close();
    },
  };
}

/** The objects of one kind among the latest revisions. */
export function objectsOf<K extends Recorded['kind']>(
  latest: ReadonlyMap<string, Recorded>,
  kind: K,
): Extract<Recorded, { kind: K }>['object'][] {
  return [...latest.values()].flatMap((r) => (r.kind === kind ? [r.object] : [])) as never;
}

export function clusterOf(latest: ReadonlyMap<string, Recorded>): AtRest {
  return {
    services: objectsOf(latest, 'Service'),
    ranges: objectsOf(latest, 'PortRange'),
    namespaces: objectsOf(latest, 'Namespace'),
    blocks: objectsOf(latest, 'ConfigMap'),
    now: Date.now(),
  };
}

async function listed(client: Client): Promise<Map<string, string>> {
  const all = await Promise.all(
    Object.entries(SOURCES).map(async ([kind, path]) => {
      const { items } = await client.list<{ metadata: Metadata }>(path);
      return items.map(({ metadata }): [string, string] => [
        `${kind}/${metadata.uid}`,
        metadata.resourceVersion,
      ]);
    }),
  );
  return new Map(all.flat());
}

export function entriesOf({ metadata, data = {} }: ConfigMap): [number, Entry][] {
  if (!/^nodeport-table-\d+$/.test(metadata.name)) return [];
  return Object.entries(data).flatMap(([key, text]): [number, Entry][] => {
    try {
      return [[Number(key), JSON.parse(text)]];
    } catch {
      return [];
    }
  });
}

/** `30100 a-dev/web <uid>`, sorted. */
export function tableOfHeld(table: ReadonlyMap<number, Entry>): string[] {
  return [...table]
    .filter(([, { state }]) => state === 'Held')
    .map(([number, { service, uid }]) => `${number} ${service} ${uid}`)
    .toSorted();
}

export function heldByServices(services: readonly Service[]): string[] {
  return services
    .flatMap((object) => {
      // Of one that holds some and waits for more, the message goes on about the numbers that it has meanwhile.
      const told = /^holds (.+?) (?:from|outside) /.exec(conditionOf(object)?.message ?? '')?.[1] ?? '';
      return numbersOf(object)
        .filter((number) => told.split(/[ ,]+/).includes(String(number)))
        .map((number) => `${number} ${keyOf(object)} ${object.metadata.uid}`);
    })
    .toSorted();
}
