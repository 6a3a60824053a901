import type { ExpectStatic } from 'vitest';
import { CHECKS } from '../../src/allocation/checks.ts';
import { type Answer, explain } from '../../src/allocation/decide.ts';
import type { Decision, Snapshot } from '../../src/allocation/types.ts';

/** What must hold of the explanation of any decision. */
export function explainsItself(expect: ExpectStatic): (snapshot: Snapshot, decision: Decision) => void {
  return (snapshot, decision) => {
    const { decision: again, answers } = explain(snapshot);
    expect(again).toEqual(decision);
    expect(Object.keys(CHECKS)).toEqual(expect.arrayContaining(answers.map(({ check }) => check)));
    // One after the other until one answers: about the Service, then about each range.
    const about = (range: string | undefined): Answer[] => answers.filter((answer) => answer.range === range);
    for (const range of new Set(answers.map((answer) => answer.range))) {
      const silent = about(range).findIndex(({ answer }) => answer !== undefined);
      expect([-1, about(range).length - 1]).toContain(silent);
    }
    const first = answers.find(({ answer }) => answer !== undefined);
    if (decision.do === 'refuse') {
      expect(first?.check).toBe(decision.check);
      const verdict = first?.answer !== undefined && 'do' in first.answer ? decision.verdict : first?.answer;
      expect(verdict?.reason).toBe(decision.verdict.reason);
    } else {
      const decided = answers.filter(({ answer }) => answer !== undefined && 'do' in answer);
      expect(decided.map(({ answer }) => answer)).toContainEqual(decision);
      expect(decided.at(-1)?.check).toBe(decision.check);
    }
  };
}
