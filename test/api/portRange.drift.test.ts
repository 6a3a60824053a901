import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { describe, expect, test } from 'vitest';
import {
  type PortRange,
  portRangeApiVersion,
  portRangeDefaults,
  portRangeGroup,
  portRangePath,
  portRangeVersion,
} from '../../src/api/portRange.ts';

/**
 * Holds the types and the CRD together through a third thing that both are compared with, `shape`:
 *
 *   src/api/portRange.ts ──tsc: Shape<T>──► shape ◄──shapeOf(), when the test runs── crds/portranges.yaml
 *
 * A field, an enum value or an optionality that one side has and the other lacks fails one of the two arrows.
 */
type Shape<T> = [T] extends [boolean]
  ? 'boolean'
  : [T] extends [number]
    ? 'integer'
    : string extends T
      ? 'string'
      : [T] extends [string]
        ? { oneOf: { [Value in T]: true } }
        : T extends readonly (infer Item)[]
          ? { listOf: Shape<Item> }
          : string extends keyof T
            ? { mapOf: Shape<T[keyof T]> }
            : { required: Fields<T, RequiredKey<T>>; optional: Fields<T, Exclude<keyof T, RequiredKey<T>>> };
type Fields<T, Key extends keyof T> = { [K in Key]-?: Shape<NonNullable<T[K]>> };
type RequiredKey<T> = { [K in keyof T]-?: {} extends Pick<T, K> ? never : K }[keyof T];

const span = { required: { from: 'integer' }, optional: { to: 'integer' } } as const;
const closedSpan = { required: { from: 'integer', to: 'integer' }, optional: {} } as const;
const selector = {
  required: {},
  optional: {
    matchLabels: { mapOf: 'string' },
    matchExpressions: {
      listOf: {
        required: {
          key: 'string',
          operator: { oneOf: { In: true, NotIn: true, Exists: true, DoesNotExist: true } },
        },
        optional: { values: { listOf: 'string' } },
      },
    },
  },
} as const;
const condition = {
  required: {
    type: 'string',
    status: { oneOf: { True: true, False: true, Unknown: true } },
    lastTransitionTime: 'string',
    reason: 'string',
    message: 'string',
  },
  optional: { observedGeneration: 'integer' },
} as const;

const shape: Shape<Pick<PortRange, 'spec' | 'status'>> = {
  required: {
    spec: {
      required: { ranges: { listOf: span } },
      optional: {
        excluded: { listOf: span },
        explicitOnly: { listOf: span },
        namespaces: { listOf: 'string' },
        namespaceSelector: selector,
        serviceSelector: selector,
        assignment: { oneOf: { Requested: true, Automatic: true } },
        priority: 'integer',
        strategy: { oneOf: { Sequential: true, Random: true, Hash: true } },
        paused: 'boolean',
        cooldown: 'string',
        quota: { required: {}, optional: { perNamespace: 'integer', perService: 'integer' } },
        spillover: { listOf: 'string' },
        expansion: {
          required: {
            thresholdPercent: 'integer',
            step: 'integer',
            maxPorts: 'integer',
            within: { listOf: span },
          },
          optional: {},
        },
      },
    },
  },
  optional: {
    status: {
      required: {},
      optional: {
        observedGeneration: 'integer',
        ports: 'string',
        effective: { listOf: closedSpan },
        capacity: 'integer',
        allocated: 'integer',
        foreign: 'integer',
        coolingDown: 'integer',
        free: 'integer',
        explicitOnlyFree: 'integer',
        usedPercent: 'integer',
        outOfRange: 'integer',
        pending: 'integer',
        expanded: { listOf: closedSpan },
        conditions: { listOf: condition },
      },
    },
  },
};

interface Schema {
  type?: string;
  enum?: string[];
  default?: unknown;
  items?: Schema;
  additionalProperties?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  description?: string;
}

/** Refuses what it does not know, so that nothing passes because it was not looked at. */
function shapeOf(schema: Schema, path = ''): unknown {
  const { type, items, additionalProperties, properties, required = [] } = schema;
  if (type === 'string' && schema.enum)
    return { oneOf: Object.fromEntries(schema.enum.map((v) => [v, true])) };
  if (type === 'string' || type === 'integer' || type === 'boolean') return type;
  if (type === 'array' && items) return { listOf: shapeOf(items, `${path}[]`) };
  if (type === 'object' && additionalProperties && !properties) {
    return { mapOf: shapeOf(additionalProperties, `${path}{}`) };
  }
  if (type !== 'object' || !properties || additionalProperties) {
    throw new Error(`${path}: no TypeScript counterpart is known for ${JSON.stringify(schema)}`);
  }
  const unknown = required.filter((name) => !(name in properties));
  if (unknown.length > 0) throw new Error(`${path}: requires ${unknown.join(', ')}, which it does not have`);
  const fields = (wanted: boolean) =>
    Object.fromEntries(
      Object.entries(properties)
        .filter(([name]) => required.includes(name) === wanted)
        .map(([name, field]) => [name, shapeOf(field, `${path}.${name}`)]),
    );
  return { required: fields(true), optional: fields(false) };
}

interface Crd {
  metadata: { name: string };
  spec: {
    group: string;
    scope: string;
    names: { kind: string; plural: string };
    versions: { name: string; storage: boolean; schema: { openAPIV3Schema: Schema } }[];
  };
}

