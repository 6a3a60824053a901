/** What each alert does, judged by promtool on the rules that are shipped. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ruleFile } from '../../monitoring/rules.ts';
import { run } from '../cluster/run.ts';
import { obtainPrometheus } from './obtain.ts';
import { expectAlert, type InputSeries, looked, P, range } from './promtool.ts';

const RULES = join(import.meta.dirname, '../../config/prometheus/rules.yaml');

test('the rules are well-formed', async () => {
  const { promtool } = await obtainPrometheus();
  const said = await run(promtool, ['check', 'rules', RULES]);
  expect(said).toMatch(/SUCCESS: \d+ rules found/);
});

/** A leader that knows what is held. */
const counts = { [`${P}active_conflicts{kind="duplicate",instance="a",job="j"}`]: '0x3000' };

describe('usage', () => {
  const labels = { range: 'team-a' };

  test.each([
    ['NodePortRangeFillingUp', 0.75, 25, '15m', '75%'],
    ['NodePortRangeNearlyFull', 0.85, 15, '10m', '85%'],
    ['NodePortRangeAlmostExhausted', 0.95, 5, '5m', '95%'],
  ])('%s from %d on, after it has held', async (alert, ratio, free, holds, percent) => {
    const series = range('team-a', 100, `${free}x60`, `${ratio}x60`);
    const description = `PortRange team-a has used ${percent} of its 100 node ports; ${free} are free.`;
    await expectAlert(alert, { series, at: holds, fires: [{ labels, description }] });
    const early = `${Number.parseInt(holds, 10) - 1}m`;
    await expectAlert(alert, { series, at: early, fires: [] });
    const below = range('team-a', 100, `${free + 1}x60`, `${ratio - 0.01}x60`);
    await expectAlert(alert, { series: below, at: '50m', fires: [] });
  });

  test('NodePortRangeFillingUp resolves when ports are released', async () => {
    const series = range('team-a', 100, '20x30 60x30', '0.8x30 0.4x30');
    const description = 'PortRange team-a has used 80% of its 100 node ports; 20 are free.';
    await expectAlert('NodePortRangeFillingUp', { series, at: '29m', fires: [{ labels, description }] });
    await expectAlert('NodePortRangeFillingUp', { series, at: '32m', fires: [] });
  });

  test('two instances of the controller are one alert', async () => {
    const one = range('team-a', 100, '20x60', '0.8x60');
    const both = Object.entries(one).map(([name, values]) => [name.replace('"a"', '"b"'), values]);
    const description = 'PortRange team-a has used 80% of its 100 node ports; 20 are free.';
    await expectAlert('NodePortRangeFillingUp', {
      series: { ...one, ...Object.fromEntries(both) },
      at: '20m',
      fires: [{ labels, description }],
    });
  });

  test('NodePortRangeExhausted when no port is free, with who has them', async () => {
    const series = {
      ...range('team-a', 10, '1x5 0x60', '0.9x5 1x60'),
      [`${P}range_allocated_ports{range="team-a",instance="a",job="j"}`]: '7x60',
      [`${P}range_foreign_ports{range="team-a",instance="a",job="j"}`]: '2x60',
      [`${P}range_cooling_down_ports{range="team-a",instance="a",job="j"}`]: '1x60',
    };
    const description =
      'None of the 10 node ports of PortRange team-a is free: its Services hold 7, others hold 2, 1 are cooling down.';
    await expectAlert('NodePortRangeExhausted', { series, at: '7m', fires: [] });
    await expectAlert('NodePortRangeExhausted', { series, at: '9m', fires: [{ labels, description }] });
  });

  test.each(['NodePortRangeFillingUp', 'NodePortRangeNearlyFull', 'NodePortRangeExhausted'])(
    '%s stays quiet for a small range that goes from one used port of three to two',
    async (alert) => {
      const series = range('tiny', 3, '2x30 1x60', '0.333x30 0.667x60');
      await expectAlert(alert, { series, at: '80m', fires: [] });
    },
  );

  test('NodePortRangeExhausted: where ports are free by number only, when somebody waits', async () => {
    const explicit = { [`${P}range_explicit_only_free_ports{range="team-a",instance="a",job="j"}`]: '4x60' };
    const series = { ...range('team-a', 10, '0x60', '0.6x60'), ...explicit, ...counts };
    await expectAlert('NodePortRangeExhausted', { series, at: '30m', fires: [] });
    const waits = { [`${P}pending_services{range="team-a",reason="RangeExhausted"}`]: '_x20 1x40' };
    const description =
      'None of the 10 node ports of PortRange team-a is free: its Services hold 10, others hold 0, 0 are cooling down.';
    const fires = [{ labels, description }];
    await expectAlert('NodePortRangeExhausted', { series: { ...series, ...waits }, at: '20m', fires: [] });
    await expectAlert('NodePortRangeExhausted', { series: { ...series, ...waits }, at: '24m', fires });
  });

  test('NodePortRangeExhausted stays quiet over a deploy that takes the last port for a moment', async () => {
    const series = range('team-a', 10, '2x10 0x1 2x30', '0.8x10 1x1 0.8x30');
    await expectAlert('NodePortRangeExhausted', { series, at: '12m', fires: [] });
    await expectAlert('NodePortRangeExhausted', { series, at: '14m', fires: [] });
  });
});

