import { describe, expect, test } from 'vitest';
import { judge, type Recorded } from './judge.ts';
import type { Entry, Metadata, RangeSpec, Service } from './objects.ts';

/** A history is written down with the resourceVersions 1, 2, 3 …; `ours` marks what the controller wrote. */
function verdictOn(...steps: { revision: Recorded; ours: boolean }[]): readonly string[] {
  for (const [i, { revision }] of steps.entries()) revision.object.metadata.resourceVersion = `${i + 1}`;
  const written = new Set(steps.filter(({ ours }) => ours).map(({ revision }) => revision));
  return judge(
    steps.map(({ revision }) => revision),
    (revision) => written.has(revision),
  );
}

const ours = (revision: Recorded) => ({ revision, ours: true });
const theirs = (revision: Recorded) => ({ revision, ours: false });

const metadata = (name: string, more: Partial<Metadata> = {}): Metadata => ({
  name,
  namespace: 'a',
  uid: name,
  resourceVersion: '',
  creationTimestamp: '',
  ...more,
});

interface Shown {
  message?: string;
  status?: string;
  range?: string | null;
  owner?: string;
  deleted?: boolean;
  labels?: Record<string, string>;
}

/** A Service of one port; by default it asks for the range `r`. */
function web(name: string, nodePort: number, shown: Shown = {}): Recorded {
  const { message, status = 'True', range = 'r', owner, deleted = false, labels = {} } = shown;
  const key = 'k:{"port":80,"protocol":"TCP"}';
  const fieldsV1 = { 'f:spec': { 'f:ports': { [key]: { 'f:nodePort': {} } } } };
  const object: Service = {
    metadata: metadata(name, {
      labels,
      annotations: range === null ? {} : { 'nodeport-manager.io/range': range },
      managedFields: owner === undefined ? [] : [{ manager: owner, fieldsV1 }],
    }),
    spec: { type: 'NodePort', ports: [{ port: 80, protocol: 'TCP', nodePort }] },
    status:
      message === undefined
        ? {}
        : {
            conditions: [
              {
                type: 'nodeport-manager.io/Allocated',
                status,
                reason: 'Assigned',
                message,
                lastTransitionTime: '',
              },
            ],
          },
  };
  return { kind: 'Service', object, deleted, at: 0 };
}

const range = (spec: RangeSpec, name = 'r'): Recorded => ({
  kind: 'PortRange',
  object: { metadata: { ...metadata(name), generation: 1 }, spec },
  deleted: false,
  at: 0,
});

/** The Namespace `a`, with or without a default. */
const namespace = (value?: string, labels: Record<string, string> = {}): Recorded => ({
  kind: 'Namespace',
  object: {
    metadata: metadata('a', {
      labels,
      annotations: value === undefined ? {} : { 'nodeport-manager.io/range': value },
    }),
  },
  deleted: false,
  at: 0,
});

const block = (data: Record<string, Partial<Entry> | string>): Recorded => ({
  kind: 'ConfigMap',
  object: {
    metadata: metadata('nodeport-table-30000'),
    data: Object.fromEntries(
      Object.entries(data).map(([key, entry]) => [
        key,
        typeof entry === 'string' ? entry : JSON.stringify(entry),
      ]),
    ),
  },
  deleted: false,
  at: 0,
});

const segment = theirs(range({ ranges: [{ from: 30100, to: 30109 }] }));
const holds = (number: number) => ({ message: `holds http ${number} from r` });

