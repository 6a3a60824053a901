import { setTimeout as sleep } from 'node:timers/promises';
import { type Controller, cpuSeconds } from './controller.ts';
import { asList, countWrites, difference, total } from './counters.ts';
import { type Figure, type Findings, show } from './report.ts';
import { type Bench, withRig } from './rig.ts';
import { conditionOf, createMany, createRange, type Service, watchServices } from './services.ts';
import { WIDE } from './assign.ts';

const COUNT = 2_000;
const SEGMENT = { from: 30_000, to: 30_000 + COUNT - 1 };
const NAMESPACE = 'settled';
const SECONDS = Number(process.env['BENCH_SETTLED_SECONDS'] ?? 60);
/** As often as Prometheus is set to, or more often. */
const SCRAPE_SECONDS = 15;
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
    const quiet = await cpuDuring(controller, () => sleep(SECONDS * 1_000));
    const writes = difference(before, await countWrites(client));
    say(`scraped every ${SCRAPE_SECONDS} s, for ${SECONDS} s`);
    const scraped = await cpuDuring(controller, () => scrapeFor(controller));
    const cpuFigure = (what: string, { ms, share }: Cpu): Figure => ({
      what: `settled, ${COUNT} Services${what}: CPU of the controller`,
      ours: `${show(ms)} ms in ${SECONDS} s`,
      bare: '',
      value: share,
      budget: 0.3,
      unit: ' % of a core',
      ifMissed: 'fewer timers, and less work for each bookmark, renewed lease and scrape.',
    });
    return {
      figures: [
        {
          what: `settled, ${COUNT} Services: API writes in ${SECONDS} s`,
          ours: asList(writes),
          bare: '',
          value: total(writes),
          budget: 0,
        },
        cpuFigure('', quiet),
        cpuFigure(`, scraped every ${SCRAPE_SECONDS} s`, scraped),
      ],
      raw: [],
      notes: [
        'Writes by the apiserver’s own counters, all resources but Leases; the controller’s CPU in user and system mode, all threads; the first without a scrape. The kernel counts it in steps of 10 ms.',
      ],
    };
  });
}

interface Cpu {
  readonly ms: number;
  /** Percent of a core. */
  readonly share: number;
}

async function cpuDuring({ pid }: Controller, passes: () => Promise<unknown>): Promise<Cpu> {
  const [before, began] = [await cpuSeconds(pid), performance.now()];
  await passes();
  const ms = 1_000 * ((await cpuSeconds(pid)) - before);
  return { ms, share: (100 * ms) / (performance.now() - began) };
}

async function scrapeFor({ metrics }: Controller): Promise<void> {
  for (let passed = 0; passed < SECONDS; passed += SCRAPE_SECONDS) {
    const answer = await fetch(metrics);
    if (!(await answer.text()).includes('nodeport_manager_range_free_ports')) throw new Error('no metrics');
    await sleep(Math.min(SCRAPE_SECONDS, SECONDS - passed) * 1_000);
  }
}