describe('an admin', () => {
  const alert = 'NodePortRangeNearlyFull';
  const at = '20m';
  const series = { ...range('scratch', 100, '12x60', '0.88x60'), ...range('team-a', 100, '10x60', '0.9x60') };
  const firing = (name: string, percent: string, free: number) => ({
    labels: { range: name },
    description: `PortRange ${name} has used ${percent} of its 100 node ports; ${free} are free.`,
  });
  const scratch = firing('scratch', '88%', 12);
  const teamA = firing('team-a', '90%', 10);

  test('raises a threshold', async () => {
    await expectAlert(alert, { series, at, fires: [scratch, teamA] });
    const adjusted = { NodePortRangeNearlyFull: 'vector(0.89)' };
    await expectAlert(alert, { series, at, adjusted, fires: [teamA] });
  });

  test('leaves out a range', async () => {
    const expr = 'max by (cluster, range) (nodeport_manager_range_capacity_ports{range=~"scratch|test-.*"})';
    await expectAlert(alert, {
      series,
      at,
      adjusted: { 'nodeport_manager:excluded_range': expr },
      fires: [teamA],
    });
  });
});

describe('NodePortServicesPending', () => {
  const alert = 'NodePortServicesPending';
  const pending = (range: string, reason: string) =>
    `${P}pending_services{range="${range}",reason="${reason}"}`;

  test('fires after 10 minutes, for each range and reason', async () => {
    const series = {
      [pending('team-a', 'RangeExhausted')]: '3x30',
      [pending('', 'RangeNotFound')]: '0x5 1x30',
    };
    const exhausted = {
      labels: { range: 'team-a', reason: 'RangeExhausted' },
      description:
        'Services that wait for node ports of PortRange team-a with the reason RangeExhausted: 3. For 10 minutes there was always one.',
    };
    const notFound = {
      labels: { reason: 'RangeNotFound' },
      description:
        'Services that wait for node ports with the reason RangeNotFound: 1. For 10 minutes there was always one.',
    };
    await expectAlert(alert, { series, at: '9m', fires: [] });
    await expectAlert(alert, { series, at: '12m', fires: [exhausted] });
    await expectAlert(alert, { series, at: '20m', fires: [exhausted, notFound] });
  });

  test('stays quiet for a deploy whose Services wait for a moment', () => {
    const series = { [pending('team-a', 'RangeExhausted')]: '0x5 12x6 stale', ...counts };
    return expectAlert(alert, { series, at: '16m', fires: [] });
  });
});

