import { isMalformed } from '../allocation/decide.ts';
import { type Range } from '../allocation/range.ts';
import { readRequest } from '../allocation/request.ts';
import type { LedgerView, NamespaceView } from '../allocation/types.ts';
import type { PortRange } from '../api/portRange.ts';
import { byAge, type ServiceView } from '../api/service.ts';
import type { KubeObject } from '../kube/transport.ts';

/** A PortRange as the cache keeps it. */
export interface PortRangeView {
  /** Its name. */
  readonly key: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly object: PortRange;
}

export function toPortRangeView(raw: KubeObject): PortRangeView {
  const { name, uid, resourceVersion } = raw.metadata;
  const { managedFields: _, annotations: __, ...metadata } = raw.metadata;
  return { key: name, uid, resourceVersion, object: { ...raw, metadata } as unknown as PortRange };
}

export function toNamespaceView({ metadata }: KubeObject): NamespaceView {
  const { name, uid, resourceVersion, labels = {} } = metadata;
  return { key: name, uid, resourceVersion, labels };
}

/** Whether anything about this Service can ever be written: it asks, it shows a condition of ours, or it holds. */
export function concernsUs(service: ServiceView, ledger: LedgerView): boolean {
  return (
    service.condition !== undefined || readRequest(service) !== null || ledger.entriesOf(service.uid).size > 0
  );
}

/** Services take turns by the range that they ask first, so that a burst on one range does not starve another's. */
export function laneOf(service: ServiceView): string {
  const request = readRequest(service);
  return request === null || isMalformed(request) ? '' : (request.ranges[0] ?? '');
}

/** In the order in which they are asked at start: holders, then the others, each by age. */
export function inOrder(services: Iterable<ServiceView>, ledger: LedgerView): ServiceView[] {
  const rank = (service: ServiceView): number =>
    service.condition?.status === 'True' || ledger.entriesOf(service.uid).size > 0 ? 0 : 1;
  return [...services]
    .filter((service) => concernsUs(service, ledger))
    .toSorted((a, b) => rank(a) - rank(b) || byAge(a, b));
}

/** Whether a PortRange event can change a decision: a status write of ours cannot. */
export function changesDecisions(
  before: PortRangeView | undefined,
  after: PortRangeView | undefined,
): boolean {
  return (
    before?.uid !== after?.uid || before?.object.metadata.generation !== after?.object.metadata.generation
  );
}

/** Whether a Namespace event can change a decision. */
export function changesAdmission(
  before: NamespaceView | undefined,
  after: NamespaceView | undefined,
): boolean {
  return JSON.stringify(before?.labels) !== JSON.stringify(after?.labels);
}

/** The ranges whose counts a changed number concerns. */
export function rangesWith(
  ports: ReadonlySet<number>,
  ranges: Iterable<Range>,
  has: (range: Range, port: number) => boolean,
): string[] {
  const names: string[] = [];
  for (const range of ranges) {
    for (const port of ports) {
      if (!has(range, port)) continue;
      names.push(range.name);
      break;
    }
  }
  return names;
}
