/** Words in a condition's message that are read back: users are told them, and so is the next decision. */

/** Ends the message of a Service whose number a default found and left where it was. */
export const THERE_FIRST = 'there before the default';

/** Ends the message of a Service that waits on numbers which the apiserver picked. */
export function temporarilyOn(numbers: Iterable<number>): string {
  return `temporarily on ${[...numbers].join(', ')}`;
}

export function isOnTemporary(message: string): boolean {
  return /; temporarily on [\d, ]+$/.test(message);
}