describe('conflicts', () => {
  const active = (kind: string) => `${P}active_conflicts{kind="${kind}"}`;

  test('NodePortConflicts fires after half an hour, for each kind', async () => {
    const series = { [active('foreign_in_range')]: '2x90', [active('range_overlap')]: '0x60 1x30' };
    const description = 'Conflicts of the kind foreign_in_range: 2. For 30 minutes there was always one.';
    const fires = [{ labels: { kind: 'foreign_in_range' }, description }];
    await expectAlert('NodePortConflicts', { series, at: '29m', fires: [] });
    await expectAlert('NodePortConflicts', { series, at: '75m', fires });
  });

  test('NodePortConflicts leaves to others what has an alert of its own', () => {
    const kinds = ['port_taken', 'table_drift', 'duplicate'];
    const series = Object.fromEntries(kinds.map((kind) => [active(kind), '1x90']));
    return expectAlert('NodePortConflicts', { series, at: '60m', fires: [] });
  });

  test('NodePortDuplicate fires after a minute', async () => {
    const series = { [active('duplicate')]: '0x5 1x30' };
    const description = 'Node ports that more than one Service has: 1. Traffic may reach the wrong one.';
    await expectAlert('NodePortDuplicate', { series, at: '5m', fires: [] });
    await expectAlert('NodePortDuplicate', { series, at: '8m', fires: [{ description }] });
  });
});

describe('the table', () => {
  const heals = (kind: string, instance = 'a') =>
    `${P}table_heals_total{kind="${kind}",instance="${instance}"}`;

  test('NodePortTableDrift stays quiet for one edit by hand, and for a restart', async () => {
    const series = { [heals('edited')]: '0x10 1x20 stale', [heals('edited', 'b')]: '_x32 0x60' };
    for (const at of ['15m', '30m', '40m', '70m'])
      await expectAlert('NodePortTableDrift', { series, at, fires: [] });
  });

  test('NodePortTableDrift fires when something edits it again and again', () => {
    const series = { [heals('edited')]: '0+1x60', [heals('deleted')]: '0x60' };
    const description =
      'Something edits or deletes the allocation table again and again, or blocks of it could not be mended for 10 minutes: 60 times in the last hour, or blocks.';
    return expectAlert('NodePortTableDrift', { series, at: '60m', fires: [{ description }] });
  });

  test('NodePortTableDrift fires when a block cannot be mended', () => {
    const series = { [`${P}active_conflicts{kind="table_drift"}`]: '0x5 1x60', [heals('edited')]: '0x60' };
    const description =
      'Something edits or deletes the allocation table again and again, or blocks of it could not be mended for 10 minutes: 1 times in the last hour, or blocks.';
    return expectAlert('NodePortTableDrift', { series, at: '20m', fires: [{ description }] });
  });

  const corrupt =
    'Blocks of the allocation table that could not be read in the last hour: 1. They were rebuilt; what was in them is kept in ConfigMaps nodeport-table-…-corrupt-….';

  test('NodePortTableCorrupt fires at once, for an hour', async () => {
    const series = { [heals('corrupt')]: '0x90 1x120' };
    await expectAlert('NodePortTableCorrupt', { series, at: '89m', fires: [] });
    await expectAlert('NodePortTableCorrupt', {
      series,
      at: '125m',
      fires: [{ description: corrupt }],
    });
    await expectAlert('NodePortTableCorrupt', { series, at: '160m', fires: [] });
  });

  test('NodePortTableCorrupt fires for a block that was found at start, before the first scrape', async () => {
    const series = { [heals('corrupt')]: '0x30 stale', [heals('corrupt', 'b')]: '_x32 1x120' };
    await expectAlert('NodePortTableCorrupt', { series, at: '33m', fires: [{ description: corrupt }] });
    await expectAlert('NodePortTableCorrupt', { series, at: '100m', fires: [] });
  });

  test('NodePortTableCorrupt stays quiet over a restart', () => {
    const series = { [heals('corrupt')]: '0x30 stale', [heals('corrupt', 'b')]: '_x32 0x120' };
    return expectAlert('NodePortTableCorrupt', { series, at: '35m', fires: [] });
  });
});

