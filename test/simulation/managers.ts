import { equal, isObject, type Json, type JsonObject } from './patches.ts';

/** What one field manager owns of an object: leaves, as JSON texts of their paths. Never changed, so that it can be shared. */
interface Owner {
  readonly manager: string;
  readonly subresource: string;
  readonly time: string;
  readonly fields: ReadonlySet<string>;
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
  const found: Differences = { changed: [], gone: [] };
  compare(owned(before ?? {}), owned(requested), [], found);
  const { changed, gone } = found;
  if (changed.length === 0 && gone.length === 0) return owners;
  const isWho = ({ manager, subresource }: Owner): boolean =>
    manager === who.manager && subresource === who.subresource;
  const next = owners.map((owner) =>
    isWho(owner) && changed.length > 0
      ? { ...who, fields: minus([...owner.fields, ...changed], gone) }
      : without(owner, [...changed, ...gone]),
  );
  if (changed.length > 0 && !owners.some(isWho)) next.push({ ...who, fields: new Set(changed) });
  return next.filter(({ fields }) => fields.size > 0);
}

function without(owner: Owner, paths: readonly string[]): Owner {
  if (!paths.some((path) => owner.fields.has(path))) return owner;
  return { ...owner, fields: minus(owner.fields, paths) };
}

function minus(all: Iterable<string>, some: readonly string[]): ReadonlySet<string> {
  const rest = new Set(all);
  for (const each of some) rest.delete(each);
  return rest;
}

const shown = new WeakMap<Owner, Json>();

/** As `metadata.managedFields` shows it. */
export function managedFieldsOf(owners: Owners): Json[] {
  return owners.map((owner) => {
    let entry = shown.get(owner);
    if (entry === undefined) shown.set(owner, (entry = entryOf(owner)));
    return entry;
  });
}

function entryOf({ manager, subresource, time, fields }: Owner): Json {
  const fieldsV1: JsonObject = {};
  for (const path of fields) {
    let at = fieldsV1;
    for (const token of JSON.parse(path) as string[]) at = (at[token] ??= {}) as JsonObject;
  }
  const entry = { manager, operation: 'Update', time, fieldsType: 'FieldsV1', fieldsV1 };
  return subresource === '' ? entry : { ...entry, subresource };
}

/** Paths of leaves. */
interface Differences {
  readonly changed: string[];
  readonly gone: string[];
}

/** What has owners: everything below labels, annotations, spec, data and status. */
function owned({ metadata, spec, data, status }: JsonObject): JsonObject {
  const { labels, annotations } = isObject(metadata) ? metadata : {};
  return { 'f:metadata': { labels, annotations }, 'f:spec': spec, 'f:data': data, 'f:status': status };
}

function compare(
  before: Json | undefined,
  now: Json | undefined,
  path: readonly string[],
  found: Differences,
): void {
  if (equal(before, now)) return;
  const [old, next] = [partsOf(before, path), partsOf(now, path)];
  if (before !== undefined && old === undefined && next !== undefined) found.gone.push(JSON.stringify(path));
  if (now !== undefined && next === undefined) found.changed.push(JSON.stringify(path));
  else if (old === undefined && next === undefined) found.gone.push(JSON.stringify(path));
  for (const token of new Set([...(old?.keys() ?? []), ...(next?.keys() ?? [])]))
    compare(old?.get(token), next?.get(token), [...path, token], found);
}

/** Undefined: a leaf. Lists are leaves, but for ports. */
function partsOf(
  value: Json | undefined,
  path: readonly string[],
): Map<string, Json | undefined> | undefined {
  if (path.length === 2 && path[1] === 'f:ports' && Array.isArray(value))
    return new Map(value.filter(isObject).map((port) => [keyOfPort(port), port]));
  if (!isObject(value)) return undefined;
  // The first step is named already.
  return new Map(Object.entries(value).map(([key, each]) => [path.length === 0 ? key : `f:${key}`, each]));
}

function keyOfPort({ port, protocol = 'TCP' }: JsonObject): string {
  return `k:${JSON.stringify({ port, protocol })}`;
}
