/** Removes a member of the set or map under a key, and the key with its last one. */
export function deleteFrom<K, M>(
  all: Map<K, { delete(member: M): boolean; readonly size: number }>,
  key: K,
  member: M,
): void {
  const members = all.get(key);
  members?.delete(member);
  if (members?.size === 0) all.delete(key);
}
