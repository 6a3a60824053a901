import { describe, expect, test } from 'vitest';
import { conditionOf, PORTS_ANNOTATION, type PortRange, RANGES } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.namespace('b-dev');
  await w.start();
});

async function rangeOf(name: string, from: number, to: number, spec: object = {}): Promise<void> {
  await world().range(name, from, to, spec);
  await world().rangeShows(name, { observedGeneration: 1 });
}

async function condition(range: string, type: string): Promise<string> {
  const { status } = await world().client.get<PortRange>(`${RANGES}/${range}`);
  const found = status?.conditions?.find((c) => c.type === type);
  return `${found?.status} ${found?.reason}: ${found?.message}`;
}

const named = (number: number): Record<string, string> => ({ [PORTS_ANNOTATION]: `${number}` });

describe('serviceSelector', () => {
  const tier = { serviceSelector: { matchLabels: { tier: 'edge' } } };

  test('the Service must match, when it is given', async () => {
    const { service, shows } = world();
    await rangeOf('edge', 30100, 30109, tier);
    await service('a-dev/edge', { range: 'edge', labels: { tier: 'edge' } });
    await shows('a-dev/edge', 'Assigned', 'holds http 30100 from edge');
    await service('a-dev/inner', { range: 'edge', labels: { tier: 'inner' } });
    await shows(
      'a-dev/inner',
      'NotAdmitted',
      /^PortRange edge does not admit Services with these labels; temporarily on \d+$/,
    );
  });

  test('a label that comes later serves the Service; one that goes leaves the holder its port', async () => {
    const { kubectl, shows } = world();
    await kubectl('label service -n a-dev inner --overwrite tier=edge');
    await shows('a-dev/inner', 'Assigned', 'holds http 30101 from edge');
    await kubectl('label service -n a-dev inner tier-');
    await shows(
      'a-dev/inner',
      'HeldOutOfRange',
      'holds http 30101 outside edge: edge does not admit Services with these labels',
    );
  });

  test('it counts besides the namespace: both must be admitted', async () => {
    const { service, shows } = world();
    await rangeOf('edge-of-a', 30110, 30119, { ...tier, namespaces: ['a-dev'] });
    await service('b-dev/edge', { range: 'edge-of-a', labels: { tier: 'edge' } });
    await shows('b-dev/edge', 'NotAdmitted', /does not admit namespace b-dev/);
  });
});

describe('priority', () => {
  const labels = { kind: 'priority' };
  const spec = { serviceSelector: { matchLabels: labels } };

  test('higher is tried first, then older, then by name', async () => {
    const { service, shows } = world();
    await rangeOf('p-old', 30120, 30120, spec);
    await rangeOf('p-young', 30121, 30121, spec);
    await rangeOf('p-high', 30122, 30122, { ...spec, priority: 5 });
    for (const [name, number, range] of [
      ['first', 30122, 'p-high'],
      ['second', 30120, 'p-old'],
      ['third', 30121, 'p-young'],
    ] as const) {
      await service(`a-dev/${name}`, { range: 'auto', labels });
      await shows(`a-dev/${name}`, 'Assigned', `holds http ${number} from ${range}`);
    }
    await service('a-dev/fourth', { range: 'auto', labels });
    await shows('a-dev/fourth', 'RangeExhausted', /^p-high .*; p-old .*; p-young .*; temporarily on/);
  });

  test('that changes moves nobody', async () => {
    const { editRange, service, shows, port, remove } = world();
    await editRange('p-young', { priority: 9, ranges: [{ from: 30121 }, { from: 30123 }] });
    await shows('a-dev/fourth', 'Assigned', 'holds http 30123 from p-young');
    await service('a-dev/fifth', { range: 'auto', labels });
    await shows('a-dev/fifth', 'RangeExhausted', /^p-young /);
    await remove('a-dev/fifth');
    expect([await port('a-dev/first'), await port('a-dev/second')]).toEqual([30122, 30120]);
  });
});

