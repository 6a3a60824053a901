import { describe, expect, test } from 'vitest';
import type { ControllerProcess } from '../support/controller.ts';
import { RANGE_ANNOTATION, type Service, TABLE } from '../support/objects.ts';
import { youngerThan } from '../support/seconds.ts';
import { useWorld } from '../support/world.ts';

let controller: ControllerProcess;

const world = useWorld(async (w) => {
  controller = await w.start();
});

async function whileDown(change: () => Promise<void>): Promise<void> {
  await controller.kill('SIGTERM');
  await change();
  controller = await world().start();
}

async function annotate(namespace: string, value: string): Promise<void> {
  await world().kubectl(`annotate namespace ${namespace} --overwrite ${RANGE_ANNOTATION}=${value}`);
}

/** A namespace with a Service on a random number, older than all that comes. */
async function oldService(namespace: string, labels = {}): Promise<number> {
  await world().namespace(namespace, labels);
  const old = await world().service(`${namespace}/old`, { labels });
  await youngerThan(old);
  return old.spec.ports[0]?.nodePort ?? 0;
}

async function staysOutside(namespace: string, number: number, range: string): Promise<Service> {
  const outside = `holds http ${number} outside ${range}: `;
  const shown = await world().shows(
    `${namespace}/old`,
    'HeldOutOfRange',
    new RegExp(`^${outside}.* does not contain ${number}, there before the default$`),
  );
  expect(shown.spec.ports[0]?.nodePort).toBe(number);
  return shown;
}

/** No write of ours has touched its ports. */
async function expectUntouched(namespace: string): Promise<void> {
  const writes = await world().writes();
  const touched = writes.filter(
    (w) => w.resource === 'services' && w.namespace === namespace && w.name === 'old',
  );
  expect(touched).toEqual([]);
}

describe('a default moves nobody who was there before', () => {
  test('and says so for as long as that is so: after a restart and with the table lost', async () => {
    const { client, range } = world();
    const number = await oldService('kept');
    await range('kept', 30100, 30104);
    await annotate('kept', 'kept');
    const shown = await staysOutside('kept', number, 'kept');
    await whileDown(
      async () => void (await client.delete(`${TABLE}?labelSelector=nodeport-manager.io/table`)),
    );
    await world().checker.untilTableIsTrue();
    expect((await staysOutside('kept', number, 'kept')).metadata.resourceVersion).toBe(
      shown.metadata.resourceVersion,
    );
  });

  test.each([
    ['whose PortRange comes later', 'later', 'later', undefined, 'RangeNotFound'],
    ['whose PortRange is paused at first', 'paused', 'paused', { paused: true }, 'RangePaused'],
    ['whose PortRange admits it later', 'admitted', 'admitted', { namespaces: ['x'] }, 'NotAdmitted'],
    ['that was misspelt at first', 'misspelt', 'Misspelt', undefined, 'InvalidRequest'],
  ])('%s', async (_, name, value, spec, reason) => {
    const { range, editRange, service, shows } = world();
    const number = await oldService(name);
    if (spec !== undefined) await range(name, 30110, 30119, spec);
    await annotate(name, value);
    await service(`${name}/new`);
    await shows(`${name}/old`, reason, /^(?!.*temporarily)/);
    await shows(`${name}/new`, reason, /; temporarily on \d+$/);
    const first = 30110 + ['later', 'paused', 'admitted', 'misspelt'].indexOf(name) * 5;
    const change = { ranges: [{ from: first, to: first + 4 }], paused: false, namespaces: null };
    if (spec === undefined) await range(name, first, first + 4);
    else await editRange(name, change);
    await annotate(name, name);
    await staysOutside(name, number, name);
    await shows(`${name}/new`, 'Assigned', `holds http ${first} from ${name}`);
    await expectUntouched(name);
  });

  test('that reaches it by a new label of its Namespace', async () => {
    const { range, kubectl, service, shows } = world();
    await range('by-label', 30140, 30149, {
      assignment: 'Automatic',
      namespaceSelector: { matchLabels: { team: 'b' } },
    });
    const number = await oldService('labelled');
    await kubectl('label namespace labelled team=b');
    await staysOutside('labelled', number, 'by-label');
    await service('labelled/new');
    await shows('labelled/new', 'Assigned', 'holds http 30140 from by-label');
    await expectUntouched('labelled');
  });

  test('that reaches it by a new label of its own', async () => {
    const { range, kubectl } = world();
    await range('by-own-label', 30150, 30159, {
      assignment: 'Automatic',
      serviceSelector: { matchLabels: { tier: 'edge' } },
    });
    const number = await oldService('own-label');
    await kubectl('label service -n own-label old tier=edge');
    await staysOutside('own-label', number, 'by-own-label');
    await expectUntouched('own-label');
  });

  test('that is widened to its Namespace', async () => {
    const { range, editRange } = world();
    await range('widened', 30160, 30169, { assignment: 'Automatic', namespaces: ['nobody'] });
    const number = await oldService('wide');
    await editRange('widened', { namespaces: ['nobody', 'wide'] });
    await staysOutside('wide', number, 'widened');
    await expectUntouched('wide');
  });
});

describe('while the controller is down', () => {
  test('a default comes, and a Service after it: only that one is moved', async () => {
    const { range, service, shows } = world();
    const number = await oldService('down');
    await range('down', 30170, 30179);
    await whileDown(async () => {
      await annotate('down', 'down');
      await service('down/new');
    });
    await staysOutside('down', number, 'down');
    await shows('down/new', 'Assigned', 'holds http 30170 from down');
    await expectUntouched('down');
  });

  test('an Automatic PortRange comes, and a Service after it: only that one is moved', async () => {
    const { range, service, shows } = world();
    const number = await oldService('auto');
    await whileDown(async () => {
      await range('automatic', 30180, 30189, { assignment: 'Automatic', namespaces: ['auto'] });
      await service('auto/new');
    });
    await staysOutside('auto', number, 'automatic');
    await shows('auto/new', 'Assigned', 'holds http 30180 from automatic');
    await expectUntouched('auto');
  });
});

test('a Service that becomes NodePort while we watch is new', async () => {
  const { namespace, service, edit, shows, range } = world();
  await namespace('turns');
  await range('turns', 30190, 30199);
  const web = await service('turns/web', { type: 'ClusterIP' });
  await youngerThan(web);
  await annotate('turns', 'turns');
  await edit('turns/web', { type: 'NodePort' });
  await shows('turns/web', 'Assigned', 'holds http 30190 from turns');
});

test('a Service of its own annotation moves, whenever that comes', async () => {
  const { ask, shows } = world();
  await ask('kept/old', 'kept');
  await shows('kept/old', 'Assigned', 'holds http 30100 from kept');
});
