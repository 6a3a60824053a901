import { expect, test } from 'vitest';
import type { PortRange } from '../support/objects.ts';
import { differences, type State, stateOf } from './state.ts';

/** Of a cluster in which there is one PortRange with this status. */
function state(status: Record<string, unknown>, mayLinger?: boolean): State {
  const range = { metadata: { name: 'team-a' }, spec: { ranges: [] }, status } as unknown as PortRange;
  return stateOf({ services: () => [], table: () => new Map(), ranges: () => [range] }, mayLinger);
}

const KNOWN = { allocated: 9, explicitOnlyFree: 0, foreign: 3, free: 2, usedPercent: 90 };
const UNKNOWN = { ...KNOWN, foreign: 1, free: 4, usedPercent: 80 };

test('what the apiserver keeps though nobody has it counts as free where that may be, and nowhere else', () => {
  expect(differences(state(KNOWN, true), state(UNKNOWN, true))).toEqual([]);
  expect(differences(state(KNOWN), state(UNKNOWN))).toHaveLength(2);
});

test('a number that is lost, and one that is somebody’s, make a difference there, too', () => {
  for (const change of [{ free: 3 }, { allocated: 8, free: 5 }])
    expect(differences(state(KNOWN, true), state({ ...UNKNOWN, ...change }, true))).toHaveLength(2);
});