describe('the controller', () => {
  const sync = (instance: string) => `${P}last_sync_timestamp_seconds{instance="${instance}",job="j"}`;

  test('NodePortControllerDown stays quiet over a restart, and fires when none is seen for 5 minutes', async () => {
    const series = { [sync('a')]: '1x10 stale', [sync('b')]: '_x13 1x10 stale' };
    const description =
      'For 5 minutes no metrics of nodeport-manager were seen. Node ports work, but new Services wait.';
    for (const at of ['12m', '20m', '28m'])
      await expectAlert('NodePortControllerDown', { series, at, fires: [] });
    await expectAlert('NodePortControllerDown', { series, at: '30m', fires: [{ description }] });
  });

  test('NodePortControllerDown tells which of several clusters has none', async () => {
    const of = (cluster: string) => `${P}last_sync_timestamp_seconds{cluster="${cluster}",instance="a"}`;
    const series = { [of('east')]: '1x10 stale', [of('west')]: '1x60' };
    const description =
      'For 5 minutes no metrics of nodeport-manager were seen in the cluster east. Node ports work, but new Services wait.';
    const fires = [{ labels: { cluster: 'east' }, description }];
    await expectAlert('NodePortControllerDown', { series, at: '14m', fires: [] });
    await expectAlert('NodePortControllerDown', { series, at: '17m', fires });
  });

  test('NodePortControllerDown fires where none was ever seen, and for longer than a day', async () => {
    const description =
      'For 5 minutes no metrics of nodeport-manager were seen. Node ports work, but new Services wait.';
    const series = { [sync('a')]: '1x3 stale' };
    await expectAlert('NodePortControllerDown', { series: {}, at: '10m', fires: [{ description }] });
    const at = ['20h', '24h', '24h10m', '40h'];
    await expectAlert('NodePortControllerDown', { series, step: '5m', at, fires: [{ description }] });
  });

  const leads = (instance: string) =>
    `leader_election_master_status{name="nodeport-manager",namespace="n",instance="${instance}"}`;

  test('NodePortNoLeader fires when instances run and none leads', async () => {
    const series = { [leads('a')]: '1x5 0x20', [leads('b')]: '0x25' };
    const description = 'Instances of nodeport-manager run, and none has the lease: new Services wait.';
    await expectAlert('NodePortNoLeader', { series, at: '5m', fires: [] });
    await expectAlert('NodePortNoLeader', {
      series,
      at: '9m',
      fires: [{ labels: { namespace: 'n' }, description }],
    });
  });

  test('NodePortNoLeader stays quiet when the other one takes over', () => {
    const series = { [leads('a')]: '1x5 stale', [leads('b')]: '0x6 1x20' };
    return expectAlert('NodePortNoLeader', { series, at: '9m', fires: [] });
  });

  test('NodePortNoLeader looks at no other controller', () => {
    const series = { 'leader_election_master_status{name="another"}': '0x20' };
    return expectAlert('NodePortNoLeader', { series, at: '15m', fires: [] });
  });

  test('NodePortControllerStalled fires when nothing was looked at for half an hour', async () => {
    const series = { [sync('a')]: '60x90' };
    const description = 'nodeport-manager last looked at everything 37m 0s ago.';
    await expectAlert('NodePortControllerStalled', { series, at: '35m', fires: [] });
    await expectAlert('NodePortControllerStalled', { series, at: '38m', fires: [{ description }] });
  });

  test('NodePortControllerStalled stays quiet while it is looked at, and while another instance waits', () => {
    const series = { [sync('a')]: '0+60x90', [sync('b')]: '0x90' };
    return expectAlert('NodePortControllerStalled', { series, at: '80m', fires: [] });
  });

  test('NodePortControllerStalled leaves it to NodePortNoLeader when all stand by', async () => {
    const stands = `leader_election_master_status{name="nodeport-manager",instance="a",job="j"}`;
    const series = { [sync('a')]: '0x60', [stands]: '0x60' };
    await expectAlert('NodePortControllerStalled', { series, at: '50m', fires: [] });
    // Of who leads, it does speak. (The clock of promtool begins at 0.)
    const description = 'nodeport-manager last looked at everything 40m 0s ago.';
    const leading = { ...series, [stands]: '1x60' };
    await expectAlert('NodePortControllerStalled', { series: leading, at: '40m', fires: [{ description }] });
  });

  const silence = `${P}cache_silence_seconds{name="services",instance="a",namespace="n"}`;

  test('NodePortCacheStale fires when the apiserver is silent', async () => {
    const series = { [silence]: '20x5 60+60x20' };
    const description =
      'For 6m 0s the apiserver has said nothing about services: what the controller knows may be out of date.';
    const fires = [{ labels: { name: 'services', namespace: 'n' }, description }];
    await expectAlert('NodePortCacheStale', { series, at: '9m', fires: [] });
    await expectAlert('NodePortCacheStale', { series, at: '11m', fires });
  });

  test('NodePortCacheStale stays quiet with a bookmark each minute, and over a restart', () =>
    expectAlert('NodePortCacheStale', {
      series: { [silence]: '10 55 70 20 150x1 stale _x3 0x20' },
      at: '20m',
      fires: [],
    }));
});

