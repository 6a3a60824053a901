/** The story that `make story` tells, an hour in half a minute, as the pictures show it. */
import { beforeAll, describe, expect, test } from 'vitest';
import { playStory, type Told } from '../../demo/story/play.ts';
import { clock } from '../../monitoring/picture/units.ts';

/** An hour in 30 s; a scrape each 250 ms. */
const SPEED = 120;

let told: Told;

beforeAll(async () => {
  const quiet = (): void => undefined;
  told = await playStory({ speed: SPEED, onProgress: quiet, onStep: quiet, onAlert: quiet });
}, 180_000);

/** The answers of the only query of a panel of the dashboard, by one of their labels. */
function shown(title: string, label: string): ReadonlyMap<string, readonly number[]> {
  const answers = told.drawn.find(({ panel }) => panel.title === title)?.answers[0] ?? [];
  return new Map(
    answers.map(({ labels, values }) => [labels[label] ?? '', values.map(([, value]) => value)] as const),
  );
}

/** The states that an alert went through. */
function states(name: string, about: string): string[] {
  return told.turns.filter((turn) => turn.name === name && turn.about === about).map(({ state }) => state);
}

describe('a range from half full to exhausted to relieved', () => {
  test('is seen in the panel of its usage', () => {
    const usage = shown('Usage over time', 'range').get('team-b') ?? [];
    expect(usage[0]).toBe(0.5);
    expect(Math.max(...usage)).toBe(1);
    expect(usage.at(-1)).toBe(0.65);
  });

  test.each([
    'NodePortRangeFillingUp',
    'NodePortRangeNearlyFull',
    'NodePortRangeAlmostExhausted',
    'NodePortRangeExhausted',
  ])('%s is pending, fires, and resolves when the range is grown', (name) => {
    expect(states(name, 'team-b').slice(-2)).toEqual(['firing', 'resolved']);
    const alerts = shown('Alerts', 'alertname').get(name) ?? [];
    expect([...new Set(alerts)]).toEqual([1, 2]);
  });

  test('who waited told why, and NodePortServicesPending fired', () => {
    expect([...shown('Services that wait, by reason', 'reason').keys()].toSorted()).toEqual([
      'PortTaken',
      'RangeExhausted',
      'RangeNotFound',
    ]);
    expect(states('NodePortServicesPending', 'team-b RangeExhausted').slice(-2)).toEqual([
      'firing',
      'resolved',
    ]);
  });

  test('no alert about another range fired', () => {
    const others = told.turns.filter(
      ({ name, about }) => name.startsWith('NodePortRange') && about !== 'team-b',
    );
    expect(others).toEqual([]);
  });
});

test("a rival's number is a conflict until it leaves, whoever leads: the alert fires once", () => {
  expect(states('NodePortConflicts', 'foreign_in_range')).toEqual(['pending', 'firing', 'resolved']);
});

test('the leader is killed, and another one takes over', () => {
  const leads = shown('Who leads', 'instance');
  expect([...leads.keys()].toSorted()).toEqual(['manager-1', 'manager-2', 'manager-3']);
  const [first, second] = [leads.get('manager-1') ?? [], leads.get('manager-2') ?? []];
  expect(new Set(first)).toEqual(new Set([1]));
  expect([...new Set(second)]).toEqual([0, 1]);
  expect(new Set(leads.get('manager-3'))).toEqual(new Set([0]));
});

test('every panel of the dashboard has data', () => {
  const empty = told.drawn.filter(({ answers }) => answers.every((answer) => answer.length === 0));
  expect(empty.map(({ panel }) => panel.title)).toEqual([]);
});

test('the moments are in order, an hour long', () => {
  const times = told.moments.map(({ at, text }) => `${clock(at)} ${text}`);
  expect(times).toEqual(times.toSorted());
  expect(told.moments.map(({ text }) => text)).toEqual([
    'a rival takes 30063',
    "team-b's range is full",
    'range grown',
    'leader killed',
    'rival leaves',
  ]);
});
