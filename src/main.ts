/** The composition root: options → parts → run → stop. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { NAME, PREFIX } from './api/names.ts';
import { type Controller, createController } from './controller/controller.ts';
import { createElection, type Election, noElection } from './election.ts';
import { systemClock as clock } from './kube/clock.ts';
import { doubtAbout, loadConnection } from './kube/connection.ts';
import { createEventRecorder } from './kube/events.ts';
import { type Review, reviewGet } from './kube/reviews.ts';
import { createTransport, type Transport } from './kube/transport.ts';
import { createWire, type WireOptions } from './kube/wire.ts';
import { certificateIn } from './observability/certificate.ts';
import { type Handler, probes, serve } from './observability/health.ts';
import { createLogger } from './observability/logger.ts';
import { createMetrics, type Metrics } from './observability/metrics.ts';
import { type Admission, createAdmission } from './observability/scrapers.ts';
import { selfSigned } from './observability/selfSigned.ts';
import { observing } from './observing.ts';
import { type Options, parseOptions, UsageExit } from './options.ts';

const VERSION = process.env['NODEPORT_MANAGER_BUILD_VERSION'] ?? 'development';

const METRICS_PATH = '/metrics';

/** Pods are killed 30 s after SIGTERM by default; people wait less gladly. */
const STOP_WITHIN_MS = 4_500;

/** Connections beside those for writes: lists, table writes, status, events. */
const OTHER_CONNECTIONS = 8;

/** One for renewals, and one for when that hangs. */
const LEASE_CONNECTIONS = 2;

/** Questions about who may scrape. */
const REVIEW_CONNECTIONS = 2;

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), process.env, VERSION);
  const log = createLogger({ level: options.logLevel, format: options.logFormat });
  try {
    process.exitCode = await run(options, log);
  } catch (error) {
    log.error({ error: error instanceof Error ? error.message : String(error) }, 'cannot run');
    // Also when a server listens already, which would keep the process alive.
    process.exit(1);
  }
}

/** Runs until SIGTERM, SIGINT or a fatal error; the exit code. */
async function run(options: Options, log: Logger): Promise<number> {
  const metrics = createMetrics();
  const connection = await loadConnection(options);
  const doubt = doubtAbout(connection);
  if (doubt !== undefined) log.warn({ server: connection.server.href }, doubt);
  const identity = `${hostname()}_${randomUUID()}`;
  const connect = (wire: WireOptions): Transport =>
    createTransport({
      wire: createWire(connection, wire),
      authorize: (how) => connection.authorize(how),
      host: connection.server.host,
      userAgent: `${NAME}/${VERSION}`,
      clock,
      random: Math.random,
      observer: { answered: metrics.request },
    });
  // Renewals never wait behind other requests: they have connections of their own.
  const own = connect({ maxConnections: LEASE_CONNECTIONS });
  const onLost = (reason: string): void => {
    log.error({ reason }, 'fatal: stopping');
    process.exit(1);
  };
  const election = options.leaderElect
    ? createElection({
        options,
        transport: own,
        identity,
        clock,
        random: Math.random,
        log,
        leads: metrics.leads,
        onLost,
      })
    : noElection;
  const { mayWrite } = election;
  const transport = connect({ maxConnections: options.concurrency + OTHER_CONNECTIONS, mayWrite });
  // A standby is scraped as well, and asks who may although it may not write.
  const reviews = connect({ maxConnections: REVIEW_CONNECTIONS });
  const stop = new AbortController();
  let exitCode = 0;
  const controller = assemble(options, { transport, log, metrics, identity, election }, (message) => {
    log.error({ reason: message }, 'fatal: stopping');
    exitCode = 1;
    stop.abort();
  });
  const servers = [
    await serveMetrics(options, { metrics, log, transport: reviews }),
    await serve(
      options.healthProbeBindAddress,
      probes(() => controller.notReady()),
    ),
  ];
  endInTime(stop, log);
  stopOnSignals(stop, log);
  log.info({ version: VERSION, server: connection.server.href, identity }, 'started');
  await controller.run(stop.signal);
  await election.release();
  await Promise.all(servers.map(({ close }) => close()));
  await Promise.all([transport, own, reviews].map((each) => each.close()));
  log.info({ exitCode }, 'stopped');
  return exitCode;
}

interface Parts {
  readonly transport: Transport;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly identity: string;
  readonly election: Election;
}

function assemble(
  options: Options,
  { transport, log, metrics, identity, election }: Parts,
  onFatal: (message: string) => void,
): Controller {
  const events = createEventRecorder({
    transport,
    reportingController: `${PREFIX}controller`,
    reportingInstance: identity,
    clock,
    onDropped: metrics.eventDropped,
    log: (message, error) => log.warn({ error: String(error) }, message),
  });
  const controller = createController({
    namespace: options.namespace,
    identity,
    concurrency: options.concurrency,
    resyncPeriod: options.resyncPeriod,
    seed: options.seed,
    nodePortRange: options.serviceNodePortRange,
    transport,
    events,
    clock,
    random: Math.random,
    log,
    explains: options.logLevel === 'debug',
    mandate: election.mandate,
    onFatal,
    observer: observing(metrics, log),
  });
  metrics.watch(controller);
  return controller;
}

async function serveMetrics(
  options: Options,
  { metrics, log, transport }: Pick<Parts, 'metrics' | 'log' | 'transport'>,
): Promise<{ close: () => Promise<void> }> {
  const { metricsBindAddress: address, metricsCertDir: folder, namespace } = options;
  if (!options.metricsSecure) return serve(address, metricsPage(metrics));
  const review = (token: string): Promise<Review> => reviewGet(transport, token, METRICS_PATH);
  const names = ['localhost', `${NAME}-metrics.${namespace}.svc`, hostname()] as const;
  const made = folder === undefined ? selfSigned(names, clock.now()) : undefined;
  return serve(
    address,
    metricsPage(metrics, createAdmission({ review, clock, log })),
    made === undefined ? certificateIn(folder ?? '', { clock, log }) : () => made,
  );
}

/** The page, for whom `admit` lets in. */
function metricsPage({ registry }: Metrics, admit?: Admission): Handler {
  return async (path, authorization) => {
    if (path !== METRICS_PATH) return undefined;
    const refusal = await admit?.(authorization);
    if (refusal !== undefined) return refusal;
    return { status: 200, type: registry.contentType, body: await registry.metrics() };
  };
}

function stopOnSignals(stop: AbortController, log: Logger): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.info({ signal }, 'stopping: finishing what is in flight');
      stop.abort();
    });
  }
}

/** However it came to the stop: what hangs does not keep the process. */
function endInTime(stop: AbortController, log: Logger): void {
  stop.signal.addEventListener('abort', () => {
    setTimeout(() => {
      log.error({}, 'not drained in time: what is in flight is resumed by the next start');
      process.exit(1);
    }, STOP_WITHIN_MS).unref();
  });
}

main().catch((error: unknown) => {
  if (error instanceof UsageExit) {
    if (error.exitCode !== 0) process.stderr.write(`${NAME}: ${error.message}\n`);
    process.exitCode = error.exitCode;
    return;
  }
  process.stderr.write(`${NAME}: ${String(error)}\n`);
  process.exitCode = 1;
});
