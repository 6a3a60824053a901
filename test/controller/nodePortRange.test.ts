import { describe, expect, test } from 'vitest';
import { createNodePortRange, type NodePortRange, parseRange } from '../../src/controller/nodePortRange.ts';
import { systemClock } from '../../src/kube/clock.ts';
import { KubeError } from '../../src/kube/errors.ts';
import { format, portSet } from '../../src/ports/portSet.ts';
import { rig } from '../kube/rig.ts';
import { json, type ScriptedServer, status } from '../kube/scriptedServer.ts';

const FLAGZ = 'GET /flagz';

async function nodePortRange(told?: string): Promise<{
  range: NodePortRange;
  server: ScriptedServer;
  known: () => string | undefined;
  changes: () => number;
}> {
  const { server, transport } = await rig({ clock: systemClock });
  let changes = 0;
  const silent = (): void => {};
  const range = createNodePortRange({
    transport,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    told,
    onChange: () => (changes += 1),
  });
  const known = (): string | undefined => {
    const set = range.get();
    return set === undefined ? undefined : format(set);
  };
  return { range, server, known, changes: () => changes };
}

const flags = (range: string) => json({ kind: 'Flagz', flags: { 'service-node-port-range': range } });

const refusal = (message: string): KubeError =>
  new KubeError({ code: 'Invalid', request: 'PATCH /api/v1/namespaces/a/services/web', message });

describe('the text of a range', () => {
  test.each(['30000-32767', ' 1-65535 '])('%j is one', (text) => {
    expect(format(parseRange(text) ?? portSet())).toBe(text.trim());
  });

  test.each(['', '30000', '32767-30000', '0-10', '30000-65536', '30000-32767x'])('%j is none', (text) => {
    expect(parseRange(text)).toBeUndefined();
  });
});

test('what a flag tells is asked of nobody and overridden by nothing', async () => {
  const { range, server, known, changes } = await nodePortRange('30000-30999');
  await range.discover();
  range.learn(refusal('The range of valid ports is 5-6'));
  expect([known(), server.requests.length, changes()]).toEqual(['30000-30999', 0, 0]);
});

test('/flagz is read, and read again: an apiserver that was restarted may have another range', async () => {
  const { range, server, known, changes } = await nodePortRange();
  server.on(FLAGZ, flags('30000-32767'), flags('30000-32767'), flags('30000-39999'));
  await range.discover();
  await range.discover();
  expect([known(), changes()]).toEqual(['30000-32767', 1]);
  await range.discover();
  expect([known(), changes()]).toEqual(['30000-39999', 2]);
});

test('what is not allowed, not there or not understood leaves what is known', async () => {
  const { range, server, known, changes } = await nodePortRange();
  server.on(FLAGZ, status(403), status(404), flags('nonsense'), json({}));
  await range.discover();
  expect(known()).toBeUndefined();
  range.learn(refusal('provided port is not in the valid range. The range of valid ports is 30000-32767'));
  expect(known()).toBe('30000-32767');
  for (let i = 0; i < 3; i += 1) await range.discover();
  range.learn(refusal('provided port is already allocated'));
  expect([known(), changes(), server.seen(FLAGZ).length]).toEqual(['30000-32767', 1, 4]);
});

test('an apiserver that never answers /flagz holds nobody up for long', async () => {
  const { range, server, known } = await nodePortRange();
  server.on(FLAGZ, () => {});
  const startedAt = performance.now();
  await range.discover();
  expect(performance.now() - startedAt).toBeLessThan(8_000);
  expect(known()).toBeUndefined();
});
