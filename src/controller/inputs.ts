import { admits, type Range, type RangeSource } from '../allocation/range.ts';
import { isMalformed, rangesAsked, readRequest } from '../allocation/request.ts';
import type { LedgerView, NamespaceView } from '../allocation/types.ts';
import { LABELS, ownedSince } from '../api/managedFields.ts';
import { ANNOTATION } from '../api/names.ts';
import type { PortRange } from '../api/portRange.ts';
import { byAge, type ServiceView, waitsSince } from '../api/service.ts';
import type { Store } from '../kube/store.ts';
import type { KubeObject } from '../kube/transport.ts';

/** A PortRange as the cache keeps it. */
export interface PortRangeView extends RangeSource {
  /** Its name. */
  readonly key: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

export function toPortRangeView(raw: KubeObject): PortRangeView {
  const { name, uid, resourceVersion } = raw.metadata;
  const { managedFields, annotations: _, ...metadata } = raw.metadata;
  const object = { ...raw, metadata } as unknown as PortRange;
  return { key: name, uid, resourceVersion, object, assignmentSince: ownedSince(managedFields, SPEC) };
}

export function toNamespaceView({ metadata }: KubeObject): NamespaceView {
  const { name, uid, resourceVersion, labels = {}, annotations, managedFields } = metadata;
  const value = annotations?.[ANNOTATION.range];
  const labelsSince = ownedSince(managedFields, LABELS);
  const view = { key: name, uid, resourceVersion, labels, labelsSince };
  return value === undefined
    ? view
    : { ...view, rangeDefault: { value, since: ownedSince(managedFields, RANGE_DEFAULT) } };
}

/** All of it: what was widened later reaches more Services only since then. */
const SPEC = ['f:spec'];
const RANGE_DEFAULT = ['f:metadata', 'f:annotations', `f:${ANNOTATION.range}`];

/** What tells which Services ask for something. */
export interface Surroundings {
  readonly namespaces: Pick<Store<NamespaceView>, 'get'>;
  readonly ranges: () => ReadonlyMap<string, Range>;
}

/** Whether anything about this Service can ever be written: it asks, it shows a condition of ours, or it holds. */
export function concernsUs(
  service: ServiceView,
  ledger: LedgerView,
  { namespaces, ranges }: Surroundings,
): boolean {
  return (
    service.condition !== undefined ||
    ledger.entriesOf(service.uid).size > 0 ||
    readRequest(service, namespaces.get(service.namespace), ranges()) !== null
  );
}

/** In the order in which they are asked: holders, then who names numbers (who waits for one since long first), then the others, each by age. */
export function inOrder(
  services: Iterable<ServiceView>,
  ledger: LedgerView,
  around: Surroundings,
): ServiceView[] {
  const rank = (service: ServiceView): number => {
    if (service.condition?.status === 'True' || ledger.entriesOf(service.uid).size > 0) return 0;
    return service.annotations[ANNOTATION.ports] === undefined ? 2 : 1;
  };
  return [...services]
    .filter((service) => concernsUs(service, ledger, around))
    .toSorted((a, b) => rank(a) - rank(b) || namedSince(a) - namedSince(b) || byAge(a, b));
}

/** The PortRanges that it asks, in order, as far as they exist and admit it: what others have of these concerns it. */
export function rangesAskedBy(service: ServiceView, { namespaces, ranges }: Surroundings): readonly string[] {
  const namespace = namespaces.get(service.namespace);
  const request = readRequest(service, namespace, ranges());
  if (request === null || isMalformed(request)) return [];
  return rangesAsked(request, service, namespace, ranges()).filter((name) => {
    const range = ranges().get(name);
    return range !== undefined && admits(range, service, namespace);
  });
}

/** Who waits for a number since then is asked before those who name it later, also after a restart. */
function namedSince(service: ServiceView): number {
  return waitsSince(service) ?? Number.MAX_SAFE_INTEGER;
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
  return (
    before?.rangeDefault?.value !== after?.rangeDefault?.value ||
    JSON.stringify(before?.labels) !== JSON.stringify(after?.labels)
  );
}
