import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSeconds } from './controller.ts';
import { asList, countWrites, difference, total } from './counters.ts';
import { type Findings, show } from './report.ts';
import { type Bench, withRig } from './rig.ts';
import { conditionOf, createMany, createRange, type Service, watchServices } from './services.ts';
import { WIDE } from './assign.ts';

const COUNT = 2_000;
const SEGMENT = { from: 30_000, to: 30_000 + COUNT - 1 };
const NAMESPACE = 'settled';
const SECONDS = Number(process.env['BENCH_SETTLED_SECONDS'] ?? 60);
/** Events of the assignments are sent for some seconds yet. */
const SETTLE_MS = 15_000;

/** 2,000 Services have their ports, and nothing changes any more. */
export async function settled(bench: Bench): Promise<Findings> {
  return withRig(bench, { nodePortRange: WIDE }, async ({ client, startController, say }) => {
    const controller = await startController();
    await createRange(client, 'bench', SEGMENT);
    const watch = await watchServices(client, NAMESPACE);
    const names = await createMany(client, NAMESPACE, {
      count: COUNT,
      prefix: 'svc',
      range: 'bench',
      segment: SEGMENT,
    });
    await watch.until('served', names, (service: Service) => conditionOf(service)?.status === 'True');
    await watch.stop();
    say(`settled; watching for ${SECONDS} s`);
    await sleep(SETTLE_MS);
    const before = await countWrites(client);
    const [cpuBefore, began] = [await cpuSeconds(controller.pid), performance.now()];
    await sleep(SECONDS * 1_000);
    const cpu = (await cpuSeconds(controller.pid)) - cpuBefore;
    const share = (100 * cpu * 1_000) / (performance.now() - began);
    const writes = difference(before, await countWrites(client));
    return {
      figures: [
        {
          what: `settled, ${COUNT} Services: API writes in ${SECONDS} s`,
          ours: asList(writes),
          bare: '',
          value: total(writes),
          budget: 0,
        },
        {
          what: `settled, ${COUNT} Services: CPU of the controller`,
          ours: `${show(1_000 * cpu)} ms in ${SECONDS} s`,
          bare: '',
          value: share,
          budget: 0.3,
          unit: ' % of a core',
          ifMissed: 'fewer timers, and less work for each bookmark and renewed lease.',
        },
      ],
      raw: [],
      notes: [
        'Writes by the apiserver’s own counters, all resources but Leases; the controller’s CPU in user and system mode, all threads, nothing scraping. The kernel counts it in steps of 10 ms.',
      ],
    };
  });
}
