import { beforeAll, describe, expect, test } from 'vitest';
import { ALONE } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { TABLE } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';
import {
  type Asked,
  askedSoFar,
  auditEverything,
  grantedRights,
  isAbout,
  nameOf,
  type Right,
  without,
} from './rights.ts';

const LEASE = '/apis/coordination.k8s.io/v1/namespaces/nodeport-manager-system/leases/nodeport-manager';
const BLOCK = `${TABLE}/nodeport-table-30000`;

let granted: Right[];
let asked: Asked[];

const world = useWorld(
  async (w) => {
    await w.namespace('a');
    await w.range('good', 30100, 30149, { cooldown: '0s' });
    granted = await grantedRights(w.client);
  },
  { apiserverFlags: auditEverything },
);

/** Whether the controller has asked this, and was answered so. */
async function hasAsked(what: Partial<Asked>, since = 0): Promise<boolean> {
  const all = (await askedSoFar(world().cluster)).slice(since);
  return all.some((one) => Object.entries(what).every(([key, value]) => one[key as keyof Asked] === value));
}

/** Edits the block, again and again, until the controller has met an edit that its watch had not shown. */
async function conflict(code: number): Promise<void> {
  const since = (await askedSoFar(world().cluster)).length;
  await eventually(async () => {
    const edit = (_: unknown, i: number) =>
      world().client.patch(BLOCK, 'merge', { data: { '30149': `${i}` } });
    await Promise.all(Array.from({ length: 10 }, edit));
    expect(await hasAsked({ verb: 'get', resource: 'configmaps', code }, since)).toBe(true);
  });
}

/** The same event twice within its series. */
async function repeatAnEvent(key: string): Promise<void> {
  const { service, shows, showsNothing, ask } = world();
  await service(key, { range: 'nobody' });
  await shows(key, 'RangeNotFound');
  await ask(key, undefined);
  await showsNothing(key);
  await ask(key, 'nobody');
  await shows(key, 'RangeNotFound');
}

/** A Service goes while nobody looks, and another start finds its entry in the table. */
async function goesWhileDown(key: string, end: () => Promise<unknown>): Promise<void> {
  await world().service(key, { range: 'good' });
  await world().shows(key, 'Assigned');
  await end();
  await world().remove(key);
}

/** All that a controller does in its life, and with it each right that it has. */
async function play(): Promise<void> {
  const { start, launch } = world();
  const first = await start();
  const second = await launch();
  await second.standsBy();
  await repeatAnEvent('a/asks');
  await goesWhileDown('a/goes', () => Promise.all([first.kill('SIGTERM'), second.kill('SIGTERM')]));
  const third = await start();
  await world().rangeShows('good', { allocated: 0 });
  await conflict(200);
  await world().checker.untilTableIsTrue();
  await third.kill('SIGTERM');
}

describe('In all that the controller does in its life', () => {
  beforeAll(async () => {
    await play();
    asked = await askedSoFar(world().cluster);
  });

  test('there is no right that it does not use, each by the role that grants it', () => {
    expect(granted.length).toBeGreaterThan(15);
    const used = (right: Right): boolean =>
      asked.some((one) => one.role === right.role && one.code !== 403 && isAbout(right, one));
    expect(granted.filter((right) => !used(right)).map(nameOf)).toEqual([]);
  });

  test('nothing is refused to it for want of a right', () => {
    expect(asked.filter(({ code }) => code === 403)).toEqual([]);
  });

  test('it writes nowhere but to Services and their status, PortRange status, events, and in its own namespace', () => {
    const writes = asked.filter(({ verb }) => !['get', 'list', 'watch'].includes(verb));
    const kinds = new Set(
      writes.map(({ verb, resource, namespace }) =>
        ['configmaps', 'leases'].includes(resource)
          ? `${verb} ${resource} in ${namespace}`
          : `${verb} ${resource}`,
      ),
    );
    expect([...kinds].toSorted()).toEqual([
      'create configmaps in nodeport-manager-system',
      'create events',
      'create leases in nodeport-manager-system',
      'patch events',
      'patch portranges/status',
      'patch services',
      'patch services/status',
      'update configmaps in nodeport-manager-system',
      'update leases in nodeport-manager-system',
    ]);
  });
});

