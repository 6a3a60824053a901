/** Every reason that a Service can show, at least once, with its whole message and its event. */
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { REASONS } from '../../src/api/reasons.ts';
import { eventually } from '../support/eventually.ts';
import { conditionOf, RANGES } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import { asks, HTTP, portsOf, scene } from './asking.ts';

const world = useWorld(async (w) => {
  await w.namespace('a', { tier: 'edge' });
  // Below 30100 the apiserver gives nothing, and refuses what is asked of it.
  await w.start('--service-node-port-range=30000-63999');
});

const { range, served, notes, annotate } = scene(world);
const shown = new Set<string>();

/** All events together are limited to five a second; a test here causes up to four, and expects each of them. */
const MS_A_TEST = 800;
let began = performance.now();

beforeEach(async () => {
  await eventually(() => expect(performance.now() - began).toBeGreaterThan(MS_A_TEST));
  began = performance.now();
});

/** Waits for the condition, with this whole message, and for its event. */
async function tells(key: string, reason: keyof typeof REASONS, message: string): Promise<void> {
  const condition = conditionOf(await world().shows(key, reason, message));
  expect(condition?.status).toBe(REASONS[reason].status);
  const [namespace = '', name = ''] = key.split('/');
  await eventually(async () => expect((await notes(namespace, name)).get(reason)).toContain(message));
  shown.add(reason);
}

describe('True', () => {
  test('Assigned', async () => {
    await range('r', 30100, 30109);
    await served('a/assigned', { range: 'r' });
    await tells('a/assigned', 'Assigned', 'holds http 30100 from r');
  });

  test('Adopted', async () => {
    await world().service('a/adopted', { range: 'r', ports: [{ ...HTTP, nodePort: 30105 }] });
    await tells('a/adopted', 'Adopted', 'holds http 30105 from r');
  });

  test('HeldOutOfRange: pinned by another manager, who is named', async () => {
    const { client } = world();
    const body = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'pinned', namespace: 'a', annotations: { 'nodeport-manager.io/range': 'r' } },
      spec: { type: 'NodePort', ports: [{ ...HTTP, protocol: 'TCP', nodePort: 30110 }] },
    };
    await client.patch('/api/v1/namespaces/a/services/pinned', 'apply', body, 'fieldManager=helm');
    await tells(
      'a/pinned',
      'HeldOutOfRange',
      'holds http 30110 outside r: r (30100-30109) does not contain 30110, pinned by "helm"',
    );
  });

  test('HeldOutOfRange: excluded since', async () => {
    await range('e', 30120, 30129);
    await served('a/excluded', { range: 'e' });
    await world().editRange('e', { excluded: [{ from: 30120 }] });
    await tells('a/excluded', 'HeldOutOfRange', 'holds http 30120 outside e: e excludes 30120');
  });

  test('HeldOutOfRange: left by a range that shrank', async () => {
    await served('a/shrunk', { range: 'e', ports: '30125' });
    await world().editRange('e', { ranges: [{ from: 30126, to: 30129 }, { from: 30120 }] });
    await tells(
      'a/shrunk',
      'HeldOutOfRange',
      'holds http 30125 outside e: e (30120,30126-30129) does not contain 30125',
    );
  });

  test('HeldOutOfRange: no longer admitted, by the namespace or by labels', async () => {
    await served('a/admitted', { range: 'e' });
    await world().editRange('e', { serviceSelector: { matchLabels: { tier: 'edge' } } });
    await tells(
      'a/admitted',
      'HeldOutOfRange',
      'holds http 30126 outside e: e does not admit Services with these labels',
    );
    await world().editRange('e', { serviceSelector: null, namespaces: ['elsewhere'] });
    await tells('a/admitted', 'HeldOutOfRange', 'holds http 30126 outside e: e does not admit namespace a');
  });

  test('HeldOutOfRange: lost to an older range', async () => {
    await range('young', 30130, 30139);
    await served('a/lost', { range: 'young' });
    await world().editRange('r', { ranges: [{ from: 30100, to: 30109 }, { from: 30130 }] });
    await tells(
      'a/lost',
      'HeldOutOfRange',
      'holds http 30130 outside young: 30130 belongs to the older PortRange r',
    );
    await eventually(async () =>
      expect((await notes('default', 'young')).get('RangeOverlap')).toEqual([
        'young does without 30130, which the older PortRange r has: declare the ports in one of them',
      ]),
    );
  });

  test('HeldOutOfRange: its range is gone', async () => {
    await world().client.delete(`${RANGES}/young`);
    await tells(
      'a/lost',
      'HeldOutOfRange',
      'holds http 30130 outside young: PortRange "young" does not exist',
    );
  });
});

