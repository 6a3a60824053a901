import { describe, expect, test } from 'vitest';
import { compareResourceVersions, createStore, keyOf } from '../../src/kube/store.ts';
import { recordChanges, type Thing } from './rig.ts';

const item = (key: string, resourceVersion: string, uid = `u-${key}`): Thing => ({
  key,
  uid,
  resourceVersion,
  data: '',
});

describe('a store', () => {
  test('tells of additions, updates and removals, each after it is true', () => {
    const store = createStore<Thing>();
    const seen: string[] = [];
    store.subscribe(({ before, after }) => {
      seen.push(
        `${before?.resourceVersion ?? ''}>${after?.resourceVersion ?? ''} ${store.get('a')?.resourceVersion ?? 'none'}`,
      );
    });
    store.set(item('a', '1'));
    store.set(item('a', '2'));
    store.remove('a');
    store.remove('a');
    expect(seen).toEqual(['>1 1', '1>2 2', '2> none']);
  });

  test('another uid under the same key is a removal, then an addition', () => {
    const store = createStore<Thing>();
    const changes = recordChanges(store);
    store.set(item('a', '1', 'u1'));
    store.set(item('a', '2', 'u2'));
    store.replace([item('a', '3', 'u3')]);
    expect(changes).toEqual(['+a', '-a', '+a', '-a', '+a']);
  });

  test('replace tells only what differs, removals first', () => {
    const store = createStore<Thing>();
    store.replace([item('same', '1'), item('gone', '1'), item('newer', '1'), item('anew', '1', 'u1')]);
    const changes = recordChanges(store);
    store.replace([item('newer', '2'), item('added', '3'), item('same', '1'), item('anew', '1', 'u2')]);
    expect(changes).toEqual(['-gone', '-anew', '~newer', '+added', '+anew']);
    expect(store.size).toBe(4);
    store.replace([]);
    expect(store.size).toBe(0);
  });

  test('what one listener throws reaches the handler, and every other listener hears the change', () => {
    const errors: unknown[] = [];
    const store = createStore<Thing>({ onListenerError: (e) => errors.push(e) });
    const heard: string[] = [];
    store.subscribe(() => {
      throw new Error('first');
    });
    store.subscribe(({ after }) => heard.push(after?.key ?? ''));
    store.replace([item('a', '1'), item('b', '1')]);
    expect(heard).toEqual(['a', 'b']);
    expect(errors.map(String)).toEqual(['Error: first', 'Error: first']);
  });
});

test('a key is namespace/name, or the name of what lives in no namespace', () => {
  expect(keyOf({ metadata: { name: 'web', namespace: 'shop' } })).toBe('shop/web');
  expect(keyOf({ metadata: { name: 'web' } })).toBe('web');
});

test('resourceVersions compare as numbers of any length (KEP-5504)', () => {
  const sorted = [
    '',
    '1',
    '9',
    '10',
    '123',
    '99999999999999999998',
    '99999999999999999999',
    '100000000000000000000',
  ];
  for (const [i, a] of sorted.entries()) {
    for (const [j, b] of sorted.entries())
      expect(Math.sign(compareResourceVersions(a, b))).toBe(Math.sign(i - j));
  }
});
