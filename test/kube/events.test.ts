import { describe, expect, onTestFinished, test } from 'vitest';
import {
  createEventRecorder,
  type EventRecorder,
  type EventRecorderOptions,
  type EventRegarding,
} from '../../src/kube/events.ts';
import { type Rig, rig, until } from './rig.ts';
import { json, reset, type Seen, silence, status } from './scriptedServer.ts';

const EVENTS = '/apis/events.k8s.io/v1/namespaces/shop/events';
const regarding = { apiVersion: 'v1', kind: 'Service', namespace: 'shop', name: 'web', uid: 'u-1' };
const assigned = {
  regarding,
  type: 'Normal',
  reason: 'Assigned',
  action: 'Assign',
  note: 'has 30100',
} as const;

interface EventRig extends Rig {
  recorder: EventRecorder;
  logged: string[];
}

async function eventRig(options: Partial<EventRecorderOptions> = {}): Promise<EventRig> {
  const base = await rig();
  const logged: string[] = [];
  const recorder = createEventRecorder({
    transport: base.transport,
    reportingController: 'example.com/controller',
    reportingInstance: 'pod-1',
    clock: base.clock,
    log: (message) => logged.push(message),
    ...options,
  });
  onTestFinished(() => recorder.close());
  base.server.on(`POST ${EVENTS}`, json({}, 201));
  return { ...base, recorder, logged };
}

/** Lets every PATCH of a series pass: their names are known only afterwards. */
function acceptPatches({ server }: EventRig): void {
  const [created] = server.seen(`POST ${EVENTS}`).slice(-1);
  server.on(`PATCH ${EVENTS}/${bodyOf(created).metadata.name}`, json({}));
}

function bodyOf(
  request: Seen | undefined,
): { metadata: { name: string; namespace: string } } & Record<string, unknown> {
  return JSON.parse(request?.body ?? '{}');
}

describe('an event', () => {
  test('is what events.k8s.io/v1 wants', async () => {
    const { recorder, server } = await eventRig();
    recorder.record(assigned);
    await recorder.flush();
    const body = bodyOf(server.requests[0]);
    expect(body.metadata.name).toMatch(/^web\.[0-9a-f]{16}$/);
    expect({ ...body, metadata: null }).toEqual({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: null,
      eventTime: '2026-01-01T00:00:00.000000Z',
      reportingController: 'example.com/controller',
      reportingInstance: 'pod-1',
      type: 'Normal',
      reason: 'Assigned',
      action: 'Assign',
      regarding,
      note: 'has 30100',
    });
  });

  test('about what lives in no namespace is in default', async () => {
    const { recorder, server } = await eventRig();
    server.on('POST /apis/events.k8s.io/v1/namespaces/default/events', json({}, 201));
    const { namespace: _, ...cluster }: EventRegarding = regarding;
    recorder.record({ ...assigned, regarding: cluster });
    await recorder.flush();
    expect(bodyOf(server.requests[0]).metadata.namespace).toBe('default');
    expect(recorder.dropped).toBe(0);
  });

  test('has a note of at most 1,024 bytes, cut between characters, and a valid name', async () => {
    const { recorder, server } = await eventRig();
    recorder.record({
      ...assigned,
      note: `a${'€'.repeat(1000)}`,
      regarding: { ...regarding, name: 'x.'.repeat(126) },
    });
    await recorder.flush();
    const body = bodyOf(server.requests[0]);
    expect(body['note']).toBe(`a${'€'.repeat(341)}`);
    expect(body.metadata.name.length).toBeLessThanOrEqual(253);
    expect(body.metadata.name).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
  });

  test('has a name of its own, within a millisecond too and between two processes', async () => {
    const { recorder, server, transport, clock } = await eventRig();
    const options = { transport, reportingController: 'c', reportingInstance: 'pod-2', clock };
    const other = createEventRecorder(options);
    for (let i = 0; i < 5; i++)
      for (const each of [recorder, other]) each.record({ ...assigned, note: `${i}` });
    await Promise.all([recorder.flush(), other.flush()]);
    expect(new Set(server.requests.map((request) => bodyOf(request).metadata.name)).size).toBe(10);
  });
});

describe('repetition', () => {
  test('within ten minutes is a series of the same event', async () => {
    const rig = await eventRig();
    const { recorder, server, clock } = rig;
    recorder.record(assigned);
    await recorder.flush();
    acceptPatches(rig);
    for (let i = 0; i < 2; i++) {
      clock.advance(599_999);
      recorder.record(assigned);
      await recorder.flush();
    }
    const patches = server.requests.slice(1);
    expect(patches.map(({ method, headers }) => [method, String(headers['content-type'])].join(' '))).toEqual(
      Array(2).fill('PATCH application/merge-patch+json'),
    );
    expect(patches.map((request) => bodyOf(request)['series'])).toEqual([
      { count: 2, lastObservedTime: '2026-01-01T00:09:59.999000Z' },
      { count: 3, lastObservedTime: '2026-01-01T00:19:59.998000Z' },
    ]);
  });

  test('after ten minutes is a new event; so is another note, reason or type, and another object of that name', async () => {
    const { recorder, server, clock } = await eventRig();
    recorder.record(assigned);
    await recorder.flush();
    clock.advance(600_000);
    recorder.record(assigned);
    recorder.record({ ...assigned, note: 'other' });
    recorder.record({ ...assigned, reason: 'Other' });
    recorder.record({ ...assigned, type: 'Warning' });
    recorder.record({ ...assigned, regarding: { ...regarding, uid: 'u-2' } });
    await recorder.flush();
    expect(server.requests.map(({ method }) => method)).toEqual(Array(6).fill('POST'));
  });

  test('faster than it can be sent is one PATCH with the count of all', async () => {
    const rig = await eventRig();
    const { recorder, server } = rig;
    server.on(`POST ${EVENTS}`, (response, request) => {
      server.on(`PATCH ${EVENTS}/${bodyOf(request).metadata.name}`, json({}));
      json({}, 201)(response, request);
    });
    for (let i = 0; i < 100; i++) recorder.record(assigned);
    await recorder.flush();
    expect(server.requests.map(({ method }) => method)).toEqual(['POST', 'PATCH']);
    expect(bodyOf(server.requests[1])['series']).toMatchObject({ count: 100 });
    expect(recorder.dropped).toBe(0);
  });

  test('of an event that has expired begins a new one', async () => {
    const { recorder, server } = await eventRig();
    recorder.record(assigned);
    await recorder.flush();
    const name = bodyOf(server.requests[0]).metadata.name;
    server.on(`PATCH ${EVENTS}/${name}`, status(404, { reason: 'NotFound' }));
    recorder.record(assigned);
    await recorder.flush();
    expect(server.requests.map(({ method }) => method)).toEqual(['POST', 'PATCH', 'POST']);
    expect(bodyOf(server.requests[2]).metadata.name).not.toBe(name);
    expect(recorder.dropped).toBe(0);
  });
});