describe('explicitOnly', () => {
  test('is given only to a Service that asks for that number, and counted apart', async () => {
    const { service, shows, rangeShows } = world();
    await rangeOf('by-number', 30130, 30133, { explicitOnly: [{ from: 30130, to: 30132 }] });
    await rangeShows('by-number', { capacity: 4, free: 1, explicitOnlyFree: 3, usedPercent: 0 });
    await service('a-dev/any', { range: 'by-number' });
    await shows('a-dev/any', 'Assigned', 'holds http 30133 from by-number');
    await service('a-dev/wants', { range: 'by-number', annotations: named(30131) });
    await shows('a-dev/wants', 'Assigned', 'holds http 30131 from by-number');
    await rangeShows('by-number', { allocated: 2, free: 0, explicitOnlyFree: 2, usedPercent: 50 });
    expect(await condition('by-number', 'Exhausted')).toBe(
      'True NoPortFree: none of 4 ports is free but 2 to who asks for the number',
    );
  });

  test('who does not name a number waits, although there are some for those who do', async () => {
    const { service, shows, kubectl } = world();
    await service('a-dev/none-left', { range: 'by-number' });
    await shows('a-dev/none-left', 'RangeExhausted', /^by-number has too few free ports: 1 needed; temp/);
    await kubectl(`annotate service -n a-dev none-left ${PORTS_ANNOTATION}=30130`);
    await shows('a-dev/none-left', 'Assigned', 'holds http 30130 from by-number');
  });

  test('a random pick on such a number is replaced, a pinned one is adopted', async () => {
    const { service, shows, get, ask } = world();
    const { spec } = await service('a-dev/hit');
    const number = spec.ports[0]?.nodePort ?? 0;
    const ranges = [{ from: number }, { from: 30142, to: 30149 }];
    await rangeOf('hit', 0, 0, { ranges, explicitOnly: [{ from: number }] });
    await ask('a-dev/hit', 'hit');
    await shows('a-dev/hit', 'Assigned', 'holds http 30142 from hit');
    await rangeOf('pinned', 30140, 30141, { explicitOnly: [{ from: 30140 }] });
    await service('a-dev/pinned', { range: 'pinned', ports: [{ name: 'http', port: 80, nodePort: 30140 }] });
    await shows('a-dev/pinned', 'Adopted', 'holds http 30140 from pinned');
    expect((await get('a-dev/pinned')).spec.ports[0]?.nodePort).toBe(30140);
  });
});

describe('paused', () => {
  test('keeps its holders and takes no new ones: Ready=False, Paused', async () => {
    const { editRange, service, shows, kubectl, rangeShows } = world();
    await rangeOf('drain', 30150, 30159);
    await service('a-dev/holder', { range: 'drain' });
    await shows('a-dev/holder', 'Assigned', 'holds http 30150 from drain');
    await editRange('drain', { paused: true });
    await kubectl('wait --for=condition=Ready=False npr/drain --timeout=10s');
    expect(await condition('drain', 'Ready')).toBe('False Paused: keeps its holders and takes no new ones');
    expect(await kubectl('get npr drain --no-headers')).toMatch(
      /^drain +30150-30159 +10 +1 +9 +10 +0 +False /,
    );
    await service('a-dev/new', { range: 'drain' });
    await shows('a-dev/new', 'RangePaused', /^PortRange drain is paused; temporarily on \d+$/);
    await service('a-dev/new-number', { range: 'drain', annotations: named(30155) });
    await shows('a-dev/new-number', 'RangePaused');
    await rangeShows('drain', { allocated: 1, pending: 2 });
    await shows('a-dev/holder', 'Assigned', 'holds http 30150 from drain');
  });

  test('a holder that adds a port waits for it and keeps the others', async () => {
    const { edit, shows } = world();
    const ports = [
      { name: 'http', port: 80 },
      { name: 'https', port: 443 },
    ];
    await edit('a-dev/holder', { ports });
    const { spec } = await shows(
      'a-dev/holder',
      'RangePaused',
      /^holds http 30150 from drain; PortRange drain is paused; temporarily on \d+$/,
    );
    expect(spec.ports[0]?.nodePort).toBe(30150);
  });

  test('a holder that loses its port to a change of type does not get it back while it is paused', async () => {
    const { edit, shows, service, editRange } = world();
    await editRange('drain', { paused: false });
    await shows('a-dev/holder', 'Assigned', /^holds http 30150, https \d+ from drain$/);
    await service('a-dev/flips', { range: 'drain' });
    const before = await shows('a-dev/flips', 'Assigned');
    await editRange('drain', { paused: true });
    await edit('a-dev/flips', { type: 'ClusterIP' });
    await shows('a-dev/flips', 'NoNodePorts');
    await edit('a-dev/flips', { type: 'NodePort' });
    await shows('a-dev/flips', 'RangePaused');
    await editRange('drain', { paused: false });
    const after = await shows('a-dev/flips', 'Assigned');
    expect(conditionOf(after)?.message).toBe(conditionOf(before)?.message);
  });

  test('resumed, it serves who waited and is Ready', async () => {
    const { shows, kubectl } = world();
    await shows('a-dev/new', 'Assigned');
    await shows('a-dev/new-number', 'Assigned', 'holds http 30155 from drain');
    await kubectl('wait --for=condition=Ready npr/drain --timeout=10s');
  });
});
