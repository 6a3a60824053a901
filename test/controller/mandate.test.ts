import { expect, test } from 'vitest';
import { electedBy, type Mandate, nextEpoch, selfAppointed } from '../../src/controller/mandate.ts';
import { candidate, leaseServer, type LeaseServer, OTHER } from '../kube/leaseServer.ts';

const EPOCH = 'nodeport-manager.io/epoch';

/** Elected on a Lease that has been stamped with this before. */
async function elected(stamp?: string): Promise<LeaseServer & { mandate: Mandate }> {
  const it = await leaseServer({ ...OTHER, holderIdentity: '' });
  if (stamp !== undefined) it.edit({ annotations: { [EPOCH]: stamp } });
  const tenure = await candidate(it, 'me', { annotate: nextEpoch('me') }).won;
  if (tenure === undefined) throw new Error('not won');
  return { ...it, mandate: electedBy(tenure) };
}

const stampOf = (it: LeaseServer): string | undefined => it.lease()?.metadata.annotations?.[EPOCH];

test('taking the Lease counts its epoch up, in the same write', async () => {
  const it = await elected('6/other');
  expect(stampOf(it)).toBe('7/me');
  const writes = it.server.requests.length;
  expect(await it.mandate.claimEpoch(6)).toBe(7);
  expect(it.server.requests).toHaveLength(writes);
});

test('a table that is ahead of the Lease: the epoch goes above both, and is on the Lease before it is used', async () => {
  const it = await elected();
  expect(stampOf(it)).toBe('1/me');
  expect(await it.mandate.claimEpoch(41)).toBe(42);
  expect(stampOf(it)).toBe('42/me');
});

test('each claim is above the one before, also when the table has gone back', async () => {
  const it = await elected('6/other');
  const claims = [
    await it.mandate.claimEpoch(6),
    await it.mandate.claimEpoch(7),
    await it.mandate.claimEpoch(3),
  ];
  expect(claims).toEqual([7, 8, 9]);
  expect(stampOf(it)).toBe('9/me');
});

test('a Lease that another has gives no epoch', async () => {
  const it = await elected('6/other');
  it.edit({ spec: { holderIdentity: 'another' }, annotations: { [EPOCH]: '8/another' } });
  await expect(it.mandate.claimEpoch(8)).rejects.toThrow('the lease was lost');
  expect(stampOf(it)).toBe('8/another');
});

test('without an election it is one above what is in the table', async () => {
  expect(await selfAppointed.claimEpoch(6)).toBe(7);
});
