import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../e2e/cluster/client.ts';
import type { Cluster } from '../e2e/cluster/cluster.ts';
import { type ConfigMap, TABLE } from '../e2e/support/objects.ts';
import { type People, tolerant } from './people.ts';
import type { Record } from './record.ts';
import { LEASE_MS, type Replicas } from './replicas.ts';

export interface Stage {
  readonly cluster: Cluster;
  readonly client: Client;
  readonly record: Record;
  readonly people: People;
  readonly replicas: Replicas;
  readonly random: () => number;
}

type Fault = (stage: Stage) => Promise<void>;

/** A process that is stopped for longer than its lease must end when it goes on; one that is stopped for less must not. */
const stopFor =
  (ms: number): Fault =>
  async ({ replicas }) => {
    const leader = await replicas.leader();
    leader?.signal('SIGSTOP');
    await sleep(ms);
    leader?.signal('SIGCONT');
  };

/** People stand still meanwhile: what they had written and were not told would be taken for the controller's. */
const restartApiserver: Fault = async ({ cluster, people }) => {
  await people.rest();
  await cluster.restartApiserver();
  people.work();
};

/** One block of the table, changed by hand; undefined deletes it. */
const spoil =
  (change: (data: { [port: string]: string }, random: () => number) => object | undefined): Fault =>
  async ({ client, record, random }) => {
    const { items } = await client.list<ConfigMap>(TABLE);
    const blocks = items.filter(({ metadata }) => /^nodeport-table-\d+$/.test(metadata.name));
    const block = blocks[Math.floor(random() * blocks.length)];
    if (block === undefined) return;
    const path = `${TABLE}/${block.metadata.name}`;
    const data = change(block.data ?? {}, random);
    await tolerant(async () => {
      if (data === undefined) return client.delete(path);
      const { resourceVersion: _, ...metadata } = block.metadata;
      return record.wrote(await client.put<ConfigMap>(path, { ...block, metadata, data }));
    });
  };

const GENTLE: { [name: string]: Fault } = {
  'leader stopped for 5 s': stopFor(5_000),
  'apiserver killed and restarted': restartApiserver,
  'a table block deleted': spoil(() => undefined),
  'a table block edited': spoil((data, random) =>
    Object.fromEntries(Object.entries(data).filter(() => random() < 0.8)),
  ),
  'a table block spoilt': spoil((data) => ({ ...data, '30001': '{"state":"He' })),
  'a burst of 150': ({ people }) => people.burst(150),
};

/** What ends a process, so that its memory begins anew. */
const DEADLY: { [name: string]: Fault } = {
  'leader killed (SIGKILL)': async ({ replicas }) => void (await (await replicas.leader())?.kill('SIGKILL')),
  'leader ended (SIGTERM)': async ({ replicas }) => void (await (await replicas.leader())?.kill('SIGTERM')),
  'leader stopped for longer than its lease': stopFor(LEASE_MS + 5_000),
};

/** Lets one fault happen and says which; the deadly ones only where the memory of processes is not being judged. */
export async function strike(stage: Stage, mayKill: boolean): Promise<string> {
  const all = Object.entries(mayKill ? { ...GENTLE, ...DEADLY } : GENTLE);
  const [name, fault] = all[Math.floor(stage.random() * all.length)] ?? ['nothing', async () => undefined];
  await fault(stage);
  return name;
}
