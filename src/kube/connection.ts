/**
 * Where the apiserver is and how we prove who we are. KubeConfig of client-node does the reading (kubeconfig,
 * in-cluster, exec plugins, OIDC, token files); nothing else of that package is used.
 *
 * Deep import: the package's root is three times as heavy. Its own HTTP side is avoided as well, because it
 * opens a new TLS connection for each call.
 */
import type { RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { type Clock, type Millis, systemClock } from './clock.ts';

export interface Connection {
  /** May have a path, which is put before every request's. */
  server: URL;
  /** PEM texts. */
  tls: { ca?: string; cert?: string; key?: string; servername?: string; rejectUnauthorized: boolean };
  /** Of the context, or of the Pod's service account. */
  namespace?: string;
  /**
   * The auth headers for one request. Tokens in files are read again every minute, exec and OIDC tokens are
   * renewed when they expire. No promise where they are known already, which is nearly always.
   * @param options.fresh forget what is cached: the server has just answered 401
   * @throws Error when a plugin or a file fails, or the promise rejects with it
   */
  authorize(options?: { fresh?: boolean }): Record<string, string> | Promise<Record<string, string>>;
}

/** KubeConfig reads the CA and key files again on every call: too much for every request. */
const HEADERS_LAST_MS: Millis = 10_000;
/** A client that is refused for good must not run its exec plugin for every request. */
const FRESH_EVERY_MS: Millis = 5_000;

/** What client-node makes up when it has found nothing at all. */
const NOTHING_FOUND = 'http://localhost:8080';

/**
 * From `kubeconfig` (a path); else $KUBECONFIG (paths joined as in kubectl); else ~/.kube/config; else the Pod's
 * service account. `context` chooses another than the file's current one.
 * @throws Error that quotes the path or context at fault and says what to do
 */
export async function loadConnection(options: {
  kubeconfig?: string;
  context?: string;
  clock?: Clock;
}): Promise<Connection> {
  const clock = options.clock ?? systemClock;
  const config = load(options);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error(`context '${config.getCurrentContext()}' names no known cluster`);
  if (cluster.proxyUrl) {
    const proxy = withoutPassword(cluster.proxyUrl);
    throw new Error(
      `cluster '${cluster.name}': proxy-url '${proxy}' is not supported; reach the server directly`,
    );
  }
  const tls = await requestOptions(config);
  const namespace = config.getContextObject(config.getCurrentContext())?.namespace?.trim();
  return {
    server: parseServer(cluster.server, cluster.name),
    tls: {
      ...text('ca', tls.ca),
      ...text('cert', tls.cert),
      ...text('key', tls.key),
      ...text('servername', tls.servername),
      rejectUnauthorized: tls.rejectUnauthorized !== false,
    },
    ...(namespace ? { namespace } : {}),
    authorize: createAuthorizer(config, () => load(options), clock),
  };
}

function load({ kubeconfig, context }: { kubeconfig?: string; context?: string }): KubeConfig {
  const config = new KubeConfig();
  const source = kubeconfig ?? (process.env['KUBECONFIG'] || '~/.kube/config');
  try {
    if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
  } catch (cause) {
    // oxlint-disable-next-line eslint/preserve-caught-error -- it quotes the file
    throw new Error(
      `cannot read the kubeconfig '${source}': ${whyUnreadable(cause)}. Name another with --kubeconfig or KUBECONFIG`,
    );
  }
  if (kubeconfig === undefined && config.getCurrentCluster()?.server === NOTHING_FOUND) {
    throw new Error(
      `no kubeconfig at '${source}' and not running in a Pod. Name one with --kubeconfig or KUBECONFIG`,
    );
  }
  if (context !== undefined) config.setCurrentContext(context);
  const chosen = config.getCurrentContext();
  if (config.getContextObject(chosen) === null) {
    const known = config.getContexts().map(({ name }) => `'${name}'`);
    const choose = known.length > 0 ? `Choose one of ${known.join(', ')}` : 'It has none';
    throw new Error(`no context '${chosen ?? ''}' in the kubeconfig '${source}'. ${choose}`);
  }
  return config;
}

/** Where YAML ends to be YAML, without quoting it as the parser does: there may be a token on that line. */
function whyUnreadable(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause.name !== 'YAMLException') return cause.message;
  const { mark } = cause as { mark?: { line: number; column: number } };
  return mark === undefined ? 'no YAML' : `no YAML at line ${mark.line + 1}, column ${mark.column + 1}`;
}

