export type JsonPatchOperation = { op: 'add' | 'replace' | 'remove' | 'test'; path: string; value?: unknown };

/**
 * A JSON Patch (RFC 6902) that applies to this revision only. The resourceVersion is replaced, not tested: a stale
 * one then answers a proper 409 Conflict, whereas a failed `test` answers 422 with a generic message (measured on
 * kube-apiserver 1.36).
 */
export function jsonPatch(
  resourceVersion: string,
  operations: readonly JsonPatchOperation[],
): JsonPatchOperation[] {
  return [{ op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion }, ...operations];
}

/** One reference token of a JSON Pointer (RFC 6901 §3): a key such as an annotation's name, which has a slash. */
export function escapePointer(token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1');
}
