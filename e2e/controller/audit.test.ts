import { expect, test } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { TABLE } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.range('low', 30100, 30109);
  await w.range('high', 30120, 30121, { namespaces: ['a-dev'] });
  controller = await w.start('--log-level=debug');
});

type Line = Readonly<Record<string, unknown>>;

/** The audit's lines of this kind about this Service. */
async function told(audit: string, service: string): Promise<Line[]> {
  return ((await controller.logs()) as Line[]).filter(
    (line) => line['audit'] === audit && line['service'] === service,
  );
}

test('a move is one line that says from where and to where, and the release of the old number is another', async () => {
  const { service, shows, ask } = world();
  await service('a-dev/web', { range: 'low' });
  await shows('a-dev/web', 'Assigned', 'holds http 30100 from low');
  await ask('a-dev/web', 'high');
  await shows('a-dev/web', 'Assigned', 'holds http 30120 from high');
  await eventually(async () => expect(await told('released', 'a-dev/web')).toHaveLength(1));
  expect(await told('moved', 'a-dev/web')).toMatchObject([
    { port: 30120, from: 30100, to: 30120, range: 'high', request: 'range=high', check: 'findsPorts' },
  ]);
  expect(await told('released', 'a-dev/web')).toMatchObject([
    { port: 30100, from: 30100, to: 30120, range: 'low', check: 'keepsWhatItHolds', names: ['http:80/TCP'] },
  ]);
});

test('a refusal names the check that objected', async () => {
  const { service, shows } = world();
  await service('a-dev/lost', { range: 'hihg' });
  await shows('a-dev/lost', 'RangeNotFound');
  await eventually(async () =>
    expect(await told('refused', 'a-dev/lost')).toMatchObject([
      { range: 'hihg', reason: 'RangeNotFound', check: 'rangeExists' },
    ]),
  );
});

test('who edits the table with kubectl is named by the field manager', async () => {
  const { kubectl, client } = world();
  const path = `${TABLE}/nodeport-table-30000`;
  const before = (await client.get<{ data: Record<string, string> }>(path)).data['30120'];
  const patch = JSON.stringify({ data: { '30120': before?.replace('a-dev/web', 'a-dev/thief') } });
  await kubectl(`patch configmap nodeport-table-30000 -n nodeport-manager-system --type=merge -p ${patch}`);
  await eventually(async () =>
    expect(await told('healed', 'a-dev/web')).toMatchObject([
      { port: 30120, kind: 'edited', by: 'kubectl-patch', from: 'Held a-dev/thief', to: 'Held' },
    ]),
  );
});

test('at level debug, a decision is explained check by check', async () => {
  const { service, shows } = world();
  await service('a-dev/late', { range: 'hihg,high' });
  await shows('a-dev/late', 'Assigned', 'holds http 30121 from high');
  const decided = async (): Promise<Line | undefined> =>
    ((await controller.logs()) as Line[]).find(
      ({ msg, service }) => msg === 'decided' && service === 'a-dev/late',
    );
  await eventually(async () => expect(await decided()).toBeDefined());
  expect(await decided()).toMatchObject({
    level: 'debug',
    decision: 'assign',
    check: 'findsPorts',
    checks: [
      'isManaged passed',
      'requestIsWellFormed passed',
      'hasNodePorts passed',
      'claimsAgreeWithTheRequest passed',
      'keepsWhatItHolds passed',
      'hihg: rangeExists objected RangeNotFound: PortRange "hihg" does not exist',
      'high: rangeExists passed',
      'high: admitsTheService passed',
      'high: isNotPaused passed',
      'high: allowsWantedNumbers passed',
      'high: findsPorts decided assign 30121',
    ],
  });
});