describe('False', () => {
  /** A Service that shall be refused; `message` without where it is meanwhile. */
  async function refuses(
    name: string,
    said: { range?: string; ports?: string },
    reason: keyof typeof REASONS,
    message: string,
    type?: string,
  ): Promise<void> {
    const created = await world().service(`a/${name}`, asks(said, type === undefined ? {} : { type }));
    const [number = 0] = portsOf(created);
    await tells(`a/${name}`, reason, number === 0 ? message : `${message}; temporarily on ${number}`);
  }

  test('RangeNotFound', () =>
    refuses('not-found', { range: 'nowhere' }, 'RangeNotFound', 'PortRange "nowhere" does not exist'));

  test('NotAdmitted: the namespace, or the labels', async () => {
    await refuses('outsider', { range: 'e' }, 'NotAdmitted', 'PortRange e does not admit namespace a');
    await range('labelled', 30140, 30141, { serviceSelector: { matchLabels: { tier: 'edge' } } });
    await refuses(
      'unlabelled',
      { range: 'labelled' },
      'NotAdmitted',
      'PortRange labelled does not admit Services with these labels',
    );
  });

  test('RangePaused', async () => {
    await range('p', 30142, 30143, { paused: true });
    await refuses('paused', { range: 'p' }, 'RangePaused', 'PortRange p is paused');
  });

  test('RangeExhausted, also on the PortRange', async () => {
    await range('full', 30144, 30144);
    await served('a/fills', { range: 'full' });
    await refuses('late', { range: 'full' }, 'RangeExhausted', 'full has too few free ports: 1 needed');
    await eventually(async () =>
      expect((await notes('default', 'full')).get('RangeExhausted')).toHaveLength(1),
    );
  });

  test('PortTaken', () =>
    refuses('taken', { range: 'r', ports: '30105' }, 'PortTaken', '30105 is held by a/adopted'));

  test('PortExcluded', async () => {
    await range('x', 30150, 30159, { excluded: [{ from: 30151, to: 30152 }] });
    await refuses('excluded-2', { range: 'x', ports: '30152' }, 'PortExcluded', 'x excludes 30152');
  });

  test('RequestOutOfRange: not in the range, or in that of an older one', async () => {
    await refuses(
      'outside',
      { range: 'x', ports: '30199' },
      'RequestOutOfRange',
      'x (30150-30159) does not contain 30199',
    );
    await range('y', 30155, 30169);
    await refuses(
      'outside-2',
      { range: 'y', ports: '30155' },
      'RequestOutOfRange',
      '30155 belongs to the older PortRange x',
    );
    await range('low', 29_990, 29_999);
    await refuses(
      'outside-3',
      { range: 'low', ports: '29999' },
      'RequestOutOfRange',
      '29999 lies outside the node port range of the apiserver',
    );
  });

  test('InvalidRequest', () =>
    refuses(
      'invalid',
      { range: 'x', ports: 'ftp=1' },
      'InvalidRequest',
      'nodeport-manager.io/ports: the Service has no port "ftp"',
    ));

  test('NoNodePorts', () =>
    refuses(
      'none',
      { range: 'x' },
      'NoNodePorts',
      'a Service of type "ClusterIP" has no node ports',
      'ClusterIP',
    ));

  test('RefusedByApiserver: the message carries its answer, and the number stays', async () => {
    const { service, checker } = world();
    await range('refused', 30050, 30050);
    const created = await service('a/refused', { range: 'refused' });
    const message = await eventually(() => {
      const conditions = checker.revisions('a/refused').map(({ object }) => conditionOf(object));
      const refused = conditions.find((condition) => condition?.reason === 'RefusedByApiserver');
      expect(refused).toMatchObject({
        status: 'False',
        message: expect.stringMatching(/30050.*valid ports is 30100-63999/),
      });
      return refused?.message;
    });
    await eventually(async () =>
      expect((await notes('a', 'refused')).get('RefusedByApiserver')).toContain(message),
    );
    expect(portsOf(await world().get('a/refused'))).toEqual(portsOf(created));
    shown.add('RefusedByApiserver');
  });
});

test('Unknown: Pending, before a port moves', async () => {
  const { shows, checker } = world();
  await annotate('a/assigned', { range: 'r', ports: '30101' });
  await shows('a/assigned', 'Assigned', 'holds http 30101 from r');
  const seen = checker.revisions('a/assigned').map(({ object }) => conditionOf(object));
  expect(seen).toContainEqual(
    expect.objectContaining({ status: 'Unknown', reason: 'Pending', message: 'moves from 30100' }),
  );
  shown.add('Pending');
});

test('PortsReleased, on a Service that lives on', async () => {
  const [note = ''] = await eventually(async () => {
    const released = (await notes('a', 'assigned')).get('PortsReleased') ?? [];
    expect(released).toHaveLength(1);
    return released;
  });
  expect(note).toMatch(/^released 30100 to r; it rests until \d{4}-\d\d-\d\dT[\d:.]+Z$/);
});

afterAll(() => {
  // Quotas are not acted on by this version.
  const all = Object.keys(REASONS).filter((reason) => reason !== 'QuotaExceeded');
  expect([...shown].toSorted()).toEqual(all.toSorted());
});
