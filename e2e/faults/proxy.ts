/**
 * The fault proxy: plain HTTP on loopback in front of the real apiserver, and everything that networks and apiservers
 * do to a client on the way. It lets the Authorization header through, so rights are those of who asks.
 *
 *   request ──► [fault before] ──► apiserver: it takes effect ──► [fault after] ──► answer
 *
 * It runs in the process of the test: who kills a controller around its k-th write must decide that before the write
 * goes on, and there everything else stands still meanwhile. A control port would add a round trip and a race.
 *
 * What is not of this file: when a fault strikes (plan.ts), watches (watches.ts).
 */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request as send } from 'undici';
import type { Cluster } from '../cluster/cluster.ts';
import { freePort } from '../cluster/ports.ts';
import { eventually } from '../support/eventually.ts';
import { nameOf, type Passing, passingOf } from './passing.ts';
import { createWatches, type WatchFault } from './watches.ts';

/** What happens to one request. */
export type Fault =
  | { at: 'before'; do: 'reset' | 'hang' }
  | {
      at: 'before';
      do: 'answer';
      status: number;
      reason: string;
      message?: string;
      retryAfterSeconds?: number;
      causes?: object[];
    }
  | { at: 'before'; do: 'slow'; ms: number }
  /** An older answer to the same list, if there was one. */
  | { at: 'before'; do: 'replay'; age: number }
  /** It has taken effect. `cut`: half of the answer, as if that were all; `break`: the connection breaks in it. */
  | { at: 'after'; do: 'reset' | 'hang' | 'cut' | 'break' };

export type { WatchFault } from './watches.ts';

export interface Faults {
  /** Asked once for each request that is no watch. */
  onRequest?(passing: Passing): Fault | undefined;
  /** Asked once for each watch. */
  onWatch?(passing: Passing): WatchFault | undefined;
  /** Awaited around each counted write: before it is sent on, before its answer is, and when that has left. */
  onWrite?(moment: 'before' | 'after' | 'answered', passing: Passing): void | Promise<void>;
}

/** A counted write that the apiserver answered, whoever heard the answer. */
export interface Answered {
  readonly write: string;
  readonly resource: string;
  readonly object: string;
  readonly status: number;
  readonly resourceVersion: string;
}

export interface Proxy {
  /** The controller's kubeconfig that goes this way. */
  readonly kubeconfig: string;
  /** One for a process that `cutOff` is to know by this name: `/name` goes before its paths. */
  kubeconfigFor(name: string): Promise<string>;
  /** Its connections carry nothing any more, new ones neither, until what is returned is called: they break then. */
  cutOff(name: string): () => void;
  /** What goes wrong from now on. */
  play(faults: Faults): void;
  readonly answered: readonly Answered[];
  /** Whether there is an earlier answer to this list. */
  hasListed(url: string): boolean;
  /** How many requests are under way, without watches. */
  underWay(): number;
  /** The resources of the watches that are open and not silent. */
  watched(): string[];
  /** The newest resourceVersion of this resource that a watch has told; 0: none. */
  told(resource: string): number;
  /** Stops, and lets go on, every request that arrives; it comes no further than to the proxy. */
  freeze(): void;
  thaw(): void;
  /** Holds back, and lets go on, all that watches tell. */
  holdWatches(): void;
  releaseWatches(): void;
  /** RST on every connection; what was not sent on yet never is. */
  resetConnections(): void;
  /** No connection that is open now carries anything any more, and nobody says so. */
  halfOpen(): void;
  /** Nothing goes wrong from now on; what has gone wrong stays so. */
  calm(): void;
  /** What hangs or is silent breaks at last. */
  mend(): void;
  /** Connections are refused from now on, those that are open break. */
  goDown(): Promise<void>;
  comeUp(): Promise<void>;
  /** Forgets what was answered and which lists were seen. */
  forget(): void;
  close(): Promise<void>;
}

interface Answer {
  status: number;
  headers: Record<string, string>;
  text: string;
}

const LISTS_KEPT = 6;
/** More than the controller keeps an idle connection: who closes it first must not be a matter of luck. */
const KEEP_ALIVE_MS = 120_000;

