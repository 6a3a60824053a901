/** The three kinds of patches that the controller and its tests send, as the apiserver applies them. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json | undefined;
}

interface Operation {
  op: 'add' | 'replace' | 'remove' | 'test';
  path: string;
  value?: Json;
}

/** RFC 6902, but for `move` and `copy`. Throws with the apiserver's kind of words when an operation does not apply. */
export function jsonPatched(object: JsonObject, operations: readonly Operation[]): JsonObject {
  let result: Json = object;
  for (const operation of operations)
    result = patchedAt(result, operation.path.slice(1).split('/').map(unescaped), operation);
  return result as JsonObject;
}

/** Copies what lies on the path and shares the rest. */
function patchedAt(
  at: Json | undefined,
  [token = '', ...rest]: readonly string[],
  operation: Operation,
): Json {
  if (typeof at !== 'object' || at === null) throw notThere(operation);
  const copy = Array.isArray(at) ? [...at] : { ...at };
  if (rest.length === 0) {
    if (Array.isArray(copy)) patchList(copy, token, operation);
    else patchObject(copy, token, operation);
  } else if (Array.isArray(copy)) copy[Number(token)] = patchedAt(copy[Number(token)], rest, operation);
  else copy[token] = patchedAt(copy[token], rest, operation);
  return copy;
}

function patchObject(parent: JsonObject, key: string, operation: Operation): void {
  const { op, value } = operation;
  if (op !== 'add' && parent[key] === undefined) throw notThere(operation);
  if (op === 'remove') delete parent[key];
  else if (op === 'test') {
    if (JSON.stringify(parent[key]) !== JSON.stringify(value)) throw notThere(operation);
  } else parent[key] = value;
}

function patchList(parent: Json[], key: string, operation: Operation): void {
  const { op, value = null } = operation;
  const index = key === '-' ? parent.length : Number(key);
  if (!(index <= parent.length) || (op !== 'add' && index === parent.length)) throw notThere(operation);
  if (op === 'remove') parent.splice(index, 1);
  else if (op === 'add') parent.splice(index, 0, value);
  else parent[index] = value;
}

function unescaped(token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~');
}

function notThere({ op, path }: Operation): Error {
  return new Error(`the server rejected our request due to an error in our request: ${op} ${path}`);
}

/** RFC 7386. */
export function merged(object: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(object) ? { ...object } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else if (value !== undefined) result[key] = merged(result[key], value);
  }
  return result;
}

/** Strategic merge, as far as it is used: lists of conditions are merged by `type`, `$patch: delete` takes one out. */
export function strategicallyMerged(object: Json | undefined, patch: Json, key = ''): Json {
  if (key === 'conditions' && Array.isArray(patch)) return mergedConditions(object, patch);
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(object) ? { ...object } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else if (value !== undefined) result[name] = strategicallyMerged(result[name], value, name);
  }
  return result;
}

function mergedConditions(object: Json | undefined, patch: Json[]): Json[] {
  const result = new Map<unknown, JsonObject>();
  for (const each of Array.isArray(object) ? object : []) if (isObject(each)) result.set(each['type'], each);
  for (const each of patch) {
    if (!isObject(each)) continue;
    const { $patch: directive, ...condition } = each;
    if (directive === 'delete') result.delete(condition['type']);
    else result.set(condition['type'], { ...result.get(condition['type']), ...condition });
  }
  return [...result.values()];
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The same value: the order of keys does not count, and undefined is absent. */
export function equal(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((each, i) => equal(each, b[i]));
  if (!isObject(a) || !isObject(b)) return false;
  for (const key in a) if (!equal(a[key], b[key])) return false;
  for (const key in b) if (a[key] === undefined && b[key] !== undefined) return false;
  return true;
}
