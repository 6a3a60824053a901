/** The commands of the runbooks, as they stand there, in a cluster that has what they are about. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { run, type RunOptions } from '../cluster/run.ts';
import { eventually } from '../support/eventually.ts';
import { useWorld } from '../support/world.ts';

const RUNBOOKS = join(import.meta.dirname, '../../docs/runbooks');
const BLOCK = 'nodeport-table-30000';
const SYSTEM = 'nodeport-manager-system';

const world = useWorld(async (w) => {
  for (const name of ['a-dev', 'a-prod', 'b-dev']) await w.namespace(name);
  await w.range('team-a', 30100, 30103, { namespaces: ['a-dev', 'a-prod'] });
  await w.range('team-b', 30110, 30113);
  await w.start();
  await w.service('b-dev/stranger', { ports: [{ port: 80, nodePort: 30103 }] });
  for (const key of ['a-dev/one', 'a-dev/two', 'a-prod/three', 'b-dev/web'])
    await w.service(key, { range: key.startsWith('a') ? 'team-a' : 'team-b' });
  await w.shows('a-prod/three', 'Assigned');
  await w.service('a-dev/waits', { range: 'team-a' });
  await w.shows('a-dev/waits', 'RangeExhausted');
});

function environment(): RunOptions {
  const { cluster } = world();
  const PATH = `${dirname(cluster.kubectlPath)}:${process.env['PATH']}`;
  return { env: { ...process.env, PATH, KUBECONFIG: cluster.kubeconfig('admin') } };
}

/** The only command of the page that has these words. */
async function command(page: string, words: string): Promise<string> {
  const text = await readFile(join(RUNBOOKS, `${page}.md`), 'utf8');
  const found = text.split('\n').filter((line) => line.startsWith('kubectl ') && line.includes(words));
  expect(found, `${page}: ${words}`).toHaveLength(1);
  return found[0] ?? '';
}

/** What the command says, however it ends: `auth can-i` says no with code 1. */
async function said(page: string, words: string): Promise<string> {
  return run('bash', ['-c', `(${await command(page, words)}) 2>&1 || true`], environment());
}

test('NodePortRangeExhausted: which namespace has how many, and who waits', async () => {
  const page = 'NodePortRangeExhausted';
  expect((await said(page, 'uniq -c')).trim().split(/\s*\n\s*/)).toEqual(['2 a-dev', '1 a-prod']);
  expect(await said(page, 'lastTransitionTime')).toMatch(
    /^a-dev\/waits\tFalse\t20\S+Z\tRangeExhausted\tteam-a has too few free ports: 1 needed; temporarily on \d+\n$/,
  );
  await world().rangeShows('team-a', { free: 0, foreign: 1, allocated: 3 });
  expect(await said(page, 'describe')).toMatch(/Allocated: +3[^]*Foreign: +1/);
});

test('NodePortServicesPending: since when, and why', async () => {
  expect(await said('NodePortServicesPending', 'lastTransitionTime')).toMatch(
    /^a-dev\/waits\tFalse\t20\S+Z\tRangeExhausted/,
  );
});

test('NodePortConflicts: the stranger, among all who have a number of the segment', async () => {
  const page = 'NodePortConflicts';
  await eventually(async () =>
    expect(await said(page, 'ForeignInRange')).toContain('b-dev/stranger holds 30103'),
  );
  expect((await said(page, 'go-template')).split('\n')).toEqual([
    expect.stringMatching(/^30100\ta-dev\/one\tAssigned: holds .*30100 from team-a$/),
    expect.stringMatching(/^30101\ta-dev\/two\tAssigned: /),
    expect.stringMatching(/^30102\ta-prod\/three\tAssigned: /),
    '30103\tb-dev/stranger',
    expect.stringMatching(/^30110\tb-dev\/web\tAssigned: .* from team-b$/),
    '',
  ]);
  await world().editRange('team-b', { ranges: [{ from: 30112, to: 30113 }] });
  await world().rangeShows('team-b', { outOfRange: 1 });
  expect(await said(page, 'out of range')).toContain('team-b\t0 foreign\t1 out of range');
  await eventually(async () =>
    expect(await said(page, 'reason=OutOfRange')).toContain('b-dev/web holds 30110'),
  );
});

test('NodePortTableDrift: who edits the table is seen while it happens', async () => {
  const watch = await command('NodePortTableDrift', '--watch');
  const stopping = new AbortController();
  const lines: string[] = [];
  const watching = run('bash', ['-c', `exec ${watch}`], {
    ...environment(),
    onLine: (line) => lines.push(line.replaceAll(/\s+/g, ' ')),
    signal: stopping.signal,
  }).catch(() => {});
  await eventually(() => expect(lines).toContainEqual(`ADDED ${BLOCK} nodeport-manager`));
  const { kubectl } = world();
  await kubectl(`label configmap -n ${SYSTEM} ${BLOCK} mine=1 --field-manager=prune-bot`);
  await eventually(() =>
    expect(lines).toContainEqual(expect.stringMatching(`^MODIFIED ${BLOCK} .*prune-bot`)),
  );
  stopping.abort();
  await watching;
});

test('NodePortTableDrift: each time is told in an event', async () => {
  await world().kubectl(`delete configmap -n ${SYSTEM} ${BLOCK}`);
  await eventually(async () =>
    expect(await said('NodePortTableDrift', 'reason=TableDrift')).toContain(`configmap/${BLOCK}`),
  );
});

test('NodePortTableCorrupt: the copy of what could not be read', async () => {
  const { kubectl } = world();
  await eventually(() => kubectl(`get configmap -n ${SYSTEM} ${BLOCK}`));
  await kubectl(`patch configmap -n ${SYSTEM} ${BLOCK} --type=merge -p {"data":{"30100":"garbage"}}`);
  await eventually(async () =>
    expect(await said('NodePortTableCorrupt', 'corrupt')).toMatch(`${BLOCK}-corrupt-`),
  );
});

test('NodePortNoLeader: who has the lease, and until when', async () => {
  expect(await said('NodePortNoLeader', 'get leases')).toMatch(/nodeport-manager +\S+ +20\S+Z +10\n$/);
});

test('NodePortWritesFailing: what the controller may not do any more', async () => {
  const page = 'NodePortWritesFailing';
  const rights = [
    'patch services -A',
    'services --subresource',
    'patch portranges',
    'update leases',
    'create configmaps',
  ];
  const answers = async (): Promise<string[]> =>
    Promise.all(rights.map(async (right) => (await said(page, right)).trim()));
  expect(await answers()).toEqual(['yes', 'yes', 'yes', 'yes', 'yes']);
  const { kubectl } = world();
  const bindings = await kubectl('get clusterrolebindings -o jsonpath={.items[*].metadata.name}');
  const ours = bindings.split(' ').filter((name) => name.startsWith('nodeport-manager'));
  expect(ours).not.toEqual([]);
  const saved = await kubectl(`get clusterrolebinding ${ours.join(' ')} -o json`);
  await kubectl(`delete clusterrolebinding ${ours.join(' ')}`);
  await eventually(async () => expect(await answers()).toEqual(['no', 'no', 'no', 'yes', 'yes']));
  await kubectl('create -f -', { input: saved });
});
