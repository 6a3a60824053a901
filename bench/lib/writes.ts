import { setTimeout as sleep } from 'node:timers/promises';
import { serveWaiting } from './assign.ts';
import { asList, countWrites, difference, forAssigning, type Writes } from './counters.ts';
import { type Findings, show } from './report.ts';
import { type Bench, type Rig, withRig } from './rig.ts';
import {
  conditionOf,
  createMany,
  createRange,
  isIn,
  serviceBody,
  type Service,
  watchServices,
} from './services.ts';

const COUNT = 1_000;
const SINGLES = 10;
const QUIET_MS = 1_000;
const NAMESPACE = 'writes';
const SEGMENT = { from: 40_000, to: 41_199 };
/** So wide that the apiserver's random numbers are hardly ever in the segment: that would be another matter. */
const WIDEST = '2000-65000';

const isTrue = (service: Service): boolean => conditionOf(service)?.status === 'True';

/** How many writes an assigned Service costs, by the apiserver's own counters. */
export async function writes(bench: Bench): Promise<Findings> {
  return withRig(bench, { nodePortRange: WIDEST }, async (rig) => {
    const waiting = await serveWaiting(rig, COUNT);
    const { burst, singles } = await serveNewcomers(rig);
    const single = Math.max(...singles.map(forAssigning));
    return {
      figures: [
        {
          what: `API writes per assigned Service, ${COUNT} waiting`,
          ours: String(forAssigning(waiting.writes)),
          bare: String(2 * COUNT),
          value: forAssigning(waiting.writes) / COUNT,
          budget: 2.1,
        },
        {
          what: `API writes per assigned Service, ${COUNT} created at full speed`,
          ours: String(forAssigning(burst)),
          bare: String(2 * COUNT),
          value: forAssigning(burst) / COUNT,
          budget: 2.1,
          ifMissed:
            'Services that come one after another are reserved in small rounds, each with a table write of its own: rounds that wait longer for company, which costs latency while the cluster is busy.',
        },
        {
          what: `API writes for one Service on an idle cluster, most of ${SINGLES}`,
          ours: show(single),
          bare: '2',
          value: single,
          budget: 3,
        },
      ],
      raw: [
        ['run', 'all writes but Leases', 'counted, per Service'],
        [`${COUNT} waiting`, asList(waiting.writes), show(forAssigning(waiting.writes) / COUNT)],
        [`${COUNT} created, 32 at once`, asList(burst), show(forAssigning(burst) / COUNT)],
        ...singles.map((of, i) => [`one (${i + 1})`, asList(of), show(forAssigning(of))]),
      ],
      notes: [
        'Counted: writes to Services, their status and the table’s ConfigMaps. Events, the status of PortRanges and the bench’s own creates are listed and not counted.',
        'Of those created at full speed, about one in fifty gets a random number of the segment: the bench removes and creates it again, and the table tells of the number that it had meanwhile (DELETE ipaddresses counts them).',
      ],
    };
  });
}

async function serveNewcomers(rig: Rig): Promise<{ burst: Writes; singles: Writes[] }> {
  const { client } = rig;
  await rig.startController();
  await createRange(client, 'newcomers', SEGMENT);
  const first = await createMany(client, NAMESPACE, {
    count: 1,
    prefix: 'first',
    range: 'newcomers',
    segment: SEGMENT,
  });
  const watch = await watchServices(client, NAMESPACE);
  await watch.until('served', first, isTrue);
  await sleep(QUIET_MS);
  const before = await countWrites(client);
  const names = await createMany(client, NAMESPACE, {
    count: COUNT,
    prefix: 'burst',
    range: 'newcomers',
    segment: SEGMENT,
  });
  await watch.until('served', names, isTrue);
  await sleep(QUIET_MS);
  const burst = withoutCreates(difference(before, await countWrites(client)));
  const singles: Writes[] = [];
  for (let i = 0; singles.length < SINGLES; i++) {
    const before = await countWrites(client);
    const path = `/api/v1/namespaces/${NAMESPACE}/services`;
    const service = await client.create<Service>(path, serviceBody(`single-${i}`, 'newcomers'));
    await watch.until('served', [`single-${i}`], isTrue);
    await sleep(QUIET_MS);
    // Adopted: the apiserver happened to pick a number of the segment.
    if (isIn(SEGMENT, service)) continue;
    singles.push(withoutCreates(difference(before, await countWrites(client))));
  }
  await watch.stop();
  return { burst, singles };
}

/** Creating Services, and removing what got a port of the segment by accident, is the bench's doing. */
function withoutCreates(of: Writes): Writes {
  return new Map([...of].filter(([what]) => what !== 'POST services' && what !== 'DELETE services'));
}
