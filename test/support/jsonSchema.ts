/** The part of JSON Schema (draft 7) that schemas generated from types consist of. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
}

/** What is wrong with the value, each with its place: `/panels/0/type: is none of …`. Empty: nothing. */
export function faultsOf(root: Schema & { definitions: Record<string, Schema> }, value: unknown): string[] {
  return faults(root, value, '');

  function faults(schema: Schema, value: unknown, at: string): string[] {
    if (schema.$ref !== undefined) {
      const target = root.definitions[decodeURIComponent(schema.$ref.replace('#/definitions/', ''))];
      return target === undefined ? [`${at}: ${schema.$ref} is not defined`] : faults(target, value, at);
    }
    if (schema.anyOf !== undefined) {
      const tried = schema.anyOf.map((option) => faults(option, value, at));
      // The nearest one tells most.
      return tried.toSorted((a, b) => a.length - b.length)[0] ?? [];
    }
    const { const: one, enum: several = one === undefined ? undefined : [one] } = schema;
    if (several !== undefined && !several.includes(value)) return [`${at}: is none of ${several.join(', ')}`];
    const types = [schema.type ?? []].flat();
    if (types.length > 0 && !types.some((type) => isOf(type, value)))
      return [`${at}: is no ${types.join(' or ')}`];
    if (Array.isArray(value)) {
      const { items } = schema;
      return items === undefined ? [] : value.flatMap((item, i) => faults(items, item, `${at}/${i}`));
    }
    return typeof value === 'object' && value !== null ? inObject(schema, { ...value }, at) : [];
  }

  function inObject(schema: Schema, value: Record<string, unknown>, at: string): string[] {
    const { properties = {}, required = [], additionalProperties = true } = schema;
    const missing = required
      .filter((name) => value[name] === undefined)
      .map((name) => `${at}: ${name} is missing`);
    const wrong = Object.entries(value).flatMap(([name, item]) => {
      const known = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
      if (known === false) return [`${at}: ${name} is unknown`];
      return known === true || known === undefined ? [] : faults(known, item, `${at}/${name}`);
    });
    return [...missing, ...wrong];
  }
}

function isOf(type: string, value: unknown): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  return type === 'integer' ? Number.isInteger(value) : typeof value === type;
}
