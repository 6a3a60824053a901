/** When a PortRange is told to run out, judged by promtool on the rules that are shipped. */
import { describe, expect, test } from 'vitest';
import { expectAlert, type InputSeries, looked, range } from './promtool.ts';

describe('NodePortRangeExhaustionForecast', () => {
  const alert = 'NodePortRangeExhaustionForecast';
  const step = '10m';
  const PER_DAY = 144;
  const DAYS = 4;

  /** A PortRange with so many free ports at each of the four days' hours (0, 0.5, 1 …). */
  function trend(capacity: number, freeAt: (hour: number) => number): InputSeries {
    const values = Array.from({ length: DAYS * PER_DAY }, (_, i) => freeAt((i * 24) / PER_DAY));
    return range('team-a', capacity, values.map(Math.round).join(' '), '0.5x600');
  }

  test('fires when the rate of a day takes what is left within four days', async () => {
    const series = trend(100, (hour) => 60 - hour / 2);
    const description =
      'At the rate of the last day, the 36 free node ports of PortRange team-a (of 100) are gone in 3d 0h 0m 0s.';
    const fires = [{ labels: { range: 'team-a' }, description }];
    await expectAlert(alert, { series, step, at: '48h', fires });
  });

  test('stays quiet while it lasts longer', () =>
    expectAlert(alert, { series: trend(100, (hour) => 80 - hour / 6), step, at: '48h', fires: [] }));

  test.each([6, 12, 24, 30])('stays quiet for a deploy that took half of what was free, %d h ago', (ago) =>
    expectAlert(alert, {
      series: trend(100, (hour) => (hour < 40 ? 40 : 20)),
      step,
      at: `${40 + ago}h`,
      fires: [],
    }),
  );

  test.each(['40h', '52h', '64h'])('stays quiet when the PortRange was cut in half, at %s', (at) =>
    expectAlert(alert, { series: trend(200, (hour) => (hour < 40 ? 120 : 20)), step, at, fires: [] }),
  );

  test('stays quiet for a small range that goes from one used port of three to two', async () => {
    const series = trend(3, (hour) => (hour < 44 ? 2 : 1));
    for (const at of ['45h', '48h', '56h', '60h']) await expectAlert(alert, { series, step, at, fires: [] });
  });

  test('stays quiet for a small range even if it keeps filling up', () =>
    expectAlert(alert, { series: trend(8, (hour) => 8 - hour / 8), step, at: '48h', fires: [] }));

  test('stays quiet for ports that come and go', () =>
    expectAlert(alert, {
      series: trend(100, (hour) => 30 + 20 * Math.sin(hour)),
      step,
      at: '50h',
      fires: [],
    }));

  test('stays quiet for a new range that is just being filled', () => {
    const free = Array.from({ length: 2 * PER_DAY }, (_, i) => (i < 60 ? '_' : `${100 - (i - 60)}`)).join(
      ' ',
    );
    return expectAlert(alert, { series: range('team-a', 100, free, '0.5x600'), step, at: '16h', fires: [] });
  });

  test('a restart of the controller neither breaks a trend nor makes one', async () => {
    const restart = (freeAt: (hour: number) => number): InputSeries => {
      const values = Array.from({ length: DAYS * PER_DAY }, (_, i) => Math.round(freeAt((i * 24) / PER_DAY)));
      const before = values.map((value, i) => (i < 250 ? value : i === 250 ? 'stale' : '_')).join(' ');
      const after = values.map((value, i) => (i < 252 ? '_' : value)).join(' ');
      const old = range('team-a', 100, before, '0.5x600');
      const [name] = Object.entries(old).find(([, values]) => values === before) ?? [''];
      return { ...old, [name.replace('"a"', '"b"')]: after };
    };
    const description =
      'At the rate of the last day, the 36 free node ports of PortRange team-a (of 100) are gone in 3d 0h 0m 0s.';
    const fires = [{ labels: { range: 'team-a' }, description }];
    await expectAlert(alert, { series: restart((hour) => 60 - hour / 2), step, at: '48h', fires });
    await expectAlert(alert, { series: restart(() => 30), step, at: '48h', fires: [] });
  });
});

test('it was seen firing and seen quiet above', () => {
  expect(looked).toEqual({
    fires: new Set(['NodePortRangeExhaustionForecast']),
    quiet: new Set(['NodePortRangeExhaustionForecast']),
  });
});