/** Starts a controller, which then asks for what it lacks the right to. */
const starts =
  (...flags: string[]) =>
  (): Promise<unknown> =>
    world().launch({ flags });

/** While it runs, something happens that makes it ask. */
const meanwhile = (work: () => Promise<unknown>) => async (): Promise<void> => {
  await world().start(...ALONE);
  await work();
};

const asksFor = (key: string) => (): Promise<unknown> => world().service(key, { range: 'good' });

/** The Lease as somebody has it who will not give it up soon. */
async function heldByAnother(): Promise<void> {
  const spec = {
    holderIdentity: 'another',
    leaseDurationSeconds: 3_600,
    renewTime: new Date().toISOString().replace('Z', '000Z'),
  };
  await world().client.patch(LEASE, 'merge', { spec });
}

/** What makes the controller need each right. */
const needs: Record<string, () => Promise<unknown>> = {
  'list services': starts(...ALONE),
  'watch services': starts(...ALONE),
  'list namespaces': starts(...ALONE),
  'watch namespaces': starts(...ALONE),
  'list portranges': starts(...ALONE),
  'watch portranges': starts(...ALONE),
  'list configmaps': starts(...ALONE),
  'watch configmaps': starts(...ALONE),
  'get leases': starts(),
  'create leases': async () => {
    await world().client.delete(LEASE);
    await starts()();
  },
  'update leases': starts(),
  'watch leases': async () => {
    await heldByAnother();
    await starts()();
  },
  'get services': async () => {
    const before = await world().start(...ALONE);
    await goesWhileDown('a/unseen', () => before.kill('SIGTERM'));
    await starts(...ALONE)();
  },
  'patch services': meanwhile(asksFor('a/ports')),
  'patch services/status': meanwhile(asksFor('a/status')),
  'patch portranges/status': meanwhile(() => world().range('another', 30150, 30159)),
  'create events': meanwhile(asksFor('a/event')),
  'patch events': meanwhile(() => repeatAnEvent('a/series')),
  'create configmaps': meanwhile(async () => {
    await world().range('beyond', 30250, 30259);
    await world().service('a/beyond', { range: 'beyond' });
  }),
  // The barrier stamps each block.
  'update configmaps': starts(...ALONE),
  'get configmaps': meanwhile(() => conflict(403)),
};

describe('Each right is needed: without it, the apiserver refuses something, and the log says what', () => {
  test.each(Object.keys(needs))('%s', async (name) => {
    const { client, cluster, launched } = world();
    const found = granted.filter(({ verb, resource }) => `${verb} ${resource}` === name);
    expect(found).toHaveLength(1);
    const [right] = found as [Right];
    const since = (await askedSoFar(cluster)).length;
    await without(client, right, async () => {
      await needs[name]?.();
      await eventually(async () => {
        const refused = (await askedSoFar(cluster)).slice(since).filter(({ code }) => code === 403);
        expect(refused).not.toEqual([]);
        expect(refused.filter((one) => !isAbout(right, one))).toEqual([]);
      });
      await eventually(async () => {
        const loud = (await launched().at(-1)?.logs())?.filter(
          ({ level }) => level !== 'info' && level !== 'debug',
        );
        expect(JSON.stringify(loud)).toContain('(403)');
      });
    });
    await Promise.all(launched().map((controller) => controller.kill()));
  });

  test('and no other has been granted', () => {
    expect(granted.map(({ verb, resource }) => `${verb} ${resource}`).toSorted()).toEqual(
      Object.keys(needs).toSorted(),
    );
  });
});
