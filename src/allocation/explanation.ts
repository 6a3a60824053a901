import type { Answer } from './decide.ts';

/** An explanation in words, one line for each check that was asked. */
export function wordsOf(answers: readonly Answer[]): string[] {
  return answers.map(({ check, range, answer }) => {
    const who = range === undefined ? check : `${range}: ${check}`;
    if (answer === undefined) return `${who} passed`;
    if (!('do' in answer)) return `${who} objected ${answer.reason}: ${answer.message}`;
    return `${who} decided ${answer.do}${detailOf(answer)}`;
  });
}

function detailOf(decision: Extract<NonNullable<Answer['answer']>, { do: string }>): string {
  if (decision.do === 'ignore' || decision.do === 'defer') return '';
  if (decision.do === 'refuse') return ` ${decision.verdict.reason}: ${decision.verdict.message}`;
  return ` ${decision.grants.map(({ number }) => number).join(', ')}`;
}
