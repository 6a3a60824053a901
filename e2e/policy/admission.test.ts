import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type LabelSelector, portRangePath, type PortRangeSpec } from '../../src/api/portRange.ts';
import { eventually } from '../support/eventually.ts';
import { expectAccepted, expectRefused, useWorld } from './world.ts';

const NUMBER = 30_150;
const ranges = [{ from: 30_100, to: 30_199 }];

/** Namespaces and Services with the same names and labels: both selectors are tried with all of them. */
const labelled = {
  plain: {},
  red: { team: 'red', tier: 'edge' },
  blue: { team: 'blue', 'example.com/tier': 'edge' },
} as const;
type Name = keyof typeof labelled;
const NAMES = Object.keys(labelled) as Name[];

const world = useWorld(async ({ namespace, install }) => {
  for (const [name, labels] of Object.entries(labelled)) await namespace(name, labels);
  await install('policy');
});

const team = () => world().as('team-c');

async function removeRanges(): Promise<void> {
  await world().kubectl('delete npr --ignore-not-found tried older younger');
  await world().settled();
}

async function admittedNamespaces(number = NUMBER): Promise<Name[]> {
  const admitted: Name[] = [];
  for (const name of NAMES) {
    const answer = await team().name(name, number);
    if (answer.status < 400) admitted.push(name);
    else expectRefused(answer, number, '[a-z]+');
  }
  return admitted;
}

const selectors: [title: string, selector: LabelSelector, matched: Name[]][] = [
  ['nothing: every one', {}, ['plain', 'red', 'blue']],
  ['matchLabels', { matchLabels: { team: 'red' } }, ['red']],
  ['matchLabels, all of them', { matchLabels: { team: 'red', tier: 'core' } }, []],
  ['a label with a prefix', { matchLabels: { 'example.com/tier': 'edge' } }, ['blue']],
  ['In', { matchExpressions: [{ key: 'team', operator: 'In', values: ['red', 'green'] }] }, ['red']],
  [
    'NotIn, also where the label is absent',
    { matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['red', 'green'] }] },
    ['plain', 'blue'],
  ],
  ['Exists', { matchExpressions: [{ key: 'team', operator: 'Exists' }] }, ['red', 'blue']],
  ['DoesNotExist', { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] }, ['plain']],
  [
    'matchExpressions, all of them',
    {
      matchExpressions: [
        { key: 'team', operator: 'Exists' },
        { key: 'tier', operator: 'DoesNotExist' },
      ],
    },
    ['blue'],
  ],
  [
    'matchLabels and matchExpressions, both',
    {
      matchLabels: { team: 'red' },
      matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['edge'] }],
    },
    [],
  ],
];

describe('A number may be named in a namespace', () => {
  afterEach(removeRanges);

  test.each(selectors)(
    'that the namespaceSelector matches: %s',
    async (_title, namespaceSelector, matched) => {
      await world().range('tried', { ranges, namespaceSelector });
      expect(await admittedNamespaces()).toEqual(matched);
    },
  );

  test.each<[title: string, spec: Omit<PortRangeSpec, 'ranges'>, admitted: Name[]]>([
    ['that is named', { namespaces: ['plain', 'red'] }, ['plain', 'red']],
    [
      'that is named or matched: either suffices',
      { namespaces: ['plain'], namespaceSelector: { matchLabels: { team: 'blue' } } },
      ['plain', 'blue'],
    ],
    ['whatever it is, where the PortRange says nothing of namespaces', {}, NAMES],
    ['that is named, also while the PortRange is paused', { namespaces: ['red'], paused: true }, ['red']],
  ])('%s', async (_title, spec, admitted) => {
    await world().range('tried', { ranges, ...spec });
    expect(await admittedNamespaces()).toEqual(admitted);
  });

  test('as long as it has the label; what is held then stays', async () => {
    await world().namespace('changing', { team: 'green' });
    await world().range('tried', { ranges, namespaceSelector: { matchLabels: { team: 'green' } } });
    const label = (team: string) =>
      world().admin.patch('/api/v1/namespaces/changing', 'merge', { metadata: { labels: { team } } });
    expectAccepted(await team().create('changing/web', [{ port: 80, nodePort: NUMBER }]));
    await label('grey');
    await eventually(async () =>
      expectRefused(await team().name('changing', NUMBER + 1), NUMBER + 1, 'tried'),
    );
    expectAccepted(await team().patch('changing/web', 'merge', { spec: { selector: { app: 'new' } } }));
    await label('green');
    await eventually(async () => expectAccepted(await team().name('changing', NUMBER + 1)));
    await world().remove('changing/web');
  });
});

