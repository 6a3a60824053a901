/** One entry of `metadata.managedFields`. */
export interface ManagedFields {
  readonly manager?: string;
  /** When that manager last changed anything that it owns. */
  readonly time?: string;
  readonly fieldsV1?: FieldSet;
}

export interface FieldSet {
  readonly [field: string]: FieldSet | undefined;
}

/** Where the labels of an object are. */
export const LABELS = ['f:metadata', 'f:labels'];

/** What a manager owns below a path such as `['f:spec', 'f:ports']`; undefined: nothing. */
export function ownedBelow(entry: ManagedFields, path: readonly string[]): FieldSet | undefined {
  let fields = entry.fieldsV1;
  for (const field of path) fields = fields?.[field];
  return fields;
}

/** Who changed the object last, beside us and not before our own last change of it; undefined: that is not remembered. */
export function lastOther(entries: readonly unknown[] | undefined, us: string): string | undefined {
  let since = 0;
  let last: string | undefined;
  for (const entry of (entries ?? []) as readonly ManagedFields[]) {
    if (entry.manager === us) since = Math.max(since, timeOf(entry));
  }
  for (const entry of (entries ?? []) as readonly ManagedFields[]) {
    if (entry.manager === us || timeOf(entry) < since) continue;
    since = timeOf(entry);
    last = entry.manager;
  }
  return last;
}

function timeOf({ time = '' }: ManagedFields): number {
  return Date.parse(time) || 0;
}

/** The latest time of an entry that owns this field, ms since 1970; 0 when nobody does. */
export function ownedSince(entries: readonly unknown[] | undefined, path: readonly string[]): number {
  let since = 0;
  for (const entry of (entries ?? []) as readonly ManagedFields[]) {
    if (ownedBelow(entry, path) === undefined) continue;
    const time = Date.parse(entry.time ?? '');
    if (time > since) since = time;
  }
  return since;
}
