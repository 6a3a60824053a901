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
  | { do: 'no bookmarks' };

export interface Watches {
  open(passing: Passing, outgoing: ServerResponse, fault: WatchFault | undefined): Promise<void>;
  /** The resources of the watches that are open and heard. */
  heard(): string[];
  /** The newest resourceVersion of the resource that was passed on; 0: none. */
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
  cancel: () => void;
}

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
    const lag = fault?.do === 'lag' ? fault.ms : 0;
    const own: Open = { resource: passing.resource, lag, cancel: strikesLater(fault, outgoing) };
    if (statusCode === 200) all.set(outgoing, own);
    let told = Promise.resolve();
    try {
      for await (const line of linesOf(body)) {
        if (fault?.do === 'no bookmarks' && line.startsWith('{"type":"BOOKMARK"')) continue;
        const due = performance.now() + own.lag;
        told = told.then(() => tell(outgoing, passing.resource, line, due));
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

  async function tell(outgoing: ServerResponse, resource: string, line: string, due: number): Promise<void> {
    const early = due - performance.now();
    if (early > 0) await sleep(early);
    await gate.promise;
    if (!isHeard(outgoing)) return;
    outgoing.write(line);
    const [, version = 0] = /"resourceVersion":"(\d+)"/.exec(line) ?? [];
    newest.set(resource, Math.max(newest.get(resource) ?? 0, Number(version)));
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
      }
    },
    mend() {
      for (const outgoing of silent) outgoing.socket?.resetAndDestroy();
      silent.clear();
    },
  };
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
