import type { Cancel, Clock, Millis } from '../../src/kube/clock.ts';

/**
 * Where one process runs: its clock, and whether it runs at all. Whatever makes its code do something, a timer that is
 * due or something that arrives, comes through here.
 *
 *   running ──freeze──► frozen: what falls due is held ──thaw──► catching up: what was held happens, one after the other,
 *      │ ▲                 │  ▲                                    │      │     and what comes meanwhile is held as well
 *      │ │                 │  └───────────freeze───────────────────┘      │
 *      │ └─────────────────┼──────────────nothing is held any more────────┘
 *      └──halt──► halted ◄─┘ nothing happens any more
 */
export interface Machine extends Clock {
  /** Something arrives from outside. */
  deliver(run: () => void): void;
  /** SIGSTOP. */
  freeze(): void;
  /** SIGCONT. */
  thaw(): void;
  /** SIGKILL. */
  halt(): void;
  readonly isHalted: boolean;
}

interface Event {
  readonly kind: 'timer' | 'arrival';
  readonly run: () => void;
}

/**
 * @param clock the world's
 * @param random 0 ≤ n < 1
 * @param skew ms by which this machine's wall clock is wrong
 */
export function createMachine(clock: Clock, random: () => number, skew: () => Millis): Machine {
  let state: 'running' | 'frozen' | 'catching up' | 'halted' = 'running';
  let held: Event[] = [];

  function perform(event: Event): void {
    if (state === 'running') event.run();
    else if (state !== 'halted') held.push(event);
  }

  function catchUp(): void {
    if (state !== 'catching up') return;
    const event = held.shift();
    if (event === undefined) return void (state = 'running');
    clock.after(0, catchUp);
    event.run();
  }

  return {
    now: () => clock.now() + skew(),
    monotonic: clock.monotonic,
    after(ms, run): Cancel {
      let isCancelled = false;
      // A timer takes 1 ms at least, as Node's do.
      const cancel = clock.after(Math.max(ms, 1), () =>
        perform({ kind: 'timer', run: () => (isCancelled ? undefined : run()) }),
      );
      return () => {
        isCancelled = true;
        cancel();
      };
    },
    deliver: (run) => perform({ kind: 'arrival', run }),
    freeze() {
      if (state !== 'halted') state = 'frozen';
    },
    thaw() {
      if (state !== 'frozen') return;
      state = 'catching up';
      // An event loop that goes on may read its sockets before it looks at the time, or after.
      if (random() < 0.5) held = [...of(held, 'arrival'), ...of(held, 'timer')];
      clock.after(0, catchUp);
    },
    halt() {
      state = 'halted';
      held = [];
    },
    get isHalted() {
      return state === 'halted';
    },
  };
}

function of(events: readonly Event[], kind: Event['kind']): readonly Event[] {
  return events.filter((event) => event.kind === kind);
}
