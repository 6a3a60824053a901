/** Watches on their way through the fault proxy: line by line, as the apiserver tells them, or worse. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, request as send } from 'undici';
import type { Passing } from './passing.ts';

/** What happens to a watch that is being opened or is open. */
export type WatchFault =
  | { do: 'gone'; as: 'status' | 'event' }
  /** After so many ms. `silence`: no byte more, no bookmark, and nobody says so. */
  | { do: 'end' | 'reset' | 'silence' | 'cut line'; after: number }
  /** Everything comes so much later, in its order. */
  | { do: 'lag'; ms: number }
  /** Each so manieth event is lost, and nothing tells. */
  | { do: 'drop'; each: number; happened?: () => void }
  /** Everything comes so much later; of changes of one object that are due meanwhile only the last. */
  | { do: 'coalesce'; within: number; happened?: () => void }
  | { do: 'no bookmarks' };

export interface Watches {
  open(passing: Passing, outgoing: ServerResponse, fault: WatchFault | undefined): Promise<void>;
  /** The resources of the watches that are open and heard. */
  heard(): string[];
  /** The newest resourceVersion of the resource whose turn to be passed on has come; 0: none. */
  newest(resource: string): number;
  hold(): void;
  release(): void;
  /** What has not struck yet does not strike any more, and nothing lags. */
  calm(): void;
  /** Those that are silent break at last. */
  mend(): void;
}

interface Open {
  readonly resource: string;
  lag: number;
  sieve: Sieve;
  cancel: () => void;
}

/** What a watch leaves out without a word. */
interface Sieve {
  /** It has come from the apiserver. */
  arrives(line: string): void;
  /** Its turn has come: whether it is left out. */
  loses(line: string): boolean;
}

const KEEPS_ALL: Sieve = { arrives: () => undefined, loses: () => false };

const GONE = {
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  message: 'too old resource version',
  reason: 'Expired',
  code: 410,
};

export function createWatches(to: {
  url: string;
  agent: Agent;
  isMute: (socket: Socket) => boolean;
}): Watches {
  const silent = new Set<ServerResponse>();
  const all = new Map<ServerResponse, Open>();
  const newest = new Map<string, number>();
  let gate = Promise.withResolvers<void>();
  gate.resolve();

  async function open(passing: Passing, outgoing: ServerResponse, fault?: WatchFault): Promise<void> {
    if (fault?.do === 'gone') return refuse(outgoing, fault.as);
    const gone = new AbortController();
    outgoing.on('close', () => gone.abort());
    const { statusCode, headers, body } = await send(to.url + passing.url, {
      dispatcher: to.agent,
      method: 'GET',
      headers: passing.headers,
      signal: gone.signal,
    });
    outgoing.writeHead(statusCode, { 'content-type': String(headers['content-type']) });
    outgoing.flushHeaders();
    const lag = fault?.do === 'lag' ? fault.ms : fault?.do === 'coalesce' ? fault.within : 0;
    const cancel = strikesLater(fault, outgoing);
    const own: Open = { resource: passing.resource, lag, sieve: sieveOf(fault), cancel };
    if (statusCode === 200) all.set(outgoing, own);
    let told = Promise.resolve();
    try {
      for await (const line of linesOf(body)) {
        if (fault?.do === 'no bookmarks' && isBookmark(line)) continue;
        const due = performance.now() + own.lag;
        own.sieve.arrives(line);
        told = told.then(() => tell(outgoing, own, line, due));
      }
      await told;
      if (isHeard(outgoing)) outgoing.end();
    } catch (error) {
      // It broke, or nobody reads it any more; who hears nothing is not told.
      if (isHeard(outgoing)) throw error;
    } finally {
      own.cancel();
      gone.abort();
      all.delete(outgoing);
    }
  }

  async function tell(outgoing: ServerResponse, own: Open, line: string, due: number): Promise<void> {
    const early = due - performance.now();
    if (early > 0) await sleep(early);
    await gate.promise;
    if (!isHeard(outgoing)) return;
    if (!own.sieve.loses(line)) outgoing.write(line);
    // Of what was left out nobody is told any more, either.
    const [, version = 0] = /"resourceVersion":"(\d+)"/.exec(line) ?? [];
    newest.set(own.resource, Math.max(newest.get(own.resource) ?? 0, Number(version)));
  }

  function isHeard(outgoing: ServerResponse): boolean {
    const { socket } = outgoing;
    if (outgoing.destroyed || outgoing.writableEnded || silent.has(outgoing)) return false;
    return socket !== null && !to.isMute(socket);
  }

  function strikesLater(fault: WatchFault | undefined, outgoing: ServerResponse): () => void {
    if (fault === undefined || !('after' in fault)) return () => undefined;
    const timer = setTimeout(() => {
      if (outgoing.destroyed) return;
      if (fault.do === 'end') outgoing.end();
      else if (fault.do === 'reset') outgoing.socket?.resetAndDestroy();
      else if (fault.do === 'cut line') outgoing.end('{"type":"MODIFIED","obj');
      else silent.add(outgoing);
    }, fault.after);
    return () => clearTimeout(timer);
  }

  return {
    open,
    heard: () => [...all].flatMap(([outgoing, { resource }]) => (isHeard(outgoing) ? [resource] : [])),
    newest: (resource) => newest.get(resource) ?? 0,
    hold() {
      gate = Promise.withResolvers();
    },
    release: () => gate.resolve(),
    calm() {
      for (const open of all.values()) {
        open.cancel();
        open.lag = 0;
        open.sieve = KEEPS_ALL;
      }
    },
    mend() {
      for (const outgoing of silent) outgoing.socket?.resetAndDestroy();
      silent.clear();
    },
  };
}

const isBookmark = (line: string): boolean => line.startsWith('{"type":"BOOKMARK"');

function sieveOf(fault: WatchFault | undefined): Sieve {
  if (fault?.do === 'drop') return losingEach(fault.each, fault.happened);
  if (fault?.do === 'coalesce') return losingOvertaken(fault.happened);
  return KEEPS_ALL;
}

function losingEach(each: number, happened: (() => void) | undefined): Sieve {
  let events = 0;
  return {
    arrives: () => undefined,
    loses(line) {
      if (isBookmark(line) || (events += 1) % each !== 0) return false;
      happened?.();
      return true;
    },
  };
}

function losingOvertaken(happened: (() => void) | undefined): Sieve {
  /** How many changes of each object are on their way. */
  const due = new Map<string, number>();
  return {
    arrives(line) {
      const uid = changedIn(line);
      if (uid !== undefined) due.set(uid, (due.get(uid) ?? 0) + 1);
    },
    loses(line) {
      const uid = changedIn(line);
      if (uid === undefined) return false;
      const later = (due.get(uid) ?? 1) - 1;
      due.set(uid, later);
      if (later > 0) happened?.();
      return later > 0;
    },
  };
}

/** The uid of the object that the event says has changed. */
function changedIn(line: string): string | undefined {
  if (!line.startsWith('{"type":"MODIFIED"')) return undefined;
  return (JSON.parse(line) as { object: { metadata: { uid: string } } }).object.metadata.uid;
}

function refuse(outgoing: ServerResponse, as: 'status' | 'event'): void {
  outgoing.writeHead(as === 'status' ? 410 : 200, { 'content-type': 'application/json' });
  outgoing.end(
    as === 'status' ? JSON.stringify(GONE) : `${JSON.stringify({ type: 'ERROR', object: GONE })}\n`,
  );
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield `${line}\n`;
  }
}
