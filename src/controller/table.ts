import { formatEntry, parseEntry } from '../allocation/entry.ts';
import type { Entry } from '../allocation/types.ts';
import { lastOther } from '../api/managedFields.ts';
import { FIELD_MANAGER, TABLE } from '../api/names.ts';
import type { KubeObject } from '../kube/transport.ts';
import type { Port } from '../ports/portSet.ts';

/** Numbers a ConfigMap holds: small enough that writing one stays cheap (a PUT of 250 entries takes about 5 ms). */
const BLOCK_SIZE = 250;

/** A block of the allocation table as the cache keeps it. */
export interface BlockView {
  /** namespace/name */
  readonly key: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** As found; undefined where the annotation is missing. */
  readonly version: string | undefined;
  /** Whoever wrote it last: `7/host_9f3c`. */
  readonly stamp: string;
  /** The field manager beside ours that changed it last; undefined: that is not remembered. */
  readonly editor: string | undefined;
  /** Number → entry, as texts. */
  readonly data: Readonly<Record<string, string>>;
}

export function toBlockView({ metadata, data }: KubeObject): BlockView {
  return {
    key: `${metadata.namespace}/${metadata.name}`,
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    version: metadata.annotations?.[TABLE.versionAnnotation],
    stamp: metadata.annotations?.[TABLE.epochAnnotation] ?? '',
    editor: lastOther(metadata.managedFields, FIELD_MANAGER),
    data: (data ?? {}) as Record<string, string>,
  };
}

/** `nodeport-table-30250` for 30,250–30,499. */
export function blockNameOf(port: Port): string {
  return `${TABLE.prefix}${Math.floor(port / BLOCK_SIZE) * BLOCK_SIZE}`;
}

/** The numbers of a block; undefined when that is not a block's name. */
export function numbersOfBlock(name: string): Port[] | undefined {
  const start = Number(name.slice(TABLE.prefix.length));
  // Only as we spell it: `nodeport-table-3e4` would be a second block for the same numbers.
  const isBlock = start >= 0 && start < 65_536 && name === blockNameOf(start);
  return isBlock ? Array.from({ length: BLOCK_SIZE }, (_, i) => start + i) : undefined;
}

/** A newer version of us wrote it: we cannot know what it means, so we neither write it nor allocate in it. */
export function isNewer({ version }: Pick<BlockView, 'version'>): boolean {
  return version !== undefined && /^\d+$/.test(version) && Number(version) > TABLE.version;
}

/** The number of the epoch in a stamp; 0 where there is none. */
export function epochOf(stamp: string): number {
  return Number(/^(\d+)\//.exec(stamp)?.[1] ?? 0);
}

/** A block as it is written. */
export function blockObject(options: {
  namespace: string;
  name: string;
  stamp: string;
  resourceVersion?: string;
  data: Readonly<Record<string, string>>;
}): unknown {
  const { namespace, name, stamp, resourceVersion, data } = options;
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      namespace,
      name,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      labels: { 'app.kubernetes.io/managed-by': 'nodeport-manager', [TABLE.label]: 'true' },
      annotations: { [TABLE.versionAnnotation]: String(TABLE.version), [TABLE.epochAnnotation]: stamp },
    },
    data,
  };
}

/** The texts after these changes. */
export function merged(
  expected: Readonly<Record<string, string>>,
  changes: ReadonlyMap<Port, Entry | undefined> = new Map(),
): Record<string, string> {
  const data = { ...expected };
  for (const [port, entry] of changes) {
    if (entry === undefined) delete data[port];
    else data[port] = formatEntry(entry);
  }
  return data;
}

/** What parses of a block. */
export function readableEntries(view: BlockView): [Port, Entry][] {
  const numbers = new Set(numbersOfBlock(view.name));
  return Object.entries(view.data).flatMap(([key, text]): [Port, Entry][] => {
    const entry = parseEntry(text);
    return entry === undefined || !numbers.has(Number(key)) ? [] : [[Number(key), entry]];
  });
}

/** Whether all of it is ours and understood. */
export function isReadable(view: BlockView): boolean {
  return view.version === '1' && readableEntries(view).length === Object.keys(view.data).length;
}

export function sameData(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

export function bytesOf(data: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const [key, text] of Object.entries(data)) bytes += key.length + Buffer.byteLength(text);
  return bytes;
}
