/** One process of the controller, put together as main.ts does it, but for flags, pages and signals. */
import {
  type Controller,
  type ControllerObserver,
  createController,
} from '../../src/controller/controller.ts';
import { createElection, type Election, noElection } from '../../src/election.ts';
import { createEventRecorder } from '../../src/kube/events.ts';
import { createTransport, type Transport } from '../../src/kube/transport.ts';
import type { Wire } from '../../src/kube/wire.ts';
import type { Metrics } from '../../src/observability/metrics.ts';
import { observing } from '../../src/observing.ts';
import { parseOptions } from '../../src/options.ts';
import type { Victim } from './faults.ts';
import type { Machine } from './machine.ts';
import type { Network } from './network.ts';

/** Defaults of the command line. */
export const DEFAULTS = parseOptions([], {}, 'sim');
/** As main.ts bounds it. */
const STOP_WITHIN = 4_500;

/** A line of the log, by its fields. */
export interface LogLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface SimProcess extends Victim {
  readonly identity: string;
  readonly controller: Controller;
  readonly log: readonly string[];
  /** Undefined while it runs; else why it ended. */
  readonly ended: string | undefined;
  /** SIGTERM: it drains, and ends. */
  terminate(): void;
}

export interface ProcessParts {
  readonly identity: string;
  readonly machine: Machine;
  readonly network: Network;
  readonly random: () => number;
  readonly concurrency: number;
  readonly elects: boolean;
  /** The flag that tells the apiserver's own range. */
  readonly told: string | undefined;
  readonly metrics: Metrics | undefined;
  readonly onLog: ((line: LogLine) => void) | undefined;
  /** Once, with the reason. */
  readonly onEnd: (why: string) => void;
}

type Logged = (details: object, message: string) => void;

export function startProcess(parts: ProcessParts): SimProcess {
  const { identity, machine, network, random, elects, metrics } = parts;
  const stop = new AbortController();
  const log: string[] = [];
  let ended: string | undefined;
  let fatal: string | undefined;
  const line: Logged = (details, message) => {
    log.push(`${message} ${JSON.stringify(details)}`);
    parts.onLog?.({ ...details, msg: message });
  };
  const end = (why: string): void => {
    if (ended !== undefined) return;
    ended = why;
    machine.halt();
    network.forget();
    parts.onEnd(why);
  };
  const connect = (wire: Wire): Transport =>
    createTransport({
      wire,
      authorize: () => Promise.resolve({}),
      host: 'sim',
      userAgent: 'sim',
      clock: machine,
      random,
      ...(metrics === undefined ? {} : { observer: { answered: metrics.request } }),
    });
  const election = elects
    ? createElection({
        options: DEFAULTS,
        transport: connect(network.wire()),
        identity,
        clock: machine,
        random,
        log: logOf(line),
        leads: () => undefined,
        onLost: (why) => end(`lost: ${why}`),
      })
    : noElection;
  const transport = connect(network.wire(election.mayWrite));
  const controller = assemble(parts, { transport, election, line }, (message) => {
    line({ reason: message }, 'fatal: stopping');
    fatal = message;
    stop.abort();
  });
  void controller
    .run(stop.signal)
    .then(() => election.release())
    .then(() => end(fatal ?? 'stopped'));
  return {
    identity,
    controller,
    log,
    get ended() {
      return ended;
    },
    kill: () => end('killed'),
    freeze: machine.freeze,
    thaw: machine.thaw,
    cutOff: network.cutOff,
    terminate() {
      stop.abort();
      machine.after(STOP_WITHIN, () => end('not drained in time'));
    },
  };
}

function assemble(
  { identity, machine: clock, random, concurrency, metrics, told }: ProcessParts,
  { transport, election, line }: { transport: Transport; election: Election; line: Logged },
  onFatal: (message: string) => void,
): Controller {
  const log = logOf(line);
  const controller = createController({
    namespace: DEFAULTS.namespace,
    identity,
    concurrency,
    resyncPeriod: DEFAULTS.resyncPeriod,
    seed: '',
    nodePortRange: told,
    transport,
    events: createEventRecorder({
      transport,
      reportingController: 'sim/controller',
      reportingInstance: identity,
      clock,
    }),
    clock,
    random,
    explains: false,
    log,
    mandate: election.mandate,
    onFatal,
    observer: metrics === undefined ? unobserved : observing(metrics, log),
  });
  metrics?.watch(controller);
  return controller;
}

const nothing = (): void => undefined;

const unobserved: ControllerObserver = {
  audit: { allocated: nothing, took: nothing, released: nothing },
  conflictSeen: nothing,
  journal: { wrote: nothing, healed: nothing },
  workqueue: { added: nothing, started: nothing, finished: nothing, retried: nothing },
  reflector: { listed: nothing, watched: nothing, failed: nothing },
};

function logOf(line: Logged): { debug: Logged; info: Logged; warn: Logged; error: Logged } {
  return { debug: nothing, info: line, warn: line, error: line };
}
