/** What happens in the hour, and when. Minutes are the story's. */
import { ANNOTATION } from '../../src/api/names.ts';
import { portRangeApiVersion, portRangePath, type PortRangeSpec } from '../../src/api/portRange.ts';
import { duration } from '../print.ts';
import { serviceManifest, type ServiceRow } from '../scenario.ts';
import type { AlertState, AlertWatch } from './alerts.ts';
import type { Pace } from './pace.ts';
import type { Stage } from './stage.ts';

export interface Play extends Stage {
  readonly pace: Pace;
  readonly alerts: AlertWatch;
}

export interface Step {
  /** Not before. */
  readonly minute: number;
  /** Written along the time axis of the pictures. */
  readonly moment?: string;
  /** Does it, waits until it is so, and says what was seen. */
  readonly act: (play: Play) => Promise<string | undefined>;
}

const TEAMS: Readonly<Record<string, { spec: PortRangeSpec; services: number }>> = {
  'team-a': { spec: { ranges: [{ from: 30000, to: 30039 }], namespaces: ['a-prod'] }, services: 12 },
  'team-b': { spec: { ranges: [{ from: 30040, to: 30063 }], namespaces: ['b-prod'] }, services: 12 },
  'team-c': { spec: { ranges: [{ from: 30064, to: 30079 }], namespaces: ['c-prod'] }, services: 5 },
};
/** Services, and numbers, of all teams when the story begins. */
export const MOVED_IN = Object.values(TEAMS).reduce((sum, { services }) => sum + services, 0);
/** What team-b's range is grown by. */
const MORE = { from: 30080, to: 30095 };
/** Released numbers rest for the default, five minutes. */
const COOLDOWN = 5;

const NAMESPACES = ['a-prod', 'b-prod', 'c-prod', 'legacy'];

/** The three teams as they are when the story begins: half of team-b's range is in use. */
export async function moveIn(stage: Stage, pace: Pace): Promise<void> {
  const ranges = Object.entries(TEAMS).map(([name, { spec }]) => ({
    apiVersion: portRangeApiVersion,
    kind: 'PortRange',
    metadata: { name },
    spec: { ...spec, cooldown: pace.seconds(COOLDOWN) },
  }));
  const namespaces = NAMESPACES.map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
  await stage.apply([...namespaces, ...ranges]);
  const rows = Object.entries(TEAMS).flatMap(([range, { spec, services }]) =>
    Array.from({ length: services }, (_, i) => asks(`${spec.namespaces?.[0]}/app-${i + 1}`, range)),
  );
  await stage.apply(rows.map(serviceManifest));
  await served(stage, ...rows.map(({ key }) => key));
}

export const SCRIPT: readonly Step[] = [
  ...everyTwoMinutesTeamADeploys(),
  {
    minute: 8,
    moment: 'a rival takes 30063',
    act: async (play) => {
      await create(play, { key: 'legacy/ftp', ports: 'ftp:21=30063' });
      await statusOf(play, 'team-b', ({ foreign }) => foreign === 1);
      return 'legacy/ftp pins 30063, in the segment of team-b. It keeps it: nobody loses a port. It counts as foreign.';
    },
  },
  ...teamBRollsOut(),
  {
    minute: 15.5,
    moment: "team-b's range is full",
    act: async (play) => {
      await statusOf(play, 'team-b', ({ free }) => free === 0);
      return 'Not one of the 24 ports of team-b is free.';
    },
  },
  {
    minute: 17,
    act: async (play) => {
      for (const name of ['shop', 'cart', 'mail']) await create(play, asks(`b-prod/${name}`, 'team-b'));
      await shown(play, 'RangeExhausted', 'b-prod/shop', 'b-prod/cart', 'b-prod/mail');
      return 'Three more Services of team-b come, and wait: RangeExhausted.';
    },
  },
  {
    minute: 19,
    act: async (play) => {
      await create(play, { ...asks('c-prod/sip', 'team-c'), wants: '30064' });
      await shown(play, 'PortTaken', 'c-prod/sip');
      await create(play, asks('a-prod/typo', 'taem-a'));
      await shown(play, 'RangeNotFound', 'a-prod/typo');
      return 'c-prod/sip asks for 30064, which c-prod/app-1 has (PortTaken); a-prod/typo asks for taem-a (RangeNotFound).';
    },
  },
  {
    minute: 30,
    moment: 'range grown',
    act: async (play) => {
      await alert(play, 'NodePortRangeExhausted', 'team-b', 'firing');
      await alert(play, 'NodePortServicesPending', 'team-b RangeExhausted', 'firing');
      const spec = { ranges: [...(TEAMS['team-b']?.spec.ranges ?? []), MORE] };
      const began = performance.now();
      await play.client.patch(`${portRangePath}/team-b`, 'merge', { spec });
      await served(play, 'b-prod/shop', 'b-prod/cart', 'b-prod/mail');
      const took = duration(performance.now() - began);
      return `An admin adds ${MORE.from}-${MORE.to} to team-b. Who waited is served ${took} later.`;
    },
  },
  {
    minute: 33,
    act: async (play) => {
      await remove(play, 'c-prod/app-1');
      const annotations = { [ANNOTATION.range]: 'team-a' };
      await play.client.patch(pathOf('a-prod/typo'), 'merge', { metadata: { annotations } });
      await served(play, 'a-prod/typo');
      return 'The typo is corrected, and a-prod/typo served. c-prod/app-1 goes: its number rests for five minutes.';
    },
  },
  {
    minute: 40,
    act: async (play) => {
      await served(play, 'c-prod/sip');
      return 'c-prod/sip has 30064.';
    },
  },
  { minute: 43, moment: 'leader killed', act: theLeaderIsKilled },
  {
    minute: 47,
    act: async (play) => {
      await play.addReplica('manager-3');
      return 'Its replacement, manager-3, stands by.';
    },
  },
  {
    minute: 51,
    moment: 'rival leaves',
    act: async (play) => {
      await remove(play, 'legacy/ftp');
      await statusOf(play, 'team-b', ({ foreign }) => foreign === 0);
      return 'legacy/ftp is deleted; 30063 is free.';
    },
  },
  {
    minute: 60,
    act: async (play) => {
      await play.alerts.until((active) => active.length === 0);
      return 'No alert is left.';
    },
  },
];

