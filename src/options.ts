import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseRange } from './controller/nodePortRange.ts';
import { JITTER } from './kube/leaseOptions.ts';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from './observability/logger.ts';
import { parseAddress } from './observability/health.ts';

export interface Options {
  readonly kubeconfig?: string;
  readonly context?: string;
  /** Of the allocation table. */
  readonly namespace: string;
  /** Of several replicas one decides and writes; false: there is no other. */
  readonly leaderElect: boolean;
  /** ms, whole seconds */
  readonly leaderElectLeaseDuration: number;
  /** ms */
  readonly leaderElectRenewDeadline: number;
  /** ms */
  readonly leaderElectRetryPeriod: number;
  readonly concurrency: number;
  /** ms */
  readonly resyncPeriod: number;
  readonly metricsBindAddress: string;
  /** /metrics by TLS, and only for whom the apiserver lets. */
  readonly metricsSecure: boolean;
  /** Where tls.crt and tls.key are; undefined: a self-signed one is made. */
  readonly metricsCertDir?: string;
  readonly healthProbeBindAddress: string;
  /** The apiserver's own range, `30000-32767`. */
  readonly serviceNodePortRange?: string;
  /** For the strategy Random. */
  readonly seed: string;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** How the process ends when the command line asks for no run: `--help` and `--version` 0, bad usage 2. */
export class UsageExit extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * Reads flags, then `NODEPORT_MANAGER_…` variables, then defaults.
 * @throws UsageExit after help or version was printed, or with one line that quotes the bad argument
 */
export function parseOptions(argv: readonly string[], env: NodeJS.ProcessEnv, version: string): Options {
  const command = new Command('nodeport-manager')
    .description('Gives the Services of a cluster unique node ports from the segment of their team.')
    .version(version, '--version', 'print the version and exit')
    .helpOption('-h, --help', 'print this help and exit')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  for (const option of flags()) command.addOption(option.env(variableOf(option.long ?? '')));
  const before = process.env;
  try {
    process.env = env;
    return checked(command.parse([...argv], { from: 'user' }).opts());
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    throw new UsageExit(error.exitCode === 0 ? 0 : 2, error.message.replace(/^error: /, ''));
  } finally {
    process.env = before;
  }
}

function flags(): Option[] {
  return [
    new Option(
      '--kubeconfig <path>',
      "kubeconfig to use (default: $KUBECONFIG, ~/.kube/config, or the Pod's service account)",
    ),
    new Option('--context <name>', 'context of the kubeconfig (default: its current one)'),
    new Option('--namespace <name>', 'namespace of the allocation table and of the Lease')
      .default('nodeport-manager-system')
      .argParser(nonEmpty),
    new Option(
      '--leader-elect [boolean]',
      'wait for a Lease before writing, so that of several replicas one works',
    )
      .default(true)
      .argParser(boolean),
    new Option(
      '--leader-elect-lease-duration <duration>',
      'how long the others wait for a leader that is silent',
    )
      .default(10_000, '10s')
      .argParser(wholeSeconds(1_000, 3_600_000)),
    new Option('--leader-elect-renew-deadline <duration>', 'when a leader that cannot renew its Lease ends')
      .default(7_000, '7s')
      .argParser(duration(500, 3_600_000)),
    new Option('--leader-elect-retry-period <duration>', 'how often the leader renews, and others try again')
      .default(1_500, '1500ms')
      .argParser(duration(100, 3_600_000)),
    new Option('--concurrency <number>', 'writes to Services at once, 1–256')
      .default(32)
      .argParser(integer(1, 256)),
    new Option('--resync-period <duration>', 'how often everything is looked at again, 1s–24h')
      .default(600_000, '10m')
      .argParser(duration(1_000, 86_400_000)),
    new Option('--metrics-bind-address <address>', 'where /metrics is served')
      .default(':8080')
      .argParser(address),
    new Option('--metrics-secure [boolean]', '/metrics by TLS, and only for whom the apiserver lets get it')
      .default(false)
      .argParser(boolean),
    new Option(
      '--metrics-cert-dir <path>',
      'folder of tls.crt and tls.key for --metrics-secure, read again when they change (default: self-signed)',
    ).argParser(nonEmpty),
    new Option('--health-probe-bind-address <address>', 'where /healthz and /readyz are served')
      .default(':8081')
      .argParser(address),
    new Option(
      '--service-node-port-range <range>',
      "the apiserver's own range, like 30000-32767 (default: found out)",
    ).argParser(portRange),
    new Option('--seed <text>', 'for the strategy Random: other seeds, other numbers').default(''),
    new Option('--log-level <level>', 'the least severe lines to log').default('info').choices(LOG_LEVELS),
    new Option('--log-format <format>', 'json for collectors, text for people')
      .default('json')
      .choices(LOG_FORMATS),
  ];
}

/** What flags must be together. As client-go: who leads must give up before others begin, and have tried to renew by then. */
function checked(options: Options): Options {
  const { leaderElectLeaseDuration: lease, leaderElectRenewDeadline: renew } = options;
  const retry = options.leaderElectRetryPeriod * JITTER;
  if (options.metricsCertDir !== undefined && !options.metricsSecure)
    throw new UsageExit(2, '--metrics-cert-dir is of no use without --metrics-secure');
  if (!options.leaderElect) return options;
  const longer = (one: string, ms: number, other: string, than: number): UsageExit =>
    new UsageExit(2, `--leader-elect-${one} (${ms}ms) must be longer than ${other} (${than}ms)`);
  if (lease <= renew) throw longer('lease-duration', lease, '--leader-elect-renew-deadline', renew);
  if (renew <= retry)
    throw longer('renew-deadline', renew, `${JITTER} times --leader-elect-retry-period`, Math.round(retry));
  return options;
}

/** `--log-level` → `NODEPORT_MANAGER_LOG_LEVEL` */
function variableOf(flag: string): string {
  return `NODEPORT_MANAGER_${flag.slice(2).replaceAll('-', '_').toUpperCase()}`;
}

function nonEmpty(text: string): string {
  if (text.trim() === '') throw new InvalidArgumentError('It must not be empty.');
  return text;
}

function portRange(text: string): string {
  if (parseRange(text) === undefined)
    throw new InvalidArgumentError('It must be a range of ports such as 30000-32767.');
  return text;
}

function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

/** Go's notation, as Kubernetes tools use it: `500ms`, `10s`, `1m30s`, `24h`. */
function duration(least: number, most: number): (text: string) => number {
  const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  return (text) => {
    let total = 0;
    for (const [, amount, name] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g))
      total += Number(amount) * unit[name as keyof typeof unit];
    if (/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text) && total >= least && total <= most) return total;
    throw new InvalidArgumentError(
      `It must be a duration such as 10m or 1h30m, from ${least / 1_000}s to ${most / 3_600_000}h.`,
    );
  };
}

/** A Lease knows no fractions. */
function wholeSeconds(least: number, most: number): (text: string) => number {
  const parse = duration(least, most);
  return (text) => {
    const value = parse(text);
    if (value % 1_000 === 0) return value;
    throw new InvalidArgumentError('It must be whole seconds.');
  };
}

function boolean(text: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  throw new InvalidArgumentError('It must be true or false.');
}

function address(text: string): string {
  try {
    parseAddress(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
