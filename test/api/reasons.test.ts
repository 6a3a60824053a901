import { describe, expect, test } from 'vitest';
import { isReason, REASONS } from '../../src/api/reasons.ts';

describe('the table of reasons', () => {
  test('has each reason under the status that users rely on', () => {
    const byStatus = Object.groupBy(Object.entries(REASONS), ([, { status }]) => status);
    const names = (rows: [string, unknown][] = []): string[] => rows.map(([name]) => name).toSorted();
    expect(names(byStatus.True)).toEqual(['Adopted', 'Assigned', 'HeldOutOfRange']);
    expect(names(byStatus.Unknown)).toEqual(['Pending']);
    expect(names(byStatus.False)).toEqual([
      'InvalidRequest',
      'NoNodePorts',
      'NotAdmitted',
      'PortExcluded',
      'PortTaken',
      'QuotaExceeded',
      'RangeExhausted',
      'RangeNotFound',
      'RangePaused',
      'RefusedByApiserver',
      'RequestOutOfRange',
    ]);
  });

  test('every reason is a name that a condition accepts, with a meaning and a remedy in whole sentences', () => {
    for (const [name, { meaning, remedy }] of Object.entries(REASONS)) {
      expect(name).toMatch(/^[A-Z][A-Za-z]+$/);
      expect(meaning).toMatch(/^[A-Z].*\.$/);
      expect(remedy).toMatch(/^[A-Z].*\.$/);
    }
  });

  test('what every object has is not a reason', () => {
    expect(isReason('Assigned')).toBe(true);
    expect(isReason('constructor')).toBe(false);
    expect(isReason('')).toBe(false);
  });
});