/** One comes, and another one goes after six minutes, all the time. */
function everyTwoMinutesTeamADeploys(): Step[] {
  const key = (i: number): string => `a-prod/job-${i}`;
  return Array.from({ length: 28 }, (_, i) => ({
    minute: 1 + 2 * i,
    act: async (play) => {
      await create(play, asks(key(i), 'team-a'));
      if (i >= 3) await remove(play, key(i - 3));
      return undefined;
    },
  }));
}

function teamBRollsOut(): Step[] {
  return Array.from({ length: 11 }, (_, i) => ({
    minute: 4 + i,
    act: async (play) => {
      const key = `b-prod/rollout-${i + 1}`;
      await create(play, asks(key, 'team-b'));
      await served(play, key);
      return i === 0 ? 'team-b begins to roll out eleven more Services, one a minute.' : undefined;
    },
  }));
}

async function theLeaderIsKilled(play: Play): Promise<string> {
  const leader = await play.leader();
  if (leader === undefined) throw new Error('nobody leads');
  const began = performance.now();
  await play.killReplica(leader);
  await create(play, asks('c-prod/late', 'team-c'));
  await served(play, 'c-prod/late');
  const took = duration(performance.now() - began);
  const next = await play.leader();
  return `kill -9 of ${leader}, which led. c-prod/late, created then, is served by ${next} after ${took}.`;
}

function asks(key: string, range: string): Omit<ServiceRow, 'expect'> {
  return { key, range, ports: 'http:80' };
}

async function create({ client }: Stage, row: Omit<ServiceRow, 'expect'>): Promise<void> {
  const [namespace] = row.key.split('/');
  await client.create(`/api/v1/namespaces/${namespace}/services`, serviceManifest(row));
}

async function remove({ client }: Stage, key: string): Promise<void> {
  await client.delete(pathOf(key));
}

function pathOf(key: string): string {
  const [namespace, name] = key.split('/');
  return `/api/v1/namespaces/${namespace}/services/${name}`;
}

async function served({ world }: Stage, ...keys: readonly string[]): Promise<void> {
  await world.until(() => {
    const waits = keys.filter((key) => world.services.get(key)?.condition?.status !== 'True');
    return waits.length === 0 ? undefined : `${waits.join(', ')} not served`;
  });
}

async function shown({ world }: Stage, reason: string, ...keys: readonly string[]): Promise<void> {
  await world.until(() => {
    const others = keys.filter((key) => world.services.get(key)?.condition?.reason !== reason);
    return others.length === 0 ? undefined : `${others.join(', ')} does not show ${reason}`;
  });
}

type Counts = Partial<Record<'free' | 'foreign', number>>;

async function statusOf({ world }: Stage, range: string, is: (counts: Counts) => boolean): Promise<void> {
  await world.until(() => {
    const { status = {} } = world.ranges.get(range) ?? {};
    return is(status) ? undefined : `the status of ${range} is ${JSON.stringify(status)}`;
  });
}

function alert({ alerts }: Play, name: string, about: string, state: AlertState): Promise<void> {
  return alerts.until((active) =>
    active.some((turn) => turn.name === name && turn.about === about && turn.state === state),
  );
}
