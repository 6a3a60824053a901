/** What the controller relies on of the other kinds that it reads and writes: cases for both apiservers. */
import { expect } from 'vitest';
import { portRange, RANGES } from '../../e2e/support/objects.ts';
import { type Answer, type Call, type Case, CONFIG_MAPS } from './conformance.ts';

interface Whole {
  metadata: { uid: string; resourceVersion: string; generation: number; labels?: Record<string, string> };
  spec: object;
  status?: object;
}

const STRATEGIC = 'application/strategic-merge-patch+json';
const MERGE = 'application/merge-patch+json';
const LEASES = '/apis/coordination.k8s.io/v1/namespaces/default/leases';
/** By kind: how a replacement is refused when there is none. A Lease may be made by one, but not under a used UID. */
const COMPARED = {
  Lease: ['coordination.k8s.io/v1', LEASES, [409, 'Conflict']],
  ConfigMap: ['v1', CONFIG_MAPS, [404, 'NotFound']],
} as const;

/** Name → case. Each makes objects of its own names. */
export const OBJECT_CASES: Readonly<Record<string, Case>> = {
  'of two that create a Lease one has it, of two that replace it the first': async (call) => {
    const lease = (holderIdentity: string, metadata: object = {}): object => ({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'raced', ...metadata },
      spec: { holderIdentity, leaseDurationSeconds: 10, renewTime: '2026-01-01T00:00:00.000000Z' },
    });
    const made = await call('POST', LEASES, lease('a'));
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    expect(outcome(await call('POST', LEASES, lease('b')))).toEqual([409, 'AlreadyExists']);
    const { resourceVersion } = (made.body as unknown as Whole).metadata;
    const replaced = await call('PUT', `${LEASES}/raced`, lease('b', { resourceVersion }));
    expect(replaced.body['spec']).toEqual((lease('b') as Whole).spec);
    expect(outcome(await call('PUT', `${LEASES}/raced`, lease('a', { resourceVersion })))).toEqual([
      409,
      'Conflict',
    ]);
    expect((await call('GET', `${LEASES}/raced`)).body).toEqual(replaced.body);
  },

  ...Object.fromEntries(
    Object.entries(COMPARED).map(([kind, [apiVersion, path, whenGone]]): [string, Case] => [
      `a ${kind} that was deleted, or made again, is not replaced at the revision that it had`,
      async (call) => {
        const made = await call('POST', path, { apiVersion, kind, metadata: { name: 'gone' } });
        await call('DELETE', `${path}/gone`);
        expect(outcome(await call('PUT', `${path}/gone`, made.body))).toEqual(whenGone);
        await call('POST', path, { apiVersion, kind, metadata: { name: 'gone' } });
        expect(outcome(await call('PUT', `${path}/gone`, made.body))).toEqual([409, 'Conflict']);
      },
    ]),
  ),

  'the status of a PortRange is a write of its own: it leaves the spec, and its generation': async (call) => {
    const before = await createRange(call, 'own-status', 30_000, 30_009);
    const patch = { spec: { paused: true }, status: { free: 7 } };
    const { status, body } = await call('PATCH', `${RANGES}/own-status/status`, patch, MERGE);
    expect(status, JSON.stringify(body)).toBe(200);
    const after = body as unknown as Whole;
    expect(after.spec).toEqual(before.spec);
    expect(after.metadata.generation).toBe(before.metadata.generation);
    expect(after.status).toEqual({ free: 7 });
  },

  'the status of a Service is a write of its own: it leaves the spec': async (call) => {
    const path = '/api/v1/namespaces/default/services';
    const spec = { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30_280 }] };
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'own-status' }, spec };
    const made = (await call('POST', path, service)).body as unknown as Whole;
    const ports = [{ name: 'http', port: 80, nodePort: 30_281 }];
    const condition = {
      type: 'Ready',
      status: 'True',
      reason: 'R',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    const patch = { spec: { ports }, status: { conditions: [condition] } };
    const { status, body } = await call('PATCH', `${path}/own-status/status`, patch, STRATEGIC);
    expect(status, JSON.stringify(body)).toBe(200);
    expect([body['spec'], body['status']]).toMatchObject([made.spec, { conditions: [condition] }]);
    expect((await call('GET', `${path}/own-status`)).body['spec']).toEqual(made.spec);
  },

  'an edited spec of a PortRange counts its generation up, and leaves the status': async (call) => {
    const before = await createRange(call, 'own-spec', 30_010, 30_019);
    await call('PATCH', `${RANGES}/own-spec/status`, { status: { free: 7 } }, MERGE);
    const patch = { spec: { paused: true }, status: { free: 8 } };
    const after = (await call('PATCH', `${RANGES}/own-spec`, patch, MERGE)).body as unknown as Whole;
    expect(after.spec).toEqual({ ...before.spec, paused: true });
    expect(after.metadata.generation).toBe(before.metadata.generation + 1);
    expect(after.status).toEqual({ free: 7 });
    const labels = { metadata: { labels: { a: 'b' } } };
    const same = (await call('PATCH', `${RANGES}/own-spec`, labels, MERGE)).body as unknown as Whole;
    expect(same.metadata.generation).toBe(after.metadata.generation);
  },

  'a PortRange whose spec the schema does not allow is refused, when it is made and when it is edited':
    async (call) => {
      const refused: Record<string, object> = {
        'spec.ranges': { ranges: [] },
        'spec.ranges[0].from': { ranges: [{ from: 0 }] },
        'spec.ranges[0].to': { ranges: [{ from: 30_000, to: 65_536 }] },
        'spec.assignment': { assignment: 'Sometimes' },
        'spec.cooldown': { cooldown: 'a while' },
        'spec.paused': { paused: 'yes' },
      };
      await createRange(call, 'valid', 30_020, 30_029);
      for (const [field, spec] of Object.entries(refused)) {
        const made = await call('POST', RANGES, portRange('invalid', 30_000, 30_009, spec));
        expect(refusal(made), field).toEqual([422, 'Invalid', field]);
        const edited = await call('PATCH', `${RANGES}/valid`, { spec }, MERGE);
        expect(refusal(edited), field).toEqual([422, 'Invalid', field]);
      }
      expect((await call('GET', `${RANGES}/invalid`)).status).toBe(404);
    },

  'a Namespace has its name as a label, and a watch tells its labels and annotations': async (
    call,
    { watch },
  ) => {
    const path = '/api/v1/namespaces';
    const name = 'conformance';
    const metadata = { name, labels: { team: 'x' } };
    const made = await call('POST', path, { apiVersion: 'v1', kind: 'Namespace', metadata });
    const labels = { team: 'x', 'kubernetes.io/metadata.name': name };
    const { metadata: at } = made.body as unknown as Whole;
    expect(at.labels).toEqual(labels);
    const stream = await watch(`${path}?resourceVersion=${at.resourceVersion}`);
    const annotations = { 'nodeport-manager.io/range': 'team-a' };
    await call('PATCH', `${path}/${name}`, { metadata: { annotations, labels: { team: null } } }, MERGE);
    expect(await stream.next()).toMatchObject({
      type: 'MODIFIED',
      object: {
        metadata: { name, uid: at.uid, annotations, labels: { 'kubernetes.io/metadata.name': name } },
      },
    });
    stream.close();
  },
};

async function createRange(call: Call, name: string, from: number, to: number): Promise<Whole> {
  const { status, body } = await call('POST', RANGES, portRange(name, from, to));
  expect(status, JSON.stringify(body)).toBe(201);
  return body as unknown as Whole;
}

function outcome({ status, body }: Answer): unknown[] {
  return [status, body['reason']];
}

/** The outcome, and the first field that is to blame. */
function refusal(answer: Answer): unknown[] {
  const { causes = [] } = (answer.body['details'] ?? {}) as { causes?: { field: string }[] };
  return [...outcome(answer), causes[0]?.field];
}
