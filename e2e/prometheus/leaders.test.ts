/** What alerts do while nobody counts, judged by promtool on the rules that are shipped. */
import { describe, test } from 'vitest';
import { expectAlert, type InputSeries, P, range } from './promtool.ts';

describe('a change of leaders', () => {
  // The one dies after the tenth minute; the other one counts from the thirteenth on.
  const GAP = '1x10 stale';
  const of = (instance: string, metric: string, labels: string): string =>
    `${P}${metric}{${labels}instance="${instance}",job="j"}`;
  const replaced = (metric: string, labels: string, value: number): InputSeries => ({
    [of('a', metric, labels)]: GAP.replace('1x', `${value}x`),
    [of('b', metric, labels)]: `_x13 ${value}x60`,
  });
  const COUNTING = 'kind="range_overlap",';
  const leaders = replaced('active_conflicts', COUNTING, 0);
  const ofTeamA = 'range="team-a",';
  const full = {
    ...leaders,
    ...replaced('range_capacity_ports', ofTeamA, 10),
    ...replaced('range_usage_ratio', ofTeamA, 1),
    ...replaced('range_free_ports', ofTeamA, 0),
    ...replaced('range_allocated_ports', ofTeamA, 9),
    ...replaced('range_foreign_ports', ofTeamA, 1),
    ...replaced('range_cooling_down_ports', ofTeamA, 0),
  };
  const exhausted =
    'None of the 10 node ports of PortRange team-a is free: its Services hold 9, others hold 1, 0 are cooling down.';
  const used = 'PortRange team-a has used 100% of its 10 node ports; 0 are free.';
  const labels = { range: 'team-a' };

  test.each([
    ['NodePortRangeExhausted', full, '2m', { labels, description: exhausted }],
    ['NodePortRangeAlmostExhausted', full, '5m', { labels, description: used }],
    ['NodePortRangeNearlyFull', full, '10m', { labels, description: used }],
    ['NodePortRangeFillingUp', full, '15m', { labels, description: used }],
    [
      'NodePortServicesPending',
      { ...leaders, ...replaced('pending_services', 'range="team-a",reason="RangeExhausted",', 3) },
      '10m',
      {
        labels: { range: 'team-a', reason: 'RangeExhausted' },
        description:
          'Services that wait for node ports of PortRange team-a with the reason RangeExhausted: 3. For 10 minutes there was always one.',
      },
    ],
    [
      'NodePortConflicts',
      { ...leaders, ...replaced('active_conflicts', 'kind="foreign_in_range",', 2) },
      '30m',
      {
        labels: { kind: 'foreign_in_range' },
        description: 'Conflicts of the kind foreign_in_range: 2. For 30 minutes there was always one.',
      },
    ],
    [
      'NodePortDuplicate',
      { ...leaders, ...replaced('active_conflicts', 'kind="duplicate",', 1) },
      '1m',
      { description: 'Node ports that more than one Service has: 1. Traffic may reach the wrong one.' },
    ],
    [
      'NodePortSpaceNearlyFull',
      {
        ...leaders,
        ...replaced('node_port_range_ports', '', 100),
        ...replaced('node_port_range_used_ports', '', 90),
      },
      '10m',
      { description: "90% of the apiserver's node port range is used, in all PortRanges and beside them." },
    ],
  ])('neither resolves %s nor begins its time anew', async (alert, series, holds, firing) => {
    const since = Number.parseInt(holds, 10);
    const at = [since, 10, 11, 12, 13, 14, 40]
      .filter((minute) => minute >= since)
      .map((minute) => `${minute}m`);
    await expectAlert(alert, { series, at, fires: [firing] });
  });

  test('what was over before it does not come back', () => {
    const over = { [of('a', 'active_conflicts', 'kind="duplicate",')]: '0x3 1x4 stale' };
    const series = { ...leaders, ...over };
    return expectAlert('NodePortDuplicate', { series, at: ['9m', '11m', '12m', '13m'], fires: [] });
  });

  test('what nobody counts any more is held for ten minutes', async () => {
    const series = Object.fromEntries(Object.entries(full).filter(([name]) => name.includes('"a",job')));
    const alert = 'NodePortRangeExhausted';
    await expectAlert(alert, { series, at: '19m', fires: [{ labels, description: exhausted }] });
    await expectAlert(alert, { series, at: '22m', fires: [] });
  });

  test('a range that is left out is left out then, too', () => {
    const adjusted = {
      'nodeport_manager:excluded_range': `max by (cluster, range) (${P}range_capacity_ports{range="team-a"})`,
    };
    return expectAlert('NodePortRangeExhausted', { series: full, at: '12m', adjusted, fires: [] });
  });

  test('a PortRange that is deleted takes its alert with it', async () => {
    const counts = { [of('a', 'active_conflicts', COUNTING)]: '0x60' };
    const series = { ...range('team-a', 10, '0x10 stale', '1x10 stale'), ...counts };
    const description =
      'None of the 10 node ports of PortRange team-a is free: its Services hold 10, others hold 0, 0 are cooling down.';
    await expectAlert('NodePortRangeExhausted', { series, at: '10m', fires: [{ labels, description }] });
    await expectAlert('NodePortRangeExhausted', { series, at: '11m', fires: [] });
  });
});
