import { expect } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { conditionOf, type Metadata } from '../support/objects.ts';
import type { World } from '../support/world.ts';

/** How often what depends on chance is done: `RUNS=10` is the long profile. */
export const RUNS = Number(process.env['RUNS'] ?? 2);

export const LEASE =
  '/apis/coordination.k8s.io/v1/namespaces/nodeport-manager-system/leases/nodeport-manager';

export interface Lease {
  metadata: { resourceVersion: string; annotations?: Record<string, string> };
  spec: {
    holderIdentity: string;
    leaseDurationSeconds: number;
    leaseTransitions: number;
    acquireTime: string;
    renewTime: string;
  };
}

export interface Replicas {
  leader: ControllerProcess;
  standby: ControllerProcess;
}

export async function startTwo({ start, launch }: World, ...flags: string[]): Promise<Replicas> {
  const leader = await start(...flags);
  const standby = await launch({ flags });
  await standby.standsBy();
  return { leader, standby };
}

/** Who calls itself so in its log. */
export async function identityOf(controller: ControllerProcess): Promise<string> {
  return eventually(async () => {
    const started = (await controller.logs()).find(({ msg }) => msg === 'started');
    expect(started).toBeDefined();
    return String(started?.['identity']);
  });
}

/** Creates a Service that asks for `range`; ms from `since` until it was seen to be served. */
export async function servedAfter(
  { service, checker }: World,
  key: string,
  range: string,
  since: number,
): Promise<number> {
  await service(key, { range });
  return eventually(() => {
    const served = checker.revisions(key).find(({ object }) => conditionOf(object)?.status === 'True');
    expect(served, key).toBeDefined();
    return (served?.at ?? 0) - since;
  }, 60_000);
}

/** Prints the median and the worst. */
export function report(what: string, all: readonly number[]): void {
  const sorted = all.toSorted((a, b) => a - b).map(Math.round);
  const median = sorted[Math.floor((sorted.length - 1) / 2)];
  console.info(`${what}: median ${median} ms, worst ${sorted.at(-1)} ms of ${sorted.length}`);
}

/** Every stamp that was written on a block of the table, by its epoch; with `entries`, only where entries changed. */
export async function writersByEpoch(
  { writes }: World,
  which: 'stamps' | 'entries' = 'stamps',
): Promise<Map<number, Set<string>>> {
  const writers = new Map<number, Set<string>>();
  const last = new Map<string, string>();
  for (const { resource, name, code, request } of await writes()) {
    if (resource !== 'configmaps' || code > 299) continue;
    const { metadata, data = {} } = request as { metadata: Metadata; data?: Record<string, string> };
    const entries = JSON.stringify(Object.entries(data).toSorted(([a], [b]) => (a < b ? -1 : 1)));
    const counts = which === 'stamps' || entries !== last.get(name);
    last.set(name, entries);
    const [epoch, writer = ''] = (metadata.annotations?.['nodeport-manager.io/epoch'] ?? '0/').split('/');
    if (counts && Number(epoch) > 0)
      writers.set(Number(epoch), (writers.get(Number(epoch)) ?? new Set()).add(writer));
  }
  return writers;
}
