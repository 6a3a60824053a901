import type { WireResponse } from '../../src/kube/wire.ts';

/** The body of an answer that goes on and on. */
export interface Stream {
  readonly body: WireResponse['body'];
  push(line: string): void;
  /** Nothing comes any more, and nothing says so. */
  mute(): void;
  end(error?: Error): void;
}

export function createStream(): Stream {
  const lines: Uint8Array[] = [];
  const encoder = new TextEncoder();
  let ended: { error: Error | undefined } | undefined;
  let isMute = false;
  let wake: () => void = () => undefined;
  return {
    push(line) {
      if (isMute || ended !== undefined) return;
      lines.push(encoder.encode(line));
      wake();
    },
    mute() {
      isMute = true;
    },
    end(error) {
      ended ??= { error };
      wake();
    },
    body: {
      text: () => Promise.reject(new Error('a watch is not read as a whole')),
      async *[Symbol.asyncIterator]() {
        for (;;) {
          const line = lines.shift();
          if (line !== undefined) yield line;
          else if (ended === undefined) await new Promise<void>((resolve) => (wake = resolve));
          else if (ended.error === undefined) return;
          else throw ended.error;
        }
      },
    },
  };
}