describe('NodePortWritesFailing', () => {
  const alert = 'NodePortWritesFailing';
  const ours = { [`${P}last_sync_timestamp_seconds{instance="a",job="j"}`]: '1x60' };
  const requests = (method: string, code: string, job = 'j') =>
    `rest_client_requests_total{method="${method}",code="${code}",host="h",instance="a",job="${job}"}`;

  test('fires when writes keep failing', async () => {
    const series = {
      ...ours,
      [requests('PATCH', '403')]: '0x5 0+2x50',
      [requests('PATCH', '<error>')]: '0x60',
    };
    const description =
      'Writes of nodeport-manager that failed in the last 10 minutes: 20, and that for 15 minutes.';
    await expectAlert(alert, { series, at: '15m', fires: [] });
    await expectAlert(alert, { series, at: '40m', fires: [{ description }] });
  });

  test('stays quiet for a burst while the apiserver restarts', () => {
    const series = {
      ...ours,
      [requests('PUT', '503')]: '0x10 80x50',
      [requests('PATCH', '<error>')]: '0x10 20x50',
    };
    return expectAlert(alert, { series, at: '21m', fires: [] });
  });

  test('stays quiet for reads, for answers that are dealt with, and for other controllers', () => {
    const series = {
      ...ours,
      [requests('GET', '500')]: '0+9x60',
      [requests('PATCH', '409')]: '0+9x60',
      [requests('PATCH', '422')]: '0+9x60',
      [requests('PATCH', '200')]: '0+9x60',
      [requests('PATCH', '500', 'another')]: '0+9x60',
    };
    return expectAlert(alert, { series, at: '50m', fires: [] });
  });
});

describe('NodePortSpaceNearlyFull', () => {
  const alert = 'NodePortSpaceNearlyFull';
  const description = "85% of the apiserver's node port range is used, in all PortRanges and beside them.";

  test('fires on what we count', async () => {
    const size = { [`${P}node_port_range_ports{instance="a",job="j"}`]: '2000x30' };
    const used = `${P}node_port_range_used_ports{instance="a",job="j"}`;
    await expectAlert(alert, { series: { ...size, [used]: '1699x30' }, at: '20m', fires: [] });
    await expectAlert(alert, { series: { ...size, [used]: '1700x30' }, at: '20m', fires: [{ description }] });
  });

  test('fires on what the apiserver counts', async () => {
    const native = (metric: string) =>
      `kube_apiserver_nodeport_allocator_${metric}{instance="k",job="apiserver"}`;
    const of = (allocated: number, available: number): InputSeries => ({
      [native('allocated_ports')]: `${allocated}x30`,
      [native('available_ports')]: `${available}x30`,
    });
    await expectAlert(alert, { series: of(1700, 300), at: '9m', fires: [] });
    await expectAlert(alert, { series: of(1700, 300), at: '10m', fires: [{ description }] });
    await expectAlert(alert, { series: of(1500, 500), at: '20m', fires: [] });
  });
});

/** In forecast.test.ts. */
const ELSEWHERE = 'NodePortRangeExhaustionForecast';

test('every alert was seen firing and seen quiet above', () => {
  const names = ruleFile().groups.flatMap(({ rules }) => rules.flatMap(({ alert = ELSEWHERE }) => alert));
  const here = [...new Set(names)].filter((name) => name !== ELSEWHERE).toSorted();
  expect([...looked.fires].toSorted()).toEqual(here);
  expect([...looked.quiet].toSorted()).toEqual(here);
});
