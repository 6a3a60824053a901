/** Arbitrary traces: few names, few numbers and short ranges, so that everything meets everything. */
import * as fc from 'fast-check';
import type { PortRangeSpec } from '../../src/api/portRange.ts';
import { type NewService, type PortSpec, type ServiceType, SPACE } from './cluster.ts';
import type { Action } from './world.ts';

const tcp = (name: string, port: number): PortSpec => ({ name, port, protocol: 'TCP' });
const udp = (name: string, port: number): PortSpec => ({ name, port, protocol: 'UDP' });

/** Ports as people write them, and as they change them: renamed, renumbered, added, dropped, reordered. */
const PORTS: readonly (readonly PortSpec[])[] = [
  [tcp('http', 80)],
  [tcp('', 80)],
  [tcp('web', 80)],
  [tcp('http', 8_080)],
  [tcp('http', 80), tcp('https', 443)],
  [tcp('https', 443), tcp('http', 80)],
  [tcp('http', 443), tcp('https', 80)],
  [tcp('dns', 53)],
  [tcp('dns', 53), udp('dns-udp', 53)],
  [tcp('none', 80), tcp('abcdefghij-1234', 443), udp('from', 81)],
];
const NAMESPACES = ['one', 'two'] as const;
const RANGES = ['a', 'b', 'c'] as const;

const i = fc.nat(11);
const pick = fc.nat(23);
const ports = fc.constantFrom(...PORTS);
const type = fc.constantFrom<ServiceType>('NodePort', 'NodePort', 'NodePort', 'LoadBalancer', 'ClusterIP');
const request = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<string>(...RANGES) },
  { weight: 1, arbitrary: fc.constantFrom(' a ', 'none', 'nowhere', 'a,b', 'auto', '', 'ÄÖ') },
  { weight: 2, arbitrary: fc.constant(undefined) },
);

const newService: fc.Arbitrary<NewService> = fc.record(
  {
    namespace: fc.constantFrom<string>(...NAMESPACES),
    name: fc.constantFrom('v', 'w', 'x', 'y', 'z'),
    type,
    ports,
    request,
    pick,
    pinned: fc.boolean(),
    local: fc.boolean(),
    allocates: fc.boolean(),
  },
  { requiredKeys: ['namespace', 'name', 'type', 'ports', 'pick'] },
);

const span = fc
  .tuple(fc.integer({ min: SPACE.from, max: SPACE.to - 4 }), fc.nat(4))
  .map(([from, length]) => ({ from, to: from + length }));
const rangeSpec: fc.Arbitrary<PortRangeSpec> = fc.record(
  {
    ranges: fc.array(span, { minLength: 1, maxLength: 2 }),
    excluded: fc.array(span, { maxLength: 1 }),
    namespaces: fc.constantFrom(['one'], ['one', 'two']),
    namespaceSelector: fc.constantFrom({ matchLabels: { team: 'red' } }),
    paused: fc.boolean(),
    cooldown: fc.constantFrom('0s', '1m', '5m'),
  },
  { requiredKeys: ['ranges'] },
);

/** What people and time do. */
const deeds: fc.WeightedArbitrary<Action>[] = [
  { weight: 8, arbitrary: newService.map((service): Action => ({ do: 'create', service })) },
  { weight: 4, arbitrary: i.map((i): Action => ({ do: 'delete', i })) },
  { weight: 2, arbitrary: fc.tuple(i, pick).map(([i, pick]): Action => ({ do: 'recreate', i, pick })) },
  {
    weight: 3,
    arbitrary: fc.tuple(i, request).map(([i, request]): Action => ({ do: 'annotate', i, request })),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(i, type, pick).map(([i, type, pick]): Action => ({ do: 'type', i, type, pick })),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(i, ports, pick).map(([i, ports, pick]): Action => ({ do: 'ports', i, ports, pick })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(i, fc.nat(2), pick, fc.boolean())
      .map(([i, port, pick, keep]): Action => ({ do: 'pin', i, port, pick, keep })),
  },
  { weight: 1, arbitrary: i.map((i): Action => ({ do: 'takeMarks', i })) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(...RANGES), rangeSpec)
      .map(([name, spec]): Action => ({ do: 'range', name, spec })),
  },
  { weight: 1, arbitrary: fc.constantFrom(...RANGES).map((name): Action => ({ do: 'deleteRange', name })) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...NAMESPACES), fc.constantFrom('red', 'blue', undefined))
      .map(([namespace, team]): Action => ({ do: 'label', namespace, team })),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(1_000, 59_000, 61_000, 300_000).map((ms): Action => ({ do: 'tick', ms })),
  },
];

const restart = fc
  .tuple(
    fc.constantFrom('kept' as const, 'lost' as const, 'one entry lost' as const, 'one entry spoilt' as const),
    i,
  )
  .map(([table, i]): Action => ({ do: 'restart', table, i }));
const steps = fc
  .tuple(fc.constantFrom('observe' as const, 'decide' as const, 'write' as const), i)
  .map(([step, i]): Action => ({ do: step, i }));

/** Every trace begins with ranges and Services, else most of it would be about nothing. */
const opening: fc.Arbitrary<Action[]> = fc
  .tuple(rangeSpec, rangeSpec, fc.array(newService, { minLength: 1, maxLength: 5 }))
  .map(([a, b, services]): Action[] => [
    { do: 'range', name: 'a', spec: a },
    { do: 'range', name: 'b', spec: b },
    ...services.map((service): Action => ({ do: 'create', service })),
  ]);

function after(actions: fc.Arbitrary<Action>, maxLength: number): fc.Arbitrary<Action[]> {
  return fc.tuple(opening, fc.array(actions, { maxLength })).map(([first, rest]) => [...first, ...rest]);
}

/** What people do, and nothing else. */
export const calm = after(fc.oneof(...deeds), 25);

/** People act between any two steps of the controller, and it is restarted now and then. */
export const wild = after(
  fc.oneof(
    ...deeds,
    { weight: 30, arbitrary: steps },
    { weight: 3, arbitrary: fc.constant<Action>({ do: 'settle' }) },
    { weight: 2, arbitrary: restart },
  ),
  60,
);