export async function startProxy(cluster: Cluster): Promise<Proxy> {
  const upstream = { ca: readFileSync(cluster.caFile) };
  const agent = new Agent({ connect: upstream, allowH2: false, bodyTimeout: 0, headersTimeout: 0 });
  const sockets = new Set<Socket>();
  /** Half-open: nothing is read from them or written to them. */
  const mute = new Set<Socket>();
  /** Whose they are. */
  const names = new WeakMap<Socket, string>();
  const cut = new Set<string>();
  const hanging = new Set<ServerResponse>();
  const underWay = new Set<ServerResponse>();
  const lists = new Map<string, Answer[]>();
  const answered: Answered[] = [];
  let faults: Faults = {};
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  const watches = createWatches({ url: cluster.url, agent, isMute: (socket) => mute.has(socket) });

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const passing = passingOf(incoming, await textOf(incoming));
    await gate.promise;
    // Who sent it is dead: it never left that machine.
    if (isGone(outgoing)) return;
    if (passing.isWatch) return watches.open(passing, outgoing, faults.onWatch?.(passing));
    underWay.add(outgoing);
    return pass(passing, outgoing);
  }

  async function pass(passing: Passing, outgoing: ServerResponse): Promise<void> {
    const fault = faults.onRequest?.(passing);
    if (fault?.at === 'before' && (await strikesBefore(fault, passing, outgoing))) return;
    if (passing.isWrite) await faults.onWrite?.('before', passing);
    if (isGone(outgoing)) return;
    const answer = await ask(passing);
    if (passing.isWrite) {
      note(passing, answer);
      await faults.onWrite?.('after', passing);
    }
    if (fault?.at === 'after') {
      if (fault.do === 'reset') return reset(outgoing);
      if (fault.do === 'hang') return void hanging.add(outgoing);
      if (fault.do === 'break') return breakIn(outgoing, answer);
    }
    const text = fault?.at === 'after' ? answer.text.slice(0, answer.text.length / 2) : answer.text;
    await tell(outgoing, { ...answer, text });
    if (passing.isWrite) await faults.onWrite?.('answered', passing);
  }

  /** True: that was all. */
  async function strikesBefore(
    fault: Extract<Fault, { at: 'before' }>,
    passing: Passing,
    outgoing: ServerResponse,
  ): Promise<boolean> {
    switch (fault.do) {
      case 'reset':
        reset(outgoing);
        return true;
      case 'hang':
        hanging.add(outgoing);
        return true;
      case 'slow':
        await sleep(fault.ms);
        return false;
      case 'answer':
        await tell(outgoing, refusalOf(fault));
        return true;
      case 'replay': {
        const seen = lists.get(passing.url) ?? [];
        const older = seen.at(-1 - fault.age) ?? seen.at(0);
        if (older !== undefined) await tell(outgoing, older);
        return older !== undefined;
      }
    }
  }

  async function ask(passing: Passing): Promise<Answer> {
    const { statusCode, headers, body } = await send(cluster.url + passing.url, {
      dispatcher: agent,
      method: passing.method as 'GET',
      headers: passing.headers,
      body: passing.body === '' ? null : passing.body,
    });
    const text = await body.text();
    const answer = { status: statusCode, headers: passedOn(headers), text };
    if (passing.method === 'GET' && passing.object === '' && statusCode === 200)
      lists.set(passing.url, [...(lists.get(passing.url) ?? []), answer].slice(-LISTS_KEPT));
    return answer;
  }

  function note(passing: Passing, { status, text }: Answer): void {
    const { resource, object } = passing;
    const { metadata } = JSON.parse(text) as { metadata?: { name?: string; resourceVersion?: string } };
    const name = object === '' ? (metadata?.name ?? '') : object;
    const { resourceVersion = '' } = metadata ?? {};
    answered.push({ write: nameOf(passing), resource, object: name, status, resourceVersion });
  }

  async function tell(outgoing: ServerResponse, { status, headers, text }: Answer): Promise<void> {
    if (isGone(outgoing) || (outgoing.socket !== null && mute.has(outgoing.socket))) return;
    outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(text) });
    await new Promise<void>((resolve) => {
      outgoing.once('close', resolve);
      outgoing.end(text, resolve);
    });
  }

  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 },
    (incoming, outgoing) => {
      const name = takeName(incoming);
      if (name !== undefined) names.set(incoming.socket, name);
      if (name !== undefined && cut.has(name)) mute.add(incoming.socket);
      if (mute.has(incoming.socket)) return;
      // The apiserver is gone, or went in the middle of it.
      handle(incoming, outgoing).catch(() => reset(outgoing));
    },
  );
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      sockets.delete(socket);
      mute.delete(socket);
    });
  });
  const port = await freePort();
  const listen = (): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
  await listen();
  const kubeconfigFor = async (name?: string): Promise<string> => {
    const file = join(cluster.dir, `faults${name === undefined ? '' : `-${name}`}.kubeconfig`);
    const direct = readFileSync(cluster.kubeconfig('controller'), 'utf8');
    const url = `http://127.0.0.1:${port}${name === undefined ? '' : `/${name}`}`;
    await writeFile(file, direct.replaceAll(cluster.url, url));
    return file;
  };
  const resetConnections = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };

  return {
    kubeconfig: await kubeconfigFor(),
    kubeconfigFor,
    cutOff(name) {
      const own = (): Socket[] => [...sockets].filter((socket) => names.get(socket) === name);
      cut.add(name);
      for (const socket of own()) mute.add(socket);
      return () => {
        cut.delete(name);
        for (const socket of own()) socket.resetAndDestroy();
      };
    },
    play(next) {
      faults = next;
    },
    answered,
    hasListed: (url) => lists.has(url),
    underWay() {
      for (const outgoing of underWay) if (isGone(outgoing)) underWay.delete(outgoing);
      return underWay.size;
    },
    watched: watches.heard,
    told: watches.newest,
    freeze() {
      gate = Promise.withResolvers();
    },
    thaw: () => gate.resolve(),
    holdWatches: watches.hold,
    releaseWatches: watches.release,
    resetConnections,
    halfOpen() {
      for (const socket of sockets) mute.add(socket);
    },
    calm() {
      faults = {};
      watches.calm();
    },
    mend() {
      for (const outgoing of hanging) reset(outgoing);
      hanging.clear();
      for (const socket of mute) socket.resetAndDestroy();
      watches.mend();
    },
    async goDown() {
      const closed = new Promise((resolve) => server.close(resolve));
      resetConnections();
      await closed;
    },
    comeUp: () => eventually(listen),
    forget() {
      answered.length = 0;
      lists.clear();
      hanging.clear();
    },
    async close() {
      gate.resolve();
      watches.release();
      const closed = server.listening ? new Promise((resolve) => server.close(resolve)) : undefined;
      resetConnections();
      await closed;
      await agent.destroy();
    },
  };
}