describe('A number may be named by a Service', () => {
  afterEach(removeRanges);

  test.each(selectors)('that the serviceSelector matches: %s', async (_title, serviceSelector, matched) => {
    await world().range('tried', { ranges, serviceSelector });
    const admitted: Name[] = [];
    for (const name of NAMES) {
      const { status, message } = await team().name('default', NUMBER, labelled[name]);
      if (status < 400) admitted.push(name);
      else
        expect(message).toContain(
          `node port ${NUMBER} belongs to the PortRange tried, which does not admit Services with these labels:`,
        );
    }
    expect(admitted).toEqual(matched);
  });

  test('only in a namespace that is admitted, too; the message says which of the two it is', async () => {
    const serviceSelector = { matchLabels: { tier: 'edge' } };
    await world().range('tried', { ranges, namespaces: ['red'], serviceSelector });
    expectAccepted(await team().name('red', NUMBER, { tier: 'edge' }));
    expect((await team().name('red', NUMBER)).message).toContain('does not admit Services with these labels');
    expect((await team().name('blue', NUMBER, { tier: 'edge' })).message).toContain(
      'does not admit the namespace blue',
    );
  });

  test('that has the labels when it names it: it keeps the number when it loses them', async () => {
    await world().range('tried', { ranges, serviceSelector: { matchLabels: { tier: 'edge' } } });
    const labels = { tier: 'edge' };
    expectAccepted(await team().create('red/web', [{ port: 80, nodePort: NUMBER }], { labels }));
    expectAccepted(await team().patch('red/web', 'merge', { metadata: { labels: { tier: null } } }));
    const other = { spec: { ports: [{ port: 80, nodePort: NUMBER + 1 }] } };
    expectRefused(await team().patch('red/web', 'merge', other), NUMBER + 1, 'tried');
    await world().remove('red/web');
  });
});

describe('What is protected', () => {
  afterEach(removeRanges);

  test('is status.effective: with expansions, without excluded and what was lost to others', async () => {
    const excluded = [{ from: 30_120, to: 30_129 }];
    await world().range('tried', { ranges, excluded, namespaces: ['red'] }, [
      { from: 30_100, to: 30_119 },
      { from: 30_500, to: 30_500 },
    ]);
    expect(await admittedNamespaces(30_119)).toEqual(['red']);
    expect(await admittedNamespaces(30_500)).toEqual(['red']);
    expect(await admittedNamespaces(30_125), 'excluded').toEqual(NAMES);
    expect(await admittedNamespaces(30_130), 'not in effective').toEqual(NAMES);
  });

  test('is nothing where effective is empty', async () => {
    await world().range('tried', { ranges, namespaces: ['red'] }, []);
    expect(await admittedNamespaces()).toEqual(NAMES);
  });

  test('is what the PortRange declares, without excluded, until a controller has looked', async () => {
    const spec = {
      ranges: [...ranges, { from: 30_300 }],
      excluded: [{ from: 30_120, to: 30_129 }, { from: 30_131 }],
      namespaces: ['red'],
    };
    await world().range('tried', spec);
    const status = { observedGeneration: 1, capacity: 0 };
    for (const _ of ['no status', 'a status without effective']) {
      for (const number of [30_100, 30_130, 30_199, 30_300])
        expect(await admittedNamespaces(number), `${number}`).toEqual(['red']);
      for (const number of [30_120, 30_129, 30_131, 30_301])
        expect(await admittedNamespaces(number), `${number}`).toEqual(NAMES);
      await world().admin.patch(`${portRangePath}/tried/status`, 'merge', { status });
      await world().settled();
    }
  });

  test('follows an edit of the PortRange, and ends with it', async () => {
    await world().range('tried', { ranges, namespaces: ['red'] });
    expect(await admittedNamespaces()).toEqual(['red']);
    await world().admin.patch(`${portRangePath}/tried`, 'merge', { spec: { namespaces: ['blue'] } });
    await world().settled();
    expect(await admittedNamespaces()).toEqual(['blue']);
    await world().removeRange('tried');
    expect(await admittedNamespaces()).toEqual(NAMES);
  });
});

describe('Where two PortRanges overlap', () => {
  beforeEach(() => world().range('older', { ranges, namespaces: ['red'] }));
  afterEach(removeRanges);

  const younger: PortRangeSpec = { ranges: [{ from: 30_150, to: 30_250 }], namespaces: ['blue'] };

  test('the older one decides, because the status of the younger leaves the shared numbers out', async () => {
    await world().admin.patch(`${portRangePath}/older/status`, 'merge', { status: { effective: ranges } });
    await world().range('younger', younger, [{ from: 30_200, to: 30_250 }]);
    expect(await admittedNamespaces(30_160)).toEqual(['red']);
    expect(await admittedNamespaces(30_240)).toEqual(['blue']);
  });

  test('both must admit the Service until a controller has looked', async () => {
    await world().range('younger', younger);
    expect(await admittedNamespaces(30_160)).toEqual([]);
    expect(await admittedNamespaces(30_110)).toEqual(['red']);
    expect(await admittedNamespaces(30_240)).toEqual(['blue']);
  });
});

test('No decision so far has ended in an error', async () => {
  expect(await world().errors()).toEqual([]);
});
