import { setTimeout as sleep } from 'node:timers/promises';
import type { ActiveAlert, PrometheusServer } from '../../e2e/prometheus/server.ts';

export type AlertState = 'pending' | 'firing' | 'resolved';

/** An alert that came, fired or went. */
export interface Turn {
  readonly name: string;
  /** The labels that tell it from others of its name: `team-b RangeExhausted`. */
  readonly about: string;
  readonly state: AlertState;
}

export interface AlertWatch {
  /** Everything so far. */
  readonly turns: readonly Turn[];
  /** Resolves when every alert that is active satisfies `content`. */
  until(content: (active: readonly Turn[]) => boolean): Promise<void>;
  stop(): Promise<void>;
}

const LONGEST_WAIT_MS = 60_000;

/** Asks Prometheus every `interval` ms. */
export function watchAlerts(
  prometheus: PrometheusServer,
  interval: number,
  onTurn: (turn: Turn) => void,
): AlertWatch {
  const turns: Turn[] = [];
  let active = new Map<string, Turn>();
  const stopping = new AbortController();
  const tell = (turn: Turn): void => {
    turns.push(turn);
    onTurn(turn);
  };
  const look = async (): Promise<void> => {
    const now = new Map((await prometheus.alerts()).map((alert) => [keyOf(alert), turnOf(alert)]));
    for (const [key, turn] of now) if (active.get(key)?.state !== turn.state) tell(turn);
    for (const [key, turn] of active) if (!now.has(key)) tell({ ...turn, state: 'resolved' });
    active = now;
  };
  const looking = (async () => {
    while (!stopping.signal.aborted) {
      await look();
      await sleep(interval);
    }
  })();
  // Whoever waits is told; until then nobody need be.
  looking.catch(() => {});
  return {
    turns,
    async until(content) {
      const deadline = performance.now() + LONGEST_WAIT_MS;
      while (!content([...active.values()])) {
        if (performance.now() > deadline)
          throw new Error(`not the alerts that were awaited: ${JSON.stringify([...active.values()])}`);
        await Promise.race([sleep(interval), looking]);
      }
    },
    stop: async () => {
      stopping.abort();
      await looking;
    },
  };
}

const keyOf = ({ labels }: ActiveAlert): string =>
  JSON.stringify(Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1)));

function turnOf({ labels, state }: ActiveAlert): Turn {
  const about = ['range', 'kind', 'reason'].map((name) => labels[name] ?? '').filter((text) => text !== '');
  return { name: labels['alertname'] ?? '', about: about.join(' '), state };
}
