import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { numbersOf, RANGE_ANNOTATION } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import {
  argocd,
  argocdReplace,
  argocdServerSide,
  careful,
  flux,
  manifestOf,
  reconcile,
  TOOLS,
} from './tools.ts';

const world = useWorld(async (w) => {
  await w.namespace('a-dev');
  await w.start();
  await w.range('team-a', 30100, 30199);
  await w.range('team-b', 30200, 30227);
  await w.rangeShows('team-a', { capacity: 100 });
  await w.rangeShows('team-b', { capacity: 28 });
});

const http = { name: 'http', port: 80, protocol: 'TCP' };

/** The controller's writes to this Service, its condition included. */
async function writesTo(name: string): Promise<number> {
  return (await world().writes()).filter((write) => write.name === name).length;
}

let markers = 0;

/** Resolves when the controller has seen, decided and written whatever came before. */
async function untilAllIsDone(): Promise<void> {
  const key = `a-dev/marker-${(markers += 1)}`;
  await world().service(key, { range: 'team-a' });
  await world().shows(key, 'Assigned');
  await world().checker.untilTableIsTrue();
}

describe.each([
  ['null', null],
  ['0', 0],
])('an empty nodePort (%s) in Git, as in charts of nginx kubernetes-ingress #9054', (text, nodePort) => {
  const ports = [{ ...http, nodePort }];

  test.each([argocd, argocdReplace, flux].map((tool) => [tool.name, tool] as const))(
    'is no number for %s: the Service is served, and applying it for ever moves nothing',
    async (name, tool) => {
      const key = `a-dev/${name}-empty-${text}`;
      const manifest = manifestOf(key, { ports });
      await tool.sync(world(), manifest);
      const [number] = numbersOf(await world().shows(key, 'Assigned'));
      for (let i = 0; i < 5; i += 1) await tool.sync(world(), manifest);
      await untilAllIsDone();
      expect(await world().port(key)).toBe(number);
      expect(await writesTo(`${name}-empty-${text}`)).toBe(2);
    },
  );

  test('is never in sync for Argo CD, which compares it with the number; Flux drops it', async () => {
    const shown = (name: string) => manifestOf(`a-dev/${name}-empty-${text}`, { ports });
    expect(await argocd.inSync(world(), shown('argocd'))).toBe(false);
    expect(await flux.inSync(world(), shown('flux'))).toBe(true);
  });

  describe.each([argocdServerSide, careful].map((tool) => [tool.name, tool] as const))(
    'by server-side apply (%s)',
    (name, tool) => {
      const key = `a-dev/${name}-empty-${text}`;

      test('makes the tool the owner of a random number: it stays there, HeldOutOfRange', async () => {
        const manifest = manifestOf(key, { ports });
        await tool.sync(world(), manifest);
        const why = /^holds http \d+ outside team-a: .*, pinned by "argocd-controller"$/;
        const [number] = numbersOf(await world().shows(key, 'HeldOutOfRange', why));
        for (let i = 0; i < 5; i += 1) await tool.sync(world(), manifest);
        await untilAllIsDone();
        expect(await world().port(key)).toBe(number);
        expect(await writesTo(`${name}-empty-${text}`)).toBe(1);
      });

      test('taken out of Git together with a new request, it is served', async () => {
        await tool.sync(world(), manifestOf(key, { ports: [http], range: 'team-a,team-b' }));
        await world().shows(key, 'Assigned', /^holds http 301\d\d from team-a$/);
      });

      test('put in after the Service was served, it changes nothing', async () => {
        const later = `a-dev/${name}-later-${text}`;
        await tool.sync(world(), manifestOf(later, { ports: [http] }));
        const [number] = numbersOf(await world().shows(later, 'Assigned'));
        const manifest = manifestOf(later, { ports });
        // Without force the empty field is a conflict with the number that we wrote.
        const again = tool.sync(world(), manifest);
        if (tool === careful) await expect(again).rejects.toThrow('conflict with "nodeport-manager"');
        else await again;
        await untilAllIsDone();
        expect(await world().port(later)).toBe(number);
        expect(await writesTo(`${name}-later-${text}`)).toBe(2);
      });
    },
  );
});

test.each(TOOLS.map((tool) => [tool.name, tool] as const))(
  '%s: a Service that Git makes ClusterIP and NodePort again gets its number back',
  async (name, tool) => {
    const key = `a-dev/${name}-type`;
    await tool.sync(world(), manifestOf(key, { ports: [http] }));
    const number = numbersOf(await world().shows(key, 'Assigned'))[0] ?? 0;
    await tool.sync(world(), manifestOf(key, { ports: [http], type: 'ClusterIP' }));
    await world().shows(key, 'NoNodePorts');
    await eventually(() => expect(world().checker.table().get(number)?.state).toBe('Released'));
    const manifest = manifestOf(key, { ports: [http] });
    await tool.sync(world(), manifest);
    await world().shows(key, 'Assigned', `holds http ${number} from team-a`);
    expect(await reconcile(tool, world(), manifest)).toBe('in sync');
  },
);

describe.each([
  ['argocd', 'apply --field-manager=argocd-controller -f -', argocd],
  [
    'argocd-ssa',
    'apply --server-side --force-conflicts --field-manager=argocd-controller -f -',
    argocdServerSide,
  ],
  ['flux', 'apply --server-side --force-conflicts --field-manager=kustomize-controller -f -', flux],
] as const)('a default for a Namespace in Git, applied by %s', (name, command, tool) => {
  const namespace = `of-${name}`;
  const applyNamespace = async (annotations: Record<string, string>): Promise<void> => {
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, annotations } };
    await world().kubectl(command, { input: JSON.stringify(object) });
  };
  const manifest = (service: string) => manifestOf(`${namespace}/${service}`, { ports: [http], range: null });

  test('moves nobody who was there before', async () => {
    await applyNamespace({});
    await tool.sync(world(), manifest('old'));
    const old = await world().get(`${namespace}/old`);
    // Times in managedFields are whole seconds.
    const created = Date.parse(old.metadata.creationTimestamp);
    await eventually(() => expect(Date.now() - created).toBeGreaterThanOrEqual(1000));
    await applyNamespace({ [RANGE_ANNOTATION]: 'team-b' });
    await world().shows(`${namespace}/old`, 'HeldOutOfRange', /there before the default$/);
    expect(numbersOf(await world().get(`${namespace}/old`))).toEqual(numbersOf(old));
  });

  test('serves who comes later, and applying both again and again changes nothing', async () => {
    await tool.sync(world(), manifest('new'));
    const served = await world().shows(`${namespace}/new`, 'Assigned', /^holds http 302\d\d from team-b$/);
    const before = await writesTo('new');
    for (let i = 0; i < 3; i += 1) {
      await applyNamespace({ [RANGE_ANNOTATION]: 'team-b' });
      await tool.sync(world(), manifest('new'));
      await tool.sync(world(), manifest('old'));
    }
    await untilAllIsDone();
    expect(numbersOf(await world().get(`${namespace}/new`))).toEqual(numbersOf(served));
    expect(await writesTo('new')).toBe(before);
    expect(await reconcile(tool, world(), manifest('new'))).toBe('in sync');
  });

  test('taken out of Git: everybody keeps the numbers and is unmanaged', async () => {
    const number = await world().port(`${namespace}/new`);
    await applyNamespace({});
    await world().showsNothing(`${namespace}/new`);
    await world().showsNothing(`${namespace}/old`);
    expect(await world().port(`${namespace}/new`)).toBe(number);
  });
});
