import { TABLE } from '../api/names.ts';
import type { Tenure } from '../kube/lease.ts';
import { epochOf } from './table.ts';

/** The right to write, and from which epoch. */
export interface Mandate {
  /**
   * An epoch above `highest`, of ours alone where a Lease says so.
   * @throws Error when the Lease was lost
   */
  claimEpoch(highest: number): Promise<number>;
  /** Whether a Lease names us: then a stamp of somebody else in the table is no proof that he is the leader. */
  readonly isElected: boolean;
}

/** Without leader election: whoever begins last is the leader. */
export const selfAppointed: Mandate = { isElected: false, claimEpoch: async (highest) => highest + 1 };

/** The epoch lives on the Lease, too: it outlasts a table that was deleted, and each taking counts it up. */
export function electedBy(tenure: Tenure): Mandate {
  let last = 0;
  return {
    isElected: true,
    async claimEpoch(highest) {
      const stamp = tenure.annotations()[TABLE.epochAnnotation] ?? '';
      const taken = epochOf(stamp);
      if (last === 0 && taken > highest) return (last = taken);
      last = Math.max(highest, taken, last) + 1;
      // Written at a resourceVersion that names us: with the answer we know that the Lease still does.
      await tenure.annotate({ [TABLE.epochAnnotation]: stamp.replace(/^\d*/, String(last)) });
      return last;
    },
  };
}

/** What is written on the Lease when it is taken: the next epoch. */
export function nextEpoch(
  identity: string,
): (found: Readonly<Record<string, string>>) => Record<string, string> {
  return (found) => {
    const epoch = epochOf(found[TABLE.epochAnnotation] ?? '') + 1;
    return { [TABLE.epochAnnotation]: `${epoch}/${identity}` };
  };
}