/** A user name and password in the URL are no way to log in here, so they are dropped: nobody is to print them. */
function parseServer(server: string, cluster: string): URL {
  const url = URL.parse(server);
  if (url?.protocol === 'https:' || url?.protocol === 'http:')
    return Object.assign(url, { username: '', password: '' });
  const shown = withoutPassword(server);
  throw new Error(`cluster '${cluster}': server '${shown}' is no http(s) URL. Correct it in the kubeconfig`);
}

function withoutPassword(url: string): string {
  return url.replace(/^([^/]*\/\/)?[^/]*@/, '$1…@');
}

/** What makes the connection less than private; undefined: nothing. */
export function doubtAbout({ server, tls }: Pick<Connection, 'server' | 'tls'>): string | undefined {
  if (server.protocol === 'http:')
    return 'the apiserver is reached by plain http: whoever is on the way can read the credentials';
  return tls.rejectUnauthorized
    ? undefined
    : 'the kubeconfig says insecure-skip-tls-verify: whoever is on the way can pose as the apiserver';
}

/**
 * TLS material and auth headers as client-node would use them. It refuses plain http unless TLS verification is
 * off; kubectl does not, and there is nothing to verify.
 */
async function requestOptions(config: KubeConfig): Promise<RequestOptions> {
  const cluster = config.getCurrentCluster();
  if (cluster?.server.startsWith('http:') === true && !cluster.skipTLSVerify) {
    config.clusters = config.clusters.map((each) =>
      each.name === cluster.name ? { ...each, skipTLSVerify: true } : each,
    );
  }
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (cause) {
    // Parsers quote what they cannot read, and here that may be the token itself.
    if (!(cause instanceof SyntaxError || cause instanceof TypeError)) throw cause;
    const user = config.getCurrentUser()?.name ?? '';
    // oxlint-disable-next-line eslint/preserve-caught-error -- it quotes the credentials
    throw new Error(
      `user '${user}': its credentials cannot be read. An exec plugin must print an ExecCredential as JSON`,
    );
  }
  return options;
}

function text<K extends string>(name: K, value: unknown): { [P in K]?: string } {
  const known = Buffer.isBuffer(value) ? value.toString('utf8') : value;
  return (typeof known === 'string' && known !== '' ? { [name]: known } : {}) as { [P in K]?: string };
}

function createAuthorizer(
  first: KubeConfig,
  reload: () => KubeConfig,
  clock: Clock,
): Connection['authorize'] {
  let config = first;
  let renewed = Number.NEGATIVE_INFINITY;
  let cached: { at: Millis; headers: ReturnType<Connection['authorize']> } | undefined;
  return (options) => {
    const now = clock.monotonic();
    if (options?.fresh === true && now - renewed >= FRESH_EVERY_MS) {
      renewed = now;
      cached = undefined;
      config = reload();
    }
    if (cached === undefined || now - cached.at >= HEADERS_LAST_MS) {
      const headers = authHeaders(config);
      const entry: typeof cached = { at: now, headers };
      cached = entry;
      headers.then(
        (known) => {
          entry.headers = known;
        },
        () => {
          if (cached === entry) cached = undefined;
        },
      );
    }
    return cached.headers;
  };
}

async function authHeaders(config: KubeConfig): Promise<Record<string, string>> {
  const options = await requestOptions(config);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    // A token file often ends in a newline, which no header may.
    headers[name.toLowerCase()] = String(value).trim();
  }
  if (options.auth) headers['authorization'] ??= `Basic ${Buffer.from(options.auth).toString('base64')}`;
  return headers;
}
