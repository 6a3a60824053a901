import { isObject, type Json, type JsonObject } from './patches.ts';

/** What one field manager owns of an object: leaves, as JSON texts of their paths. */
interface Owner {
  readonly manager: string;
  readonly subresource: string;
  time: string;
  readonly fields: Set<string>;
}

export type Owners = readonly Owner[];

/**
 * Field ownership after an Update: who changes a field owns it, alone; a field that is gone is nobody's. `requested` is
 * the object before the server fills in what it allocates, so that a random nodePort has no owner, and an Update
 * without nodePorts takes the ownership of those that are kept (measured on kube-apiserver 1.36).
 */
export function ownersAfter(
  owners: Owners,
  before: JsonObject | undefined,
  requested: JsonObject,
  who: { manager: string; subresource: string; time: string },
): Owners {
  const [old, now] = [leavesOf(before ?? {}), leavesOf(requested)];
  const changed = [...now].filter(([path, value]) => old.get(path) !== value).map(([path]) => path);
  const next = owners.map((owner) => ({ ...owner, fields: new Set(owner.fields) }));
  for (const { fields } of next) {
    for (const path of fields) if (!now.has(path) || changed.includes(path)) fields.delete(path);
  }
  if (changed.length > 0) {
    let own = next.find((o) => o.manager === who.manager && o.subresource === who.subresource);
    if (own === undefined) next.push((own = { ...who, fields: new Set() }));
    own.time = who.time;
    for (const path of changed) own.fields.add(path);
  }
  return next.filter(({ fields }) => fields.size > 0);
}

/** As `metadata.managedFields` shows it. */
export function managedFieldsOf(owners: Owners): Json[] {
  return owners.map(({ manager, subresource, time, fields }) => {
    const fieldsV1: JsonObject = {};
    for (const path of fields) {
      let at = fieldsV1;
      for (const token of JSON.parse(path) as string[]) at = (at[token] ??= {}) as JsonObject;
    }
    const entry = { manager, operation: 'Update', time, fieldsType: 'FieldsV1', fieldsV1 };
    return subresource === '' ? entry : { ...entry, subresource };
  });
}

/** Path → value of everything below labels, annotations, spec, data and status. Lists are leaves, but for ports. */
function leavesOf({ metadata, spec, data, status }: JsonObject): Map<string, string> {
  const leaves = new Map<string, string>();
  const { labels, annotations } = isObject(metadata) ? metadata : {};
  visit({ metadata: { labels, annotations }, spec, data, status }, []);
  return leaves;

  function visit(value: Json | undefined, path: readonly string[]): void {
    if (value === undefined) return;
    const isPorts = path.length === 2 && path[1] === 'f:ports';
    if (isPorts && Array.isArray(value)) {
      for (const each of value) if (isObject(each)) visit(each, [...path, keyOfPort(each)]);
    } else if (isObject(value)) {
      for (const [key, each] of Object.entries(value)) visit(each, [...path, `f:${key}`]);
    } else leaves.set(JSON.stringify(path), JSON.stringify(value));
  }
}

function keyOfPort({ port, protocol = 'TCP' }: JsonObject): string {
  return `k:${JSON.stringify({ port, protocol })}`;
}
