import { expect, test } from 'vitest';
import { isKubeError } from '../../src/kube/errors.ts';
import { reviewGet } from '../../src/kube/reviews.ts';
import { rig } from './rig.ts';
import { json, type ScriptedServer, status } from './scriptedServer.ts';

const WHO = 'POST /apis/authentication.k8s.io/v1/tokenreviews';
const MAY = 'POST /apis/authorization.k8s.io/v1/subjectaccessreviews';
const PROMETHEUS = {
  username: 'system:serviceaccount:monitoring:prometheus',
  uid: 'u',
  groups: ['system:serviceaccounts'],
  extra: { 'authentication.kubernetes.io/pod-name': ['prometheus-0'] },
};

function answers(server: ScriptedServer, who: object, may: object = {}): void {
  server.on(WHO, json({ status: who }, 201));
  server.on(MAY, json({ status: may }, 201));
}

test('asks who has the token, and whether all that is known of them lets them get the path', async () => {
  const { server, transport } = await rig();
  answers(server, { authenticated: true, user: PROMETHEUS }, { allowed: true });
  expect(await reviewGet(transport, 'a-token', '/metrics')).toBe('allowed');
  const [who, may] = server.requests.map(({ body }) => JSON.parse(body) as object);
  expect(who).toEqual({
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token: 'a-token' },
  });
  const { username: user, ...others } = PROMETHEUS;
  expect(may).toEqual({
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: { user, ...others, nonResourceAttributes: { path: '/metrics', verb: 'get' } },
  });
});

test.each([
  ['not authenticated', { authenticated: false, error: 'invalid bearer token' }],
  ['an answer without a status', {}],
  ['authenticated, but as nobody', { authenticated: true }],
  ['authenticated in other words', { authenticated: 'true', user: PROMETHEUS }],
])('%s: a token of nobody, and nothing more is asked', async (_, who) => {
  const { server, transport } = await rig();
  answers(server, who, { allowed: true });
  expect(await reviewGet(transport, 'a-token', '/metrics')).toBe('unknown');
  expect(server.seen(MAY)).toEqual([]);
});

test.each([
  ['not allowed', { allowed: false }],
  ['without a word', {}],
  ['allowed and denied', { allowed: true, denied: true }],
])('%s: denied', async (_, may) => {
  const { server, transport } = await rig();
  answers(server, { authenticated: true, user: PROMETHEUS }, may);
  expect(await reviewGet(transport, 'a-token', '/metrics')).toBe('denied');
});

test('an error of the apiserver is an error, never an answer', async () => {
  const { server, transport } = await rig();
  server.on(WHO, status(500, { reason: 'InternalError' }));
  const error: unknown = await reviewGet(transport, 'a-token', '/metrics').catch((e: unknown) => e);
  expect(isKubeError(error, 'ServerError')).toBe(true);
});