describe('the checker finds', () => {
  test('nothing wrong with a Service that is served, moves by its own wish and goes', () => {
    expect(
      verdictOn(
        segment,
        theirs(web('w', 31000)),
        ours(block({ 30100: { state: 'Held', uid: 'w' } })),
        ours(web('w', 30100)),
        ours(web('w', 30100, holds(30100))),
        theirs(range({ ranges: [{ from: 30200 }] }, 's')),
        theirs(web('w', 30100, { ...holds(30100), range: 's' })),
        ours(web('w', 30100, { message: 'moves from 30100', status: 'Unknown', range: 's' })),
        ours(web('w', 30200, { message: 'moves from 30100', status: 'Unknown', range: 's' })),
        ours(web('w', 30200, { message: 'holds http 30200 from s', range: 's' })),
        ours(block({ 30100: { state: 'Released', uid: 'w' } })),
        theirs(web('w', 30200, { deleted: true })),
        theirs(web('x', 30200)),
      ),
    ).toEqual([]);
  });

  test('a number put on a Service while another has it', () => {
    const both = 'Unique: 30100 is on a/w and on a/x (revision 3)';
    expect(verdictOn(theirs(web('w', 30100)), theirs(web('x', 1)), ours(web('x', 30100)))).toEqual([both]);
  });

  test('a promised number on another Service, whoever put it there, and no other', () => {
    const told = [segment, theirs(web('w', 30100)), ours(web('w', 30100, holds(30100)))];
    expect(verdictOn(...told, theirs(web('x', 30100)))).toEqual([
      'Unique: 30100 is on a/w and on a/x (revision 4)',
    ]);
    expect(verdictOn(theirs(web('w', 30100)), theirs(web('x', 30100)))).toEqual([]);
  });

  test('a told number taken away by the controller, and not by the team itself', () => {
    const told = [segment, theirs(web('w', 30100)), ours(web('w', 30100, holds(30100)))];
    expect(verdictOn(...told, theirs(web('w', 30105, holds(30100))))).toEqual([]);
    expect(verdictOn(...told, ours(web('w', 30105, holds(30100))))).toContain(
      'Sticky: a/w (revision 4) was told to hold 30100 and lost it',
    );
  });

  test('a told number taken away after a refusal had been shown', () => {
    expect(
      verdictOn(
        segment,
        theirs(web('w', 30100)),
        ours(web('w', 30100, holds(30100))),
        ours(web('w', 30100, { message: 'holds http 30100 from r; r is paused', status: 'False' })),
        ours(web('w', 30101, { message: '', status: 'False' })),
      ),
    ).toEqual(['Sticky: a/w (revision 5) was told to hold 30100 and lost it']);
  });

  test('a write to a Service that does not ask', () => {
    expect(
      verdictOn(theirs(web('w', 31000, { range: null })), ours(web('w', 30100, { range: null }))),
    ).toEqual(['No theft: a/w (revision 2) does not ask and was written']);
  });

  test('a condition on a Service that does not ask, but not its removal', () => {
    const silent = { range: null };
    expect(verdictOn(theirs(web('w', 1, silent)), ours(web('w', 1, { ...silent, message: '' })))).toEqual([
      'No theft: a/w (revision 2) does not ask and was written',
    ]);
    expect(verdictOn(theirs(web('w', 1, { ...silent, message: '' })), ours(web('w', 1, silent)))).toEqual([]);
  });

  test('a Service that no default reaches', () => {
    const silent = { range: null };
    const written = [theirs(web('w', 31000, silent)), ours(web('w', 30100, silent))];
    const violation = ['No theft: a/w (revision 3) does not ask and was written'];
    const automatic = { ranges: [{ from: 30100 }], assignment: 'Automatic' };
    expect(verdictOn(theirs(namespace('r')), ...written)).toEqual([]);
    expect(verdictOn(theirs(namespace()), ...written)).toEqual(violation);
    expect(verdictOn(theirs(namespace('none')), ...written)).toEqual(violation);
    expect(verdictOn(theirs(range(automatic)), ...written)).toEqual([]);
    expect(verdictOn(theirs(range({ ...automatic, namespaces: ['b'] })), ...written)).toEqual(violation);
    expect(
      verdictOn(
        theirs(namespace('r')),
        theirs(web('w', 31000, { range: 'none' })),
        ours(web('w', 30100, { range: 'none' })),
      ),
    ).toEqual(violation);
  });

  test('a number taken that another manager owns', () => {
    expect(verdictOn(theirs(web('w', 31000, { owner: 'helm' })), ours(web('w', 30100)))).toEqual([
      'No theft: helm owns 31000, which was taken from a/w (revision 2)',
    ]);
  });

  test('a promise of a number outside the range, excluded from it, or not on the Service', () => {
    expect(verdictOn(segment, ours(web('w', 30110, holds(30110))))).toEqual([
      'In segment: a/w (revision 2) is told to hold 30110 from r',
    ]);
    const excluding = theirs(range({ ranges: [{ from: 30100, to: 30109 }], excluded: [{ from: 30105 }] }));
    expect(verdictOn(excluding, ours(web('w', 30105, holds(30105))))).toHaveLength(1);
    expect(verdictOn(segment, ours(web('w', 31000, holds(30101))))).toEqual([
      'In segment: a/w (revision 2) is told to hold 30101, which it has not',
    ]);
  });

  describe('a number given by a range that does not admit the Service', () => {
    const spans = [{ from: 30100, to: 30109 }];
    const held = ours(block({ 30100: { state: 'Held', uid: 'w', range: 'r' } }));
    const given = (spec: RangeSpec, labels: Record<string, string> = {}, ofNamespace = labels) =>
      verdictOn(
        theirs(namespace(undefined, ofNamespace)),
        theirs(range(spec)),
        theirs(web('w', 1, { labels })),
        held,
      );
    const violation = ['In segment: 30100 was given to a/w (revision 3), which r does not take'];

    test('by the name of its Namespace, or that one’s labels', () => {
      const namespaceSelector = { matchLabels: { team: 'x' } };
      expect(given({ ranges: spans, namespaces: ['b'] })).toEqual(violation);
      expect(given({ ranges: spans, namespaces: ['a'] })).toEqual([]);
      expect(given({ ranges: spans, namespaces: ['b'], namespaceSelector })).toEqual(violation);
      expect(given({ ranges: spans, namespaces: ['b'], namespaceSelector }, { team: 'x' })).toEqual([]);
    });

    test('by its labels, whatever its Namespace is', () => {
      const among = (operator: string) => ({
        ranges: spans,
        namespaces: ['a'],
        serviceSelector: { matchExpressions: [{ key: 'tier', operator, values: ['web'] }] },
      });
      for (const operator of ['In', 'Exists']) {
        expect(given(among(operator), {}, { tier: 'web' })).toEqual(violation);
        expect(given(among(operator), { tier: 'web' })).toEqual([]);
      }
      for (const operator of ['NotIn', 'DoesNotExist']) {
        expect(given(among(operator))).toEqual([]);
        expect(given(among(operator), { tier: 'web' })).toEqual(violation);
      }
    });

    test('or that takes nobody new; but not what its holder keeps, or has recorded again', () => {
      const keeps = [segment, theirs(web('w', 30100)), held, ours(web('w', 30100, holds(30100)))];
      const closed = theirs(range({ ranges: spans, paused: true, namespaces: ['b'] }));
      const again = theirs(range({ ranges: spans, paused: true, namespaces: ['c'] }));
      const passedOn = theirs(block({ 30100: { state: 'Held', uid: 'x', range: 'r' } }));
      expect(given({ ranges: spans, paused: true })).toEqual(violation);
      expect(verdictOn(...keeps, closed, again, passedOn, held)).toEqual([]);
    });

    test('as a promise, too, unless it is told that it holds the number outside', () => {
      const closed = { ranges: spans, namespaces: ['b'] };
      expect(verdictOn(theirs(range(closed)), ours(web('w', 30100, holds(30100))))).toEqual([
        'In segment: a/w (revision 2) is not admitted by r, which it holds from',
      ]);
      const outside = { message: 'holds http 30100 outside r: r does not admit namespace a' };
      expect(verdictOn(theirs(range(closed)), ours(web('w', 30100, outside)))).toEqual([]);
    });
  });

  test('an entry that is released, or passed on, while its owner has the number', () => {
    const held = [
      theirs(web('w', 30100)),
      ours(block({ 30100: { state: 'Held', uid: 'w', service: 'a/w' } })),
    ];
    expect(verdictOn(...held, ours(block({ 30100: { state: 'Released', uid: 'w' } })))).toEqual([
      'One owner: 30100 was released, but a/w has it',
    ]);
    expect(verdictOn(...held, ours(block({ 30100: { state: 'Held', uid: 'x', service: 'a/x' } })))).toEqual([
      'One owner: 30100 went from a/w, which has it, to a/x',
    ]);
    expect(verdictOn(...held, theirs(block({ 30100: { state: 'Released', uid: 'w' } })))).toEqual([]);
  });

  test('nothing wrong with a release of what the owner lost meanwhile and got again by chance', () => {
    const released = ours(block({ 30100: { state: 'Released', uid: 'w' } }));
    const held = ours(block({ 30100: { state: 'Held', uid: 'w', service: 'a/w' } }));
    expect(
      verdictOn(theirs(web('w', 30100)), held, theirs(web('w', 1)), theirs(web('w', 30100)), released),
    ).toEqual([]);
  });

  test('nothing wrong with a move of who has asked no more meanwhile', () => {
    expect(
      verdictOn(
        segment,
        theirs(web('w', 30100)),
        ours(web('w', 30100, holds(30100))),
        theirs(web('w', 30100, { ...holds(30100), range: 'none' })),
        ours(web('w', 30100, { range: 'none' })),
        theirs(web('w', 30100)),
        ours(web('w', 30101)),
      ),
    ).toEqual([]);
  });

  test('a promise broken by the range as it was long ago, but not by how a late watch may still show it', () => {
    const [then, since, now] = [30100, 30110, 30120].map((from, i) => ({
      ...range({ ranges: [{ from, to: from + 9 }] }),
      at: i * 1_000,
    })) as [Recorded, Recorded, Recorded];
    const told = { ...web('w', 30100, holds(30100)), at: 2_000 };
    const written = [told, then, since, now].map((revision, i) => {
      revision.object.metadata.resourceVersion = `${i === 0 ? 9 : i}`;
      return revision;
    });
    const verdict = (viewsLag: number) => judge(written, (revision) => revision === told, viewsLag);
    expect(verdict(999)).toEqual(['In segment: a/w (revision 9) is told to hold 30100 from r']);
    expect(verdict(1_000)).toEqual([]);
  });

  test('an entry that is no entry, or in the wrong block', () => {
    expect(verdictOn(ours(block({ 30100: '{"state":' })))).toEqual([
      'Table: nodeport-table-30000 was written with 30100: {"state":',
    ]);
    expect(verdictOn(ours(block({ 30250: { state: 'Held' } })))).toEqual([
      'Table: nodeport-table-30000 was written with the number 30250',
    ]);
  });
});