describe('limits', () => {
  test('25 for an object, then one in five minutes; a repetition that is dropped still counts', async () => {
    const dropped: number[] = [];
    const rig = await eventRig({ onDropped: () => dropped.push(1) });
    const { recorder, server, clock } = rig;
    for (let i = 0; i < 30; i++) recorder.record({ ...assigned, note: `${i}` });
    await recorder.flush();
    expect([server.requests.length, recorder.dropped, dropped.length]).toEqual([25, 5, 5]);
    acceptPatches(rig);
    recorder.record({ ...assigned, note: '24' });
    expect(recorder.dropped).toBe(6);
    clock.advance(300_000);
    recorder.record({ ...assigned, note: '24' });
    recorder.record({ ...assigned, note: '31' });
    await recorder.flush();
    expect([server.requests.length, recorder.dropped]).toEqual([26, 7]);
    expect(bodyOf(server.requests[25])['series']).toMatchObject({ count: 3 });
  });

  test('25 in all, then five a second', async () => {
    const { recorder, server, clock } = await eventRig();
    const record = (count: number): void => {
      for (let i = 0; i < count; i++)
        recorder.record({ ...assigned, regarding: { ...regarding, uid: `${i}` } });
    };
    record(40);
    await recorder.flush();
    expect([server.requests.length, recorder.dropped]).toEqual([25, 15]);
    clock.advance(1000);
    for (let i = 100; i < 110; i++)
      recorder.record({ ...assigned, regarding: { ...regarding, uid: `${i}` } });
    await recorder.flush();
    expect([server.requests.length, recorder.dropped]).toEqual([30, 20]);
  });

  test('a thousand that wait, whatever the server does', async () => {
    const { recorder, clock } = await eventRig();
    for (let second = 0; second < 300; second++) {
      for (let i = 0; i < 5; i++) {
        recorder.record({ ...assigned, regarding: { ...regarding, uid: `${second}/${i}` } });
      }
      clock.advance(1000);
    }
    expect(recorder.dropped).toBe(500);
  });

  test('one request at a time, so that a burst does not crowd out the work', async () => {
    const { recorder, server } = await eventRig();
    let [running, most] = [0, 0];
    server.on(`POST ${EVENTS}`, (response, request) => {
      most = Math.max(most, (running += 1));
      setImmediate(() => {
        running -= 1;
        json({}, 201)(response, request);
      });
    });
    for (let i = 0; i < 25; i++) recorder.record({ ...assigned, note: `${i}` });
    await recorder.flush();
    expect([server.requests.length, most]).toEqual([25, 1]);
  });
});

describe('failures', () => {
  test('are tried again, and an answer that was lost is not a second event', async () => {
    const { recorder, server, clock } = await eventRig();
    server.on(`POST ${EVENTS}`, reset, status(409, { reason: 'AlreadyExists' }));
    recorder.record(assigned);
    await clock.until(() => server.requests.length === 2);
    await recorder.flush();
    expect([
      recorder.dropped,
      new Set(server.requests.map((request) => bodyOf(request).metadata.name)).size,
    ]).toEqual([0, 1]);
  });

  test('are given up after three tries, counted, logged once, and hold nothing else up', async () => {
    const { recorder, server, clock, logged } = await eventRig();
    server.on(
      `POST ${EVENTS}`,
      ...(Array(6).fill(status(500)) as [ReturnType<typeof status>]),
      json({}, 201),
    );
    for (const note of ['a', 'b', 'c']) recorder.record({ ...assigned, note });
    await clock.until(() => server.requests.length === 7);
    await recorder.flush();
    expect([recorder.dropped, logged.length]).toEqual([2, 1]);
  });

  test('that no repetition helps are given up at once', async () => {
    const { recorder, server } = await eventRig();
    server.on(`POST ${EVENTS}`, status(403));
    recorder.record(assigned);
    await recorder.flush();
    expect([server.requests.length, recorder.dropped]).toEqual([1, 1]);
  });

  test('close ends what waits, and takes nothing more', async () => {
    const { recorder, server, logged } = await eventRig();
    server.on(`POST ${EVENTS}`, silence);
    recorder.record(assigned);
    recorder.record({ ...assigned, note: 'other' });
    await until(() => server.requests.length === 1);
    recorder.close();
    await recorder.flush();
    recorder.record(assigned);
    expect([recorder.dropped, server.requests.length, logged.length]).toEqual([3, 1, 0]);
  });
});