function readCrd(): Crd {
  return parse(readFileSync(new URL('../../crds/portranges.yaml', import.meta.url), 'utf8')) as Crd;
}

/** The schema of spec and status; what every object has is Kubernetes' own. */
function readSchema(): Schema {
  const schema = at(readCrd().spec.versions, 0).schema.openAPIV3Schema;
  const {
    apiVersion: _apiVersion,
    kind: _kind,
    metadata: _metadata,
    ...properties
  } = schema.properties ?? {};
  return { ...schema, properties };
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new Error(`no item ${index} among ${list.length}`);
  return item;
}

/** The schema of a field, by its path: `spec.ranges.[].from`. */
function field(schema: Schema, path: string): Schema {
  let found: Schema | undefined = schema;
  for (const step of path.split('.')) found = step === '[]' ? found?.items : found?.properties?.[step];
  if (!found) throw new Error(`the schema has no ${path}`);
  return found;
}

describe('the CRD and the types of PortRange', () => {
  test('have the same fields, kinds of values, enums and required fields', () => {
    expect(shapeOf(readSchema())).toEqual(shape);
  });

  test('have the same defaults', () => {
    const defaults = Object.entries(readSchema().properties?.['spec']?.properties ?? {})
      .filter(([, field]) => field.default !== undefined)
      .map(([name, field]) => [name, field.default]);
    expect(Object.fromEntries(defaults)).toEqual(portRangeDefaults);
  });

  test('have the same group, version, kind and path', () => {
    const { spec, metadata } = readCrd();
    expect(spec).toMatchObject({ group: portRangeGroup, scope: 'Cluster', names: { kind: 'PortRange' } });
    expect(spec.versions.map(({ name, storage }) => [name, storage])).toEqual([[portRangeVersion, true]]);
    expect(portRangeApiVersion).toBe(`${spec.group}/${portRangeVersion}`);
    expect(portRangePath).toBe(`/apis/${portRangeApiVersion}/${spec.names.plural}`);
    expect(metadata.name).toBe(`${spec.names.plural}.${spec.group}`);
  });

  test('every field says what it means', () => {
    const silent: string[] = [];
    const visit = (schema: Schema, path: string) => {
      if (!schema.description) silent.push(path);
      for (const [name, field] of Object.entries(schema.properties ?? {})) visit(field, `${path}.${name}`);
      if (schema.items) visit(schema.items, `${path}[]`);
      if (schema.additionalProperties) visit(schema.additionalProperties, `${path}{}`);
    };
    visit(readSchema(), '');
    expect(silent).toEqual([]);
  });
});

describe('the comparison notices', () => {
  const cases: [what: string, change: (schema: Schema) => void][] = [
    [
      'a field only in the CRD',
      (s) => (field(s, 'spec').properties = { ...field(s, 'spec').properties, extra: { type: 'string' } }),
    ],
    ['a field only in the types', (s) => delete field(s, 'spec').properties?.['cooldown']],
    [
      'a field deep inside that is missing',
      (s) => delete field(s, 'spec.expansion.within.[]').properties?.['to'],
    ],
    ['another kind of value', (s) => (field(s, 'spec.paused').type = 'string')],
    [
      'another kind of value in a map',
      (s) => (field(s, 'spec.serviceSelector.matchLabels').additionalProperties = { type: 'integer' }),
    ],
    ['an enum value too many', (s) => field(s, 'spec.strategy').enum?.push('Lucky')],
    ['an enum value too few', (s) => field(s, 'status.conditions.[].status').enum?.pop()],
    ['an enum that became free text', (s) => delete field(s, 'spec.assignment').enum],
    ['a field that is no longer required', (s) => (field(s, 'spec').required = [])],
    ['a field that became required', (s) => (field(s, 'spec.quota').required = ['perService'])],
    ['a list that became one value', (s) => Object.assign(field(s, 'spec.namespaces'), { type: 'string' })],
  ];
  test.each(cases)('%s', (_what, change) => {
    const schema = readSchema();
    change(schema);
    expect(shapeOf(schema)).not.toEqual(shape);
  });

  test('a construct that it does not know, with its path', () => {
    const schema = readSchema();
    delete field(schema, 'spec.quota').properties;
    expect(() => shapeOf(schema)).toThrow('.spec.quota: no TypeScript counterpart is known');
    const other = readSchema();
    field(other, 'spec').required?.push('nowhere');
    expect(() => shapeOf(other)).toThrow('.spec: requires nowhere, which it does not have');
  });

  test('a difference between the types and the shape, when it is compiled', () => {
    // @ts-expect-error a field of the type is missing
    const missing: Shape<{ a: string; b: number }> = { required: { a: 'string' }, optional: {} };
    // @ts-expect-error an optional field is called required
    const optional: Shape<{ a?: string }> = { required: { a: 'string' }, optional: {} };
    // @ts-expect-error a value of the union is missing
    const value: Shape<'x' | 'y'> = { oneOf: { x: true } };
    // @ts-expect-error the type has no such field
    const extra: Shape<{ a: string }> = { required: { a: 'string', b: 'string' }, optional: {} };
    expect([missing, optional, value, extra]).toHaveLength(4);
  });
});
