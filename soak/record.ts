import type { Client } from '../e2e/cluster/client.ts';
import { clusterOf, entriesOf, heldByServices, objectsOf, tableOfHeld } from '../e2e/support/checker.ts';
import { follow } from '../e2e/support/follow.ts';
import { type Recorded, startJudge } from '../e2e/support/judge.ts';
import { unservedIn } from '../e2e/support/served.ts';
import {
  type ConfigMap,
  type Metadata,
  type Namespace,
  type PortRange,
  RANGES,
  type Service,
  TABLE,
} from '../e2e/support/objects.ts';

/**
 * What happens in the cluster, judged piece by piece and forgotten: half an hour of revisions does not fit in memory.
 * People and faults tell what they wrote themselves; everything else is the controller's, for nobody else is there.
 */
export interface Record {
  /** An answer to a write of ours that are not the controller. */
  wrote<T extends { metadata: Metadata }>(answer: T): T;
  /** Revisions so far, of Services, PortRanges and the table. */
  revisions(): number;
  /** ms since the last of them. */
  quietFor(): number;
  services(): Service[];
  /** What does not fit together now that nothing moves. */
  complaintsAtRest(): string[];
  /** Judges what is old enough, or with `all` everything. */
  judge(all?: boolean): void;
  readonly violations: readonly string[];
  /** Where there may have been revisions that nobody saw: the apiserver was restarted. */
  readonly gaps: readonly string[];
}

/** The four watches are not in step: nothing is judged before the others must have told theirs. */
const JUDGED_AFTER_MS = 20_000;

export async function startRecord(client: Client, signal: AbortSignal): Promise<Record> {
  const judge = startJudge();
  const latest = new Map<string, Recorded>();
  const byOthers = new Map<string, number>();
  let pending: Recorded[] = [];
  let [revisions, lastAt] = [0, performance.now()];
  const hear = (revision: Recorded): void => {
    pending.push(revision);
    const id = `${revision.kind}/${revision.object.metadata.uid}`;
    if (revision.deleted) latest.delete(id);
    else latest.set(id, revision);
    revisions += 1;
    lastAt = performance.now();
  };
  const gaps: string[] = [];
  const missed = (what: string): void => void gaps.push(what);
  await Promise.all([
    follow<Service>(client, '/api/v1/services', signal, (r) => hear({ kind: 'Service', ...r }), missed),
    follow<ConfigMap>(client, TABLE, signal, (r) => hear({ kind: 'ConfigMap', ...r }), missed),
    follow<Namespace>(client, '/api/v1/namespaces', signal, (r) => hear({ kind: 'Namespace', ...r }), missed),
    follow<PortRange>(client, RANGES, signal, (r) => hear({ kind: 'PortRange', ...r }), missed),
  ]);
  return {
    wrote(answer) {
      byOthers.set(answer.metadata.resourceVersion, performance.now());
      return answer;
    },
    revisions: () => revisions,
    quietFor: () => performance.now() - lastAt,
    services: () => objectsOf(latest, 'Service'),
    complaintsAtRest: () => [
      ...disagreements(objectsOf(latest, 'Service'), objectsOf(latest, 'ConfigMap')),
      ...unservedIn({ ...clusterOf(latest), mayLinger: true }),
    ],
    judge(all = false) {
      const until = all ? Number.POSITIVE_INFINITY : performance.now() - JUDGED_AFTER_MS;
      const due = pending.filter(({ at }) => at <= until);
      pending = pending.filter(({ at }) => at > until);
      judge.hear(due, ({ deleted, object }) => !deleted && !byOthers.has(object.metadata.resourceVersion));
      for (const [revision, at] of byOthers) if (at < until - JUDGED_AFTER_MS) byOthers.delete(revision);
    },
    violations: judge.violations,
    gaps,
  };
}

function disagreements(services: readonly Service[], blocks: readonly ConfigMap[]): string[] {
  const held = tableOfHeld(new Map(blocks.flatMap(entriesOf)));
  const told = heldByServices(services);
  const [inTable, onServices] = [new Set(held), new Set(told)];
  return [
    ...told.filter((each) => !inTable.has(each)).map((each) => `Table = reality: no entry for ${each}`),
    ...held.filter((each) => !onServices.has(each)).map((each) => `Table = reality: nobody has ${each}`),
  ];
}
