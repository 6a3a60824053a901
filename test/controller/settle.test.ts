import { describe, expect, test } from 'vitest';
import { CONDITION_TYPE } from '../../src/api/names.ts';
import type { RawService, ServiceView } from '../../src/api/service.ts';
import { toServiceView } from '../../src/api/service.ts';
import { createSettler, type Outcome, type Wish } from '../../src/controller/settle.ts';
import { createEventRecorder } from '../../src/kube/events.ts';
import { type Rig, rig } from '../kube/rig.ts';
import { type Answer, json, reset, status } from '../kube/scriptedServer.ts';

const SERVICE = '/api/v1/namespaces/a/services/web';
const SPEC = `PATCH ${SERVICE}`;
const STATUS = `PATCH ${SERVICE}/status`;
const PORT = { name: 'http', port: 80, protocol: 'TCP' };
const BEFORE = '2025-12-31T00:00:00Z';

function raw(resourceVersion: number, nodePort: number, condition?: object): RawService {
  const metadata = { namespace: 'a', name: 'web', uid: 'u', resourceVersion: `${resourceVersion}` };
  return {
    metadata: { ...metadata, creationTimestamp: BEFORE },
    spec: { type: 'NodePort', ports: [{ ...PORT, nodePort }] },
    status: condition === undefined ? {} : { conditions: [{ type: CONDITION_TYPE, ...condition }] },
  } as RawService;
}

const assigned = (message: string) => ({
  status: 'True',
  reason: 'Assigned',
  message,
  lastTransitionTime: BEFORE,
});

/** To have 30,100, and to say so. */
function wish({ ports }: ServiceView, leaves: readonly number[] = []): Wish {
  return {
    verdict: { reason: 'Assigned', message: 'holds http 30100 from r' },
    grants: [{ number: 30_100, ports }],
    leaves,
  };
}

interface Settled extends Rig {
  outcome: Outcome;
  bodies: Record<string, unknown>[];
}

async function settled(
  found: RawService,
  answers: Record<string, [Answer, ...Answer[]]>,
  leaves: readonly number[] = [],
): Promise<Settled> {
  const base = await rig();
  for (const [what, all] of Object.entries(answers)) base.server.on(what, ...all);
  base.server.on('POST /apis/events.k8s.io/v1/namespaces/a/events', json({}, 201));
  const events = createEventRecorder({
    ...base,
    reportingController: 'test/controller',
    reportingInstance: 'test',
  });
  const service = toServiceView(found);
  const outcome = await createSettler({ ...base, events }).settle(service, wish(service, leaves));
  await events.flush();
  const bodies = base.server.requests
    .filter(({ method }) => method === 'PATCH')
    .map(({ body }) => JSON.parse(body) as Record<string, unknown>);
  return { ...base, outcome, bodies };
}

const sent = ({ server }: Rig): string[] =>
  server.requests.filter(({ method }) => method === 'PATCH').map(({ path }) => path);

describe('a Service that is to have a number', () => {
  test('is given the number first and told of it then, each at the resourceVersion of what was seen before', async () => {
    const all = await settled(raw(5, 31_000), {
      [SPEC]: [json(raw(6, 30_100))],
      [STATUS]: [json(raw(7, 30_100, assigned('holds http 30100 from r')))],
    });
    expect(sent(all)).toEqual([SERVICE, `${SERVICE}/status`]);
    expect(all.bodies[0]).toEqual([
      { op: 'replace', path: '/metadata/resourceVersion', value: '5' },
      { op: 'add', path: '/spec/ports/0/nodePort', value: 30_100 },
    ]);
    expect(all.bodies[1]).toMatchObject({ metadata: { resourceVersion: '6' } });
    expect(all.outcome).toEqual({ result: 'done', resourceVersion: '7', wrotePorts: true });
  });

  test("is told by a strategic merge, which leaves others' conditions alone, and as our field manager", async () => {
    const { server } = await settled(raw(5, 30_100), { [STATUS]: [json(raw(6, 30_100))] });
    const [request] = server.seen(STATUS);
    expect(request?.headers['content-type']).toBe('application/strategic-merge-patch+json');
    expect(request?.query.get('fieldManager')).toBe('nodeport-manager');
    expect(JSON.parse(request?.body ?? '').status.conditions).toHaveLength(1);
  });

  test('and has it, and says so, is not written', async () => {
    const all = await settled(raw(5, 30_100, assigned('holds http 30100 from r')), {});
    expect([sent(all), all.outcome]).toEqual([
      [],
      { result: 'done', resourceVersion: undefined, wrotePorts: false },
    ]);
  });

  test('and was killed when it had said that it moves, does not say so again', async () => {
    const pending = { ...assigned('moves from 30105'), status: 'Unknown', reason: 'Pending' };
    const all = await settled(
      raw(6, 30_105, pending),
      { [SPEC]: [json(raw(7, 30_100, pending))], [STATUS]: [json(raw(8, 30_100))] },
      [30_105],
    );
    expect(sent(all)).toEqual([SERVICE, `${SERVICE}/status`]);
  });

  test('and moves, says so before the old number goes', async () => {
    const holder = raw(5, 30_105, assigned('holds http 30105 from r'));
    const all = await settled(
      holder,
      { [SPEC]: [json(raw(7, 30_100))], [STATUS]: [json(raw(6, 30_105)), json(raw(8, 30_100))] },
      [30_105],
    );
    expect(sent(all)).toEqual([`${SERVICE}/status`, SERVICE, `${SERVICE}/status`]);
    expect(all.bodies[0]).toMatchObject({
      status: { conditions: [{ status: 'Unknown', reason: 'Pending' }] },
    });
  });

  test('keeps its lastTransitionTime while the status of its condition stays', async () => {
    const { bodies } = await settled(raw(5, 30_100, assigned('holds http 30100 from another')), {
      [STATUS]: [json(raw(6, 30_100))],
    });
    expect(bodies[0]).toMatchObject({ status: { conditions: [{ lastTransitionTime: BEFORE }] } });
  });
});

describe('a write that', () => {
  const causes = (field: string, message: string) => ({
    reason: 'Invalid',
    message,
    details: { causes: [{ field, message, reason: 'FieldValueInvalid' }] },
  });

  test('is a conflict: decided again', async () => {
    const { outcome } = await settled(raw(5, 31_000), { [SPEC]: [status(409, { reason: 'Conflict' })] });
    expect(outcome).toMatchObject({ result: 'again', resourceVersion: undefined });
  });

  test('is not answered may have been done: the live Service is looked at first', async () => {
    const { outcome } = await settled(raw(5, 31_000), { [SPEC]: [reset] });
    expect(outcome.result).toBe('unknown');
  });

  test('names a number that somebody has: that number is refused', async () => {
    const refusal = causes(
      'spec.ports[0].nodePort',
      'Invalid value: 30100: provided port is already allocated',
    );
    const { outcome } = await settled(raw(5, 31_000), { [SPEC]: [status(422, refusal)] });
    expect(outcome).toMatchObject({ result: 'refused', ports: [30_100], taken: true });
  });

  test.each([
    ['a policy denies', status(422, causes('spec.externalIPs', 'not here'))],
    ['we may not do', status(403, { reason: 'Forbidden' })],
  ])('%s says nothing against the number', async (_, answer) => {
    const { outcome } = await settled(raw(5, 31_000), { [SPEC]: [answer] });
    expect(outcome).toMatchObject({ result: 'refused', ports: [], taken: false });
  });
});
