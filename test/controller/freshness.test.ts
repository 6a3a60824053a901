import { describe, expect, test } from 'vitest';
import { createFreshness } from '../../src/controller/freshness.ts';
import { desk, NOW, service } from '../allocation/fixtures.ts';

const clock = { now: () => NOW };

test('a Service is decided again when the watch shows our last write to it, and not before', () => {
  const freshness = createFreshness(clock);
  const web = service(['http:80 31000']);
  freshness.wrote(web.key, '100');
  expect(freshness.isBehind({ ...web, resourceVersion: '99' })).toBe(true);
  expect(freshness.isBehind({ ...web, resourceVersion: '100' })).toBe(false);
  // An etcd that was put back: what was written then is forgotten with it.
  expect(freshness.isBehind({ ...web, resourceVersion: '7' })).toBe(false);
});

test('who was not answered looks at the live Service, and waits until the watch shows that', () => {
  const d = desk();
  const freshness = createFreshness(clock);
  const web = d.see(service(['http:80 31000']));
  expect(freshness.doubt(d.ledger, web.key, web)).toBeUndefined();
  freshness.unanswered(web.key);
  const learn = freshness.doubt(d.ledger, web.key, web);
  learn?.({ ...web, resourceVersion: '50' });
  expect(freshness.doubt(d.ledger, web.key, web)).toBeUndefined();
  expect(freshness.isBehind({ ...web, resourceVersion: '49' })).toBe(true);
  expect(freshness.isBehind({ ...web, resourceVersion: '50' })).toBe(false);
});

test('what the table gives to another UID is released only when the apiserver says that this one is gone', () => {
  const d = desk();
  const web = d.serve(service(['http:80 31000']));
  const freshness = createFreshness(clock);
  d.ledger.observe(web, undefined, NOW);
  freshness.doubt(d.ledger, web.key, undefined)?.(web);
  expect(d.ledger.entry(30_100)?.state).toBe('Held');
  freshness.doubt(d.ledger, web.key, undefined)?.({ ...web, uid: 'u-later' });
  expect(d.ledger.entry(30_100)?.state).toBe('Released');
});

describe('a number that the table gives to a Service which does not show it', () => {
  const elsewhere = service(['http:80 31000']);
  function taken() {
    const d = desk();
    const web = d.serve(elsewhere);
    return { d, web, freshness: createFreshness(clock) };
  }

  test('may have been skipped by the watch: the live Service is looked at, once for each state that is shown', () => {
    const { d, web, freshness } = taken();
    const stale = d.see({ ...elsewhere, resourceVersion: '40' });
    const learn = freshness.doubt(d.ledger, web.key, stale);
    learn?.({ ...web, resourceVersion: '50' });
    expect(freshness.doubt(d.ledger, web.key, stale)).toBeUndefined();
    expect(freshness.isBehind(stale)).toBe(true);
    expect(freshness.doubt(d.ledger, web.key, { ...stale, resourceVersion: '51' })).toBeDefined();
  });

  test('was lost where the live Service is as shown: it is decided from that', () => {
    const { d, web, freshness } = taken();
    const shown = d.see({ ...elsewhere, resourceVersion: '50' });
    freshness.doubt(d.ledger, web.key, shown)?.(shown);
    expect(freshness.doubt(d.ledger, web.key, shown)).toBeUndefined();
    expect(freshness.isBehind(shown)).toBe(false);
  });

  test('was just given where we did that: nobody is asked', () => {
    const d = desk();
    const web = d.see(elsewhere);
    d.fold(web);
    expect(createFreshness(clock).doubt(d.ledger, web.key, web)).toBeUndefined();
  });
});
