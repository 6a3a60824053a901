/**
 * An hour of three teams in two minutes, on a control plane of its own and seen by a real Prometheus: a range that runs out
 * and is grown, a rival, a leader that is killed. Writes pictures of the dashboard to docs/images. Nothing is left behind.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dashboardPicture, stripPicture } from '../monitoring/picture/pictures.ts';
import { heading, paint, print, progress, say } from './print.ts';
import type { Turn } from './story/alerts.ts';
import { playStory, type Told } from './story/play.ts';

const IMAGES = join(import.meta.dirname, '../docs/images');
const SPEED = 30;
/** One under the other, these tell it. */
const STRIP = [
  'Usage over time',
  'Services that wait, by reason',
  'Conflicts that last',
  'Alerts',
  'Who leads',
];

/** At a glance. */
const GLANCE = new Set([
  'Free ports',
  'Services that wait',
  'Conflicts',
  "The cluster's own range",
  'Usage',
  'Who has the ports, and until when they last',
]);

async function main(): Promise<void> {
  // What runs ends with this process, however it ends.
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => process.exit(code));
  }
  print(paint('bold', 'An hour of three teams, told in two minutes'));
  say(`Everything is real; only the clock is ${SPEED} times as fast, for the alerts, too.`, '  ', 'dim');
  heading('A control plane, two replicas of the controller, a Prometheus');
  const told = await playStory({ speed: SPEED, onProgress: progress, onStep, onAlert });
  heading('Pictures');
  for (const [name, svg] of Object.entries(pictures(told))) {
    const file = join(IMAGES, name);
    await writeFile(file, `${svg}\n`);
    say(`docs/images/${name}, ${Math.ceil(svg.length / 1024)} KiB`);
  }
}

function onStep(time: string, says: string): void {
  say(says, `  ${time}  `);
}

function onAlert(time: string, { name, about, state }: Turn): void {
  const style = { pending: 'yellow', firing: 'red', resolved: 'green' } as const;
  say(
    `${paint(style[state], state.padEnd(8))} ${name}${about === '' ? '' : ` (${about})`}`,
    `  ${time}      `,
  );
}

function pictures({ drawn, before, span, moments }: Told): Record<string, string> {
  const subtitle = `A real run, ${SPEED} times as fast as it is told, the alerts with it. Drawn from the dashboard's own queries.`;
  const what =
    'The range of team-b goes from half to full, Services wait, alerts fire; the range is grown and they resolve. ' +
    'A rival takes a number and leaves; the leader is killed and another one takes over.';
  const strip = STRIP.flatMap((title) => drawn.find(({ panel }) => panel.title === title) ?? []);
  const full = (before.get('range grown') ?? []).filter(({ panel }) => GLANCE.has(panel.title));
  return {
    'segments-full.svg': dashboardPicture(
      {
        title: "Half past nine: team-b's range is full",
        subtitle,
        description: 'The segments at a glance, when the one of team-b is full.',
      },
      full,
      span,
      [],
    ),
    'story.svg': stripPicture(
      { title: 'An hour of three teams', subtitle, description: what },
      strip,
      span,
      moments,
    ),
    'dashboard.svg': dashboardPicture(
      { title: 'Node ports', subtitle, description: `The dashboard of nodeport-manager. ${what}` },
      drawn,
      span,
      moments,
    ),
  };
}

try {
  await main();
} catch (error) {
  process.stderr.write(`\nstory: failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
