import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { ActiveAlert, PrometheusServer } from './server.ts';

/** Waits until exactly these alerts fire, by name and given labels, and returns them. */
export function untilFiring(
  server: PrometheusServer,
  expected: readonly Readonly<Record<string, string>>[],
): Promise<ActiveAlert[]> {
  return eventually(async () => {
    const firing = (await server.alerts()).filter(({ state }) => state === 'firing');
    const byName = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>) =>
      `${a['alertname']}${a['range']}` < `${b['alertname']}${b['range']}` ? -1 : 1;
    const labels = firing.map(({ labels }) => labels).toSorted(byName);
    expect(labels).toEqual(expected.toSorted(byName).map((wanted) => expect.objectContaining(wanted)));
    return firing;
  });
}
