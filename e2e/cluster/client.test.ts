import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ApiError, type Client, createClient, type WatchEvent } from './client.ts';
import { type Cluster, startCluster } from './cluster.ts';

interface ConfigMap {
  metadata: {
    name: string;
    resourceVersion: string;
    managedFields: { manager: string; operation: string }[];
  };
  data?: Record<string, string>;
}

const CONFIG_MAPS = '/api/v1/namespaces/default/configmaps';

let cluster: Cluster;
let client: Client;

beforeAll(async () => {
  cluster = await startCluster();
  client = createClient(cluster);
});

afterAll(async () => {
  await client?.close();
  await cluster?.stop();
});

const make = (name: string, data: Record<string, string> = {}) =>
  client.create<ConfigMap>(CONFIG_MAPS, { metadata: { name }, data });

test('an error carries the status and the body of the answer', async () => {
  await make('twice');
  const error = await make('twice').catch((error: unknown) => error);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({
    status: 409,
    message: expect.stringContaining('POST /api/v1/namespaces/default/configmaps: 409 AlreadyExists'),
    body: { reason: 'AlreadyExists', details: { name: 'twice' } },
  });
});

test('put with a stale resourceVersion is refused, and with the current one writes', async () => {
  const first = await make('put', { n: '1' });
  const second = await client.put<ConfigMap>(`${CONFIG_MAPS}/put`, { ...first, data: { n: '2' } });
  expect(second.data).toEqual({ n: '2' });
  const stale = client.put(`${CONFIG_MAPS}/put`, { ...first, data: { n: '3' } });
  await expect(stale).rejects.toMatchObject({ status: 409 });
});

test.for([
  ['json', [{ op: 'add', path: '/data/b', value: '2' }], 'Update'],
  ['merge', { data: { b: '2' } }, 'Update'],
  ['strategic', { data: { b: '2' } }, 'Update'],
  ['apply', { apiVersion: 'v1', kind: 'ConfigMap', data: { b: '2' } }, 'Apply'],
] as const)('a patch of type %s is sent as such, with its query', async ([type, body, operation]) => {
  await make(type, { a: '1' });
  const patched = await client.patch<ConfigMap>(
    `${CONFIG_MAPS}/${type}`,
    type,
    body,
    'fieldManager=somebody',
  );
  expect(patched.data).toEqual({ a: '1', b: '2' });
  expect(patched.metadata.managedFields).toContainEqual(
    expect.objectContaining({ manager: 'somebody', operation }),
  );
});

test('a list in pages has the same items as a list in one', async () => {
  await Promise.all(Array.from({ length: 7 }, (_, i) => make(`page-${i}`)));
  const whole = await client.list<ConfigMap>(CONFIG_MAPS);
  const pages = await client.list<ConfigMap>(`${CONFIG_MAPS}?labelSelector=`, { pageSize: 2 });
  expect(whole.items.length).toBeGreaterThanOrEqual(7);
  expect(pages.items.map((item) => item.metadata.name)).toEqual(
    whole.items.map((item) => item.metadata.name),
  );
  expect(Number(pages.resourceVersion)).toBeGreaterThan(0);
});

test('a watch tells what happens after the list it starts from, until it is aborted', async () => {
  const { resourceVersion } = await client.list(CONFIG_MAPS);
  const events: WatchEvent[] = [];
  const abort = new AbortController();
  const { ended } = await client.watch(
    `${CONFIG_MAPS}?resourceVersion=${resourceVersion}`,
    (event) => events.push(event),
    abort.signal,
  );
  await make('watched');
  await client.patch(`${CONFIG_MAPS}/watched`, 'merge', { data: { long: 'ü'.repeat(100_000) } });
  await client.delete(`${CONFIG_MAPS}/watched`);
  await vi.waitFor(
    () => expect(events.map((event) => event.type)).toEqual(['ADDED', 'MODIFIED', 'DELETED']),
    5000,
  );
  expect(events[1]?.object.data.long).toBe('ü'.repeat(100_000));
  abort.abort();
  await ended;
});

test('a watch that breaks says so', async () => {
  const { ended } = await client.watch(CONFIG_MAPS, () => {});
  await cluster.stopApiserver();
  await expect(ended).rejects.toThrow();
  await cluster.startApiserver();
});

test('a watch that is refused rejects with the status', async () => {
  const team = createClient(cluster, 'team-a');
  await expect(team.watch(CONFIG_MAPS, () => {})).rejects.toMatchObject({ status: 403 });
  await team.close();
});

test('64 requests and as many watches are under way at once', async () => {
  const seen = new Set<number>();
  const abort = new AbortController();
  const watches = Array.from({ length: 64 }, (_, i) =>
    client.watch(`${CONFIG_MAPS}?resourceVersion=0`, () => seen.add(i), abort.signal),
  );
  await Promise.all(watches);
  await Promise.all(Array.from({ length: 64 }, (_, i) => make(`at-once-${i}`)));
  await vi.waitFor(() => expect(seen.size).toBe(64), 5000);
  abort.abort();
});
