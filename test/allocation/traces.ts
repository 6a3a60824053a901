/** Arbitrary traces: few names, few numbers and short ranges, so that everything meets everything. */
import * as fc from 'fast-check';
import type { PortRangeSpec } from '../../src/api/portRange.ts';
import { type Asks, type NewService, type PortSpec, type ServiceType, SPACE } from './cluster.ts';
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

/** Lists of ranges: most of them good ones. */
const ranges = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<string>(...RANGES) },
  { weight: 4, arbitrary: fc.constantFrom('a,b', 'b, a', 'c,a,b', 'nowhere,a', 'auto', 'auto') },
  { weight: 1, arbitrary: fc.constantFrom(' a ', 'none', 'nowhere', 'a,auto', 'none,a', 'a,', '', 'ÄÖ') },
);
const maybe = <T>(arbitrary: fc.Arbitrary<T>, weight: number): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight, arbitrary }, { weight: 1, arbitrary: fc.constant(undefined) });
/** A number of the space, or one beside it. Few, so that many want the same. */
const number = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: SPACE.from + 2, max: SPACE.from + 6 }) },
  { weight: 2, arbitrary: fc.integer({ min: SPACE.from, max: SPACE.to + 1 }) },
);
/** Exact numbers in both forms, well and badly written. */
const named = fc.oneof(
  { weight: 4, arbitrary: number.map(String) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom('http', '80', 'web', '443', 'dns', '53'), number)
      .map(([p, n]) => `${p}=${n}`),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(number, number).map(([m, n]) => `http=${m}, https = ${n}`),
  },
  { weight: 1, arbitrary: number.map((n) => `http=${n},80=${n + 1}`) },
  { weight: 1, arbitrary: fc.constantFrom('', 'http', 'http=', '=30001', '30001x', 'http=0', '30003,30003') },
);
const asks: fc.Arbitrary<Asks> = fc.oneof(
  { weight: 6, arbitrary: ranges.map((range) => ({ range })) },
  { weight: 3, arbitrary: fc.record({ range: maybe(ranges, 2), ports: named }) },
  { weight: 3, arbitrary: fc.constant({}) },
);
const tier = fc.constantFrom('edge', 'core', undefined);

const newService: fc.Arbitrary<NewService> = fc.record(
  {
    namespace: fc.constantFrom<string>(...NAMESPACES),
    name: fc.constantFrom('v', 'w', 'x', 'y', 'z'),
    type,
    ports,
    asks,
    tier,
    pick,
    pinned: fc.boolean(),
    local: fc.boolean(),
    allocates: fc.boolean(),
  },
  { requiredKeys: ['namespace', 'name', 'type', 'ports', 'pick'] },
);

/** Some reach beyond what the apiserver can give. */
const span = fc
  .tuple(fc.integer({ min: SPACE.from - 1, max: SPACE.to - 3 }), fc.nat(4))
  .map(([from, length]) => ({ from, to: from + length }));
const often = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );
const rangeSpec: fc.Arbitrary<PortRangeSpec> = fc.record(
  {
    ranges: fc.array(span, { minLength: 1, maxLength: 2 }),
    excluded: fc.array(span, { maxLength: 1 }),
    explicitOnly: fc.array(span, { maxLength: 1 }),
    namespaces: often(['one', 'two'], ['one']),
    namespaceSelector: fc.constantFrom({ matchLabels: { team: 'red' } }),
    serviceSelector: often({}, { matchLabels: { tier: 'edge' } }),
    assignment: often<'Requested' | 'Automatic'>('Requested', 'Automatic'),
    priority: fc.constantFrom(0, 0, 1, -1),
    strategy: often<'Sequential' | 'Random' | 'Hash'>('Sequential', 'Random', 'Hash'),
    paused: often(false, true),
    cooldown: fc.constantFrom('0s', '1m', '5m'),
  },
  { requiredKeys: ['ranges'] },
);
const rangeAction = fc
  .tuple(fc.constantFrom(...RANGES), rangeSpec)
  .map(([name, spec]): Action => ({ do: 'range', name, spec }));

/** What people and time do. */
const deeds: fc.WeightedArbitrary<Action>[] = [
  { weight: 8, arbitrary: newService.map((service): Action => ({ do: 'create', service })) },
  { weight: 4, arbitrary: i.map((i): Action => ({ do: 'delete', i })) },
  { weight: 2, arbitrary: fc.tuple(i, pick).map(([i, pick]): Action => ({ do: 'recreate', i, pick })) },
  {
    weight: 3,
    arbitrary: fc.tuple(i, asks).map(([i, asks]): Action => ({ do: 'annotate', i, asks })),
  },
  { weight: 1, arbitrary: fc.tuple(i, tier).map(([i, tier]): Action => ({ do: 'labelService', i, tier })) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(...NAMESPACES), maybe(ranges, 2))
      .map(([namespace, value]): Action => ({ do: 'default', namespace, value })),
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
  { weight: 3, arbitrary: rangeAction },
  { weight: 1, arbitrary: fc.constantFrom(...RANGES).map((name): Action => ({ do: 'deleteRange', name })) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...NAMESPACES), fc.constantFrom('red', 'blue', undefined))
      .map(([namespace, team]): Action => ({ do: 'label', namespace, team })),
  },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom(1_000, 1_000, 59_000, 61_000, 300_000)
      .map((ms): Action => ({ do: 'tick', ms })),
  },
];

const restart = fc
  .tuple(fc.constantFrom('kept', 'lost', 'half of it lost', 'one entry lost', 'one entry spoilt' as const), i)
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

/**
 * What people do, but that no Service becomes NodePort where defaults are: killed before that is reserved, the
 * controller cannot know afterwards which came first.
 */
export const calmWithoutFlips = calm.map((trace) => {
  const hasDefaults = trace.some(
    (action) => action.do === 'default' || (action.do === 'range' && action.spec.assignment === 'Automatic'),
  );
  return hasDefaults ? trace.filter((action) => !flips(action)) : trace;
});

function flips(action: Action): boolean {
  return action.do === 'type' || (action.do === 'create' && action.service.type === 'ClusterIP');
}

/** People act between any two steps of the controller, and it is restarted now and then. */
export const wild = after(
  fc.oneof(
    ...deeds,
    { weight: 30, arbitrary: steps },
    { weight: 3, arbitrary: fc.constant<Action>({ do: 'settle' }) },
    { weight: 2, arbitrary: restart },
    { weight: 1, arbitrary: fc.constant<Action>({ do: 'stop' }) },
  ),
  60,
);
