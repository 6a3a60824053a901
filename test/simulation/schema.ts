/** What the OpenAPI schema of the CRD accepts: values of it by chance, and what of a value it refuses. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { isObject, type Json, type JsonObject } from './patches.ts';

export interface Schema {
  readonly type?: string;
  readonly enum?: readonly Json[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
}

type Random = () => number;

/** Words for strings and bounds for numbers, by the path in the schema, so that specs have to do with each other. */
export type Hints = (path: string, schema: Schema, random: Random) => Json | undefined;

const CRD = new URL('../../crds/portranges.yaml', import.meta.url);

/** The spec of a PortRange, as the CRD describes it. */
export function specSchema(): Schema {
  const { spec } = parse(readFileSync(CRD, 'utf8')) as {
    spec: { versions: { schema: { openAPIV3Schema: Schema } }[] };
  };
  return spec.versions[0]?.schema.openAPIV3Schema.properties?.['spec'] ?? {};
}

/** A value of the schema: what is required, and of the rest about half. */
export function valueOf(schema: Schema, hints: Hints, random: Random, path = ''): Json {
  const hint = hints(path, schema, random);
  if (hint !== undefined) return hint;
  if (schema.enum !== undefined) return pick(schema.enum, random);
  if (schema.type === 'object') return objectOf(schema, hints, random, path);
  if (schema.type === 'array') {
    const { minItems = 0, maxItems = 8, items = {} } = schema;
    const count = minItems + Math.floor(random() * Math.min(3, maxItems - minItems + 1));
    return Array.from({ length: count }, () => valueOf(items, hints, random, `${path}[]`));
  }
  if (schema.type === 'boolean') return random() < 0.3;
  if (schema.type === 'integer') {
    const { minimum = 0, maximum = 100 } = schema;
    return minimum + Math.floor(random() * (Math.min(maximum, minimum + 20) - minimum + 1));
  }
  throw new Error(`no hint for ${path}, which is a ${schema.type}`);
}

function objectOf(schema: Schema, hints: Hints, random: Random, path: string): JsonObject {
  const { required = [], properties = {}, additionalProperties } = schema;
  const chosen = Object.entries(properties).filter(([name]) => required.includes(name) || random() < 0.5);
  const result: JsonObject = Object.fromEntries(
    chosen.map(([name, each]) => [name, valueOf(each, hints, random, `${path}.${name}`)]),
  );
  if (additionalProperties !== undefined)
    result['team'] = valueOf(additionalProperties, hints, random, `${path}{}`);
  return result;
}

/** The fields of a value that the schema does not allow, by their paths. */
export function breachesOf(schema: Schema, value: Json | undefined, path: string): string[] {
  if (isRefused(schema, value)) return [path];
  if (Array.isArray(value))
    return value.flatMap((each, i) => breachesOf(schema.items ?? {}, each, `${path}[${i}]`));
  if (!isObject(value)) return [];
  const { required = [], properties = {}, additionalProperties = {} } = schema;
  const missing = required.filter((name) => value[name] === undefined).map((name) => `${path}.${name}`);
  const inside = Object.entries(value).flatMap(([name, each]) =>
    breachesOf(properties[name] ?? additionalProperties, each, `${path}.${name}`),
  );
  return [...missing, ...inside];
}

/** As it is, whatever is inside. */
function isRefused(schema: Schema, value: Json | undefined): boolean {
  if (value === undefined || (schema.type !== undefined && schema.type !== typeOf(value))) return true;
  if (schema.enum !== undefined && !schema.enum.includes(value)) return true;
  if (typeof value === 'string') {
    const { pattern = '', minLength, maxLength } = schema;
    return !new RegExp(pattern, 'u').test(value) || isOutside(value.length, minLength, maxLength);
  }
  if (Array.isArray(value)) return isOutside(value.length, schema.minItems, schema.maxItems);
  return typeof value === 'number' && isOutside(value, schema.minimum, schema.maximum);
}

function isOutside(value: number, least = -Infinity, most = Infinity): boolean {
  return value < least || value > most;
}

function typeOf(value: Json): string {
  if (Array.isArray(value)) return 'array';
  if (value === null) return 'null';
  return typeof value === 'number' && Number.isInteger(value) ? 'integer' : typeof value;
}

export function pick<T>(all: readonly T[], random: Random): T {
  return all[Math.floor(random() * all.length)] as T;
}
