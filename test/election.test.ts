import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { createElection, type Election, noElection } from '../src/election.ts';
import { parseOptions } from '../src/options.ts';
import { until } from './kube/rig.ts';
import { leaseServer, type LeaseServer, OTHER } from './kube/leaseServer.ts';

const PATH = '/apis/coordination.k8s.io/v1/namespaces/nodeport-manager-system/leases';
const LEASE = `${PATH}/nodeport-manager`;

interface Elected {
  it: LeaseServer;
  election: Election;
  /** Why the Lease was lost. */
  lost: string[];
}

/** Takes part in the election, as the process does, with the defaults of its flags. */
async function standing(found?: typeof OTHER): Promise<Elected> {
  const it = await leaseServer(found);
  const { get, put, post, watch } = it.answers;
  it.server.on(`GET ${LEASE}`, get);
  it.server.on(`PUT ${LEASE}`, put);
  it.server.on(`POST ${PATH}`, post);
  it.server.on(`WATCH ${PATH}`, watch);
  const lost: string[] = [];
  const election = createElection({
    options: parseOptions([], {}, 'test'),
    transport: it.transport,
    identity: 'me',
    clock: it.clock,
    random: Math.random,
    log: pino({ level: 'silent' }),
    leads: () => undefined,
    onLost: (why) => lost.push(why),
  });
  return { it, election, lost };
}

function stopWithTheTest(): AbortSignal {
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  return stop.signal;
}

test('nobody writes before the Lease is its own', async () => {
  const { it, election } = await standing(OTHER);
  expect(election.mayWrite()).toBe(false);
  const mandate = election.mandate(stopWithTheTest());
  await until(() => it.server.seen(`WATCH ${PATH}`).length === 1);
  expect(election.mayWrite()).toBe(false);
  it.edit({ spec: { holderIdentity: '' } });
  expect((await mandate)?.isElected).toBe(true);
  expect(election.mayWrite()).toBe(true);
});

test('nobody writes any more when the Lease could not be renewed in time, asked at that very moment', async () => {
  const { it, election, lost } = await standing();
  await election.mandate(stopWithTheTest());
  expect(election.mayWrite()).toBe(true);
  it.clock.advance(7_000);
  expect(election.mayWrite()).toBe(false);
  await until(() => lost.length === 1);
  expect(lost).toEqual(['the lease was not renewed within 7 s']);
});

test('nor after the Lease was released, which is no loss', async () => {
  const { it, election, lost } = await standing();
  await election.mandate(stopWithTheTest());
  await election.release();
  expect([election.mayWrite(), it.spec().holderIdentity, lost]).toEqual([false, '', []]);
});

test('without leader election everybody may always write', async () => {
  const mandate = await noElection.mandate(new AbortController().signal);
  expect([noElection.mayWrite(), mandate?.isElected]).toEqual([true, false]);
});
