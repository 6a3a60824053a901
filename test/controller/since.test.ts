import { expect, test } from 'vitest';
import { compileRanges } from '../../src/allocation/range.ts';
import { readRequest } from '../../src/allocation/request.ts';
import { type RawService, toServiceView } from '../../src/api/service.ts';
import { toNamespaceView, toPortRangeView } from '../../src/controller/inputs.ts';
import type { KubeObject } from '../../src/kube/transport.ts';

const at = (hour: number): string => `2026-01-01T0${hour}:00:00Z`;
const fields = (manager: string, hour: number, fieldsV1: object): object => ({
  manager,
  time: at(hour),
  fieldsV1,
});
const SPEC = fields('kubectl', 3, { 'f:spec': { 'f:assignment': {}, 'f:ranges': {} } });
const STATUS = { ...fields('nodeport-manager', 9, { 'f:status': {} }), subresource: 'status' };
const ANNOTATED = fields('kubectl-annotate', 4, {
  'f:metadata': { 'f:annotations': { 'f:nodeport-manager.io/range': {} } },
});
const labelled = (hour: number): object =>
  fields('kubectl-label', hour, { 'f:metadata': { 'f:labels': { 'f:team': {} } } });

function portRange(spec: object, managedFields: readonly object[]): KubeObject {
  const metadata = { name: 'r', uid: 'r', resourceVersion: '1', creationTimestamp: at(1), managedFields };
  const declared = { ranges: [{ from: 30_100, to: 30_109 }], assignment: 'Automatic', ...spec };
  return { metadata, spec: declared } as unknown as KubeObject;
}

/** Since when the default is in force, in hours; undefined: no default reaches the Service. */
function reachedSince(
  range: KubeObject | undefined,
  of: { namespace?: readonly object[]; annotations?: object; service?: readonly object[] } = {},
): number | undefined {
  const { namespace = [], annotations = {}, service = [] } = of;
  const meta = { uid: 'x', resourceVersion: '1', creationTimestamp: at(2), labels: { team: 'a' } };
  const inNamespace = toNamespaceView({
    metadata: { ...meta, name: 'a', annotations, managedFields: namespace },
  } as unknown as KubeObject);
  const view = toServiceView({
    metadata: { ...meta, name: 'web', namespace: 'a', managedFields: service },
    spec: { type: 'NodePort', ports: [{ port: 80, nodePort: 31_000 }] },
  } satisfies RawService);
  const ranges = compileRanges(range === undefined ? [] : [toPortRangeView(range)]);
  const request = readRequest(view, inNamespace, ranges);
  return request?.since === undefined ? undefined : new Date(request.since).getUTCHours();
}

test("the default of a Namespace is in force since its annotation's owner wrote it", () => {
  const annotations = { 'nodeport-manager.io/range': 'r' };
  expect(reachedSince(undefined, { annotations, namespace: [ANNOTATED, labelled(5)] })).toBe(4);
});

test('an Automatic PortRange reaches a Service since its spec says so: widened later, since then', () => {
  expect(reachedSince(portRange({}, [SPEC, STATUS]))).toBe(3);
  const widened = fields('argocd', 5, { 'f:spec': { 'f:namespaces': {} } });
  expect(reachedSince(portRange({ namespaces: ['a'] }, [SPEC, widened, STATUS]))).toBe(5);
});

test('one that selects Namespaces reaches a Service since the labels of its Namespace are what they are', () => {
  const range = portRange({ namespaceSelector: { matchLabels: { team: 'a' } } }, [SPEC]);
  expect(reachedSince(range, { namespace: [labelled(6)] })).toBe(6);
  expect(reachedSince(portRange({}, [SPEC]), { namespace: [labelled(6)] })).toBe(3);
});

test('one that selects Services reaches a Service since its labels are what they are', () => {
  const range = portRange({ serviceSelector: { matchLabels: { team: 'a' } } }, [SPEC]);
  expect(reachedSince(range, { service: [labelled(7)] })).toBe(7);
  expect(reachedSince(portRange({}, [SPEC]), { service: [labelled(7)] })).toBe(3);
});