const NAMED = /^\/(process-\d+)(?=\/)/;

/** Of the process that sent it; what is left is as it would have sent it without one. */
function takeName(incoming: IncomingMessage): string | undefined {
  const { url = '/' } = incoming;
  const [, name] = NAMED.exec(url) ?? [];
  incoming.url = url.replace(NAMED, '');
  return name;
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = '';
  incoming.setEncoding('utf8');
  for await (const chunk of incoming) text += chunk;
  return text;
}

function isGone({ destroyed, socket }: ServerResponse): boolean {
  return destroyed || socket === null || socket.destroyed;
}

/** RST, as from a machine that has crashed. */
function reset(outgoing: ServerResponse): void {
  if (!outgoing.destroyed) outgoing.socket?.resetAndDestroy();
}

function breakIn(outgoing: ServerResponse, { status, headers, text }: Answer): void {
  outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(text) });
  outgoing.write(text.slice(0, text.length / 2), () => reset(outgoing));
}

function refusalOf(fault: Extract<Fault, { do: 'answer' }>): Answer {
  const { status, reason, message = `a fault: ${reason}`, retryAfterSeconds, causes = [] } = fault;
  const body = {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    message,
    reason,
    code: status,
    details: { causes },
  };
  return {
    status,
    headers: {
      'content-type': 'application/json',
      ...(retryAfterSeconds === undefined ? {} : { 'retry-after': `${retryAfterSeconds}` }),
    },
    text: JSON.stringify(body),
  };
}

function passedOn(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const own = new Set(['transfer-encoding', 'connection', 'content-length']);
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined || own.has(name) ? [] : [[name, String(value)]],
    ),
  );
}
