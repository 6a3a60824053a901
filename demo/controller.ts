import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { type Daemon, startDaemon } from '../e2e/cluster/daemon.ts';
import { type Guard, startGuard } from '../e2e/cluster/guard.ts';
import { freePort } from '../e2e/cluster/ports.ts';

/** The controller as users start it: the bundle, in a process of its own, with a kubeconfig. */
export interface Controller {
  readonly logFile: string;
  pid(): number;
  /** Where /metrics is. */
  metricsUrl(): string;
  metrics(): Promise<string>;
  /** Starts it and resolves when it is ready; ms. Throws with the end of its log when it ends instead. */
  start(): Promise<number>;
  /** Resolves when its queue is empty and nothing is being worked on. */
  idle(): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** The last lines of its log; empty when it was never started. */
  logTail(): Promise<string>;
  /** Ends it and removes its folder. Happens by itself when this process ends, however it ends. */
  stop(): Promise<void>;
}

const BUNDLE = join(import.meta.dirname, '../dist/nodeport-manager.js');
const READY_WITHIN_MS = 30_000;
const LOOK_AGAIN_MS = 10;
/** Between choosing a port and binding it anybody may take it. */
const TRIES = 3;

/** There is no other; and it is killed with SIGKILL, after which another would wait for its lease to expire. */
const ALONE = ['--leader-elect=false'] as const;

/**
 * @param onDied it has ended, and nobody asked it to
 * @param flags more of them than where it serves and how it logs
 */
export async function prepareController(
  kubeconfig: string,
  onDied: () => void,
  flags: readonly string[] = ALONE,
): Promise<Controller> {
  if (!existsSync(BUNDLE)) throw new Error(`${BUNDLE} is missing: run "make build" first`);
  const dir = await mkdtemp(join(tmpdir(), 'nodeport-manager-demo-'));
  const guard: Guard = await startGuard(dir);
  const logFile = join(dir, 'controller.log');
  let daemon: Daemon | undefined;
  let metricsPort = 0;
  let probesPort = 0;
  let isUp = false;

  async function launch(): Promise<Daemon> {
    metricsPort = await freePort();
    probesPort = await freePort();
    const args = [
      BUNDLE,
      `--kubeconfig=${kubeconfig}`,
      '--namespace=nodeport-manager-system',
      `--metrics-bind-address=127.0.0.1:${metricsPort}`,
      `--health-probe-bind-address=127.0.0.1:${probesPort}`,
      '--log-format=text',
      ...flags,
    ];
    const launched = await startDaemon(process.execPath, args, dir, logFile, guard);
    void launched.ended.then(() => (isUp ? onDied() : undefined));
    return launched;
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    isUp = false;
    await daemon?.end(signal);
  }

  /** Polls until `look` is content; false when the process has ended. */
  async function until(what: string, look: () => Promise<boolean>): Promise<boolean> {
    const deadline = performance.now() + READY_WITHIN_MS;
    while (daemon?.running()) {
      if (await look().catch(() => false)) return true;
      if (performance.now() > deadline)
        throw new Error(`the controller is not ${what} after ${READY_WITHIN_MS / 1000} s`);
      await sleep(LOOK_AGAIN_MS);
    }
    return false;
  }

  const get = async (url: string): Promise<{ status: number; text: string }> => {
    const { statusCode, body } = await request(url);
    return { status: statusCode, text: await body.text() };
  };
  const metricsUrl = (): string => `http://127.0.0.1:${metricsPort}/metrics`;

  return {
    logFile,
    pid: () => daemon?.pid ?? 0,
    metricsUrl,
    metrics: async () => (await get(metricsUrl())).text,
    async start() {
      for (let tried = 1; ; tried += 1) {
        const begun = performance.now();
        daemon = await launch();
        const readyz = `http://127.0.0.1:${probesPort}/readyz`;
        if (await until('ready', async () => (await get(readyz)).status === 200)) {
          isUp = true;
          return performance.now() - begun;
        }
        const log = await daemon.logTail();
        if (tried === TRIES || !log.includes('EADDRINUSE')) throw new Error('the controller ended by itself');
      }
    },
    async idle() {
      const isIdle = async (): Promise<boolean> => {
        const { text } = await get(metricsUrl());
        return ['workqueue_depth', 'workqueue_unfinished_work_seconds'].every((name) =>
          text.includes(`\n${name}{name="services"} 0\n`),
        );
      };
      if (!(await until('idle', isIdle))) throw new Error('the controller ended by itself');
    },
    kill: end,
    logTail: async () => (await daemon?.logTail().catch(() => '')) ?? '',
    async stop() {
      await end('SIGTERM');
      await guard.finish();
    },
  };
}
