import type { Client } from '../../e2e/cluster/client.ts';

/** Writes by "VERB resource/subresource", as the apiserver counts them. */
export type Writes = ReadonlyMap<string, number>;

const WRITE_VERBS = new Set(['POST', 'PUT', 'PATCH', 'APPLY', 'DELETE', 'DELETECOLLECTION']);

/** All writes that were answered since the apiserver started, Leases apart (the apiserver renews its own). */
export async function countWrites(client: Client): Promise<Writes> {
  const { status, body } = await client.raw('GET', '/metrics', { headers: { accept: 'text/plain' } });
  if (status !== 200) throw new Error(`GET /metrics: ${status}`);
  const writes = new Map<string, number>();
  for (const [, labels = '', count] of body.matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
    const label = (name: string): string => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
    if (!WRITE_VERBS.has(label('verb')) || label('resource') === 'leases') continue;
    const subresource = label('subresource');
    const what = `${label('verb')} ${label('resource')}${subresource === '' ? '' : `/${subresource}`}`;
    writes.set(what, (writes.get(what) ?? 0) + Number(count));
  }
  return writes;
}

/** What was written between two counts, without what was not. */
export function difference(before: Writes, after: Writes): Writes {
  return new Map(
    [...after].flatMap(([what, count]): [string, number][] => {
      const more = count - (before.get(what) ?? 0);
      return more === 0 ? [] : [[what, more]];
    }),
  );
}

/** Writes to Services and the table: what the budget for an assignment counts. */
export function forAssigning(writes: Writes): number {
  let sum = 0;
  for (const [what, count] of writes) if (/ (services|services\/status|configmaps)$/.test(what)) sum += count;
  return sum;
}

export function total(writes: Writes): number {
  return [...writes.values()].reduce((sum, count) => sum + count, 0);
}

export function asList(writes: Writes): string {
  return (
    [...writes]
      .map(([what, count]) => `${count} ${what}`)
      .toSorted()
      .join(', ') || 'none'
  );
}
