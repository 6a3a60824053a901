import type { WireRequest } from '../../src/kube/wire.ts';
import type { SimObject } from '../simulation/apiserver.ts';
import type { Fault, Faults } from '../simulation/network.ts';
import { createSimulation, type Simulation, type SimulationOptions } from '../simulation/simulation.ts';

/** What goes over the simulated network, second by second of its clock. */
export interface Traffic {
  /** Requests that match, since the last `forget`. Watches that are opened count, what comes over them does not. */
  count(matches?: (request: WireRequest) => boolean): number;
  /** The most in any one second. */
  mostInASecond(): number;
  forget(): void;
}

/** A simulation of which every request is noted. `fault`: what happens to a request. */
export function observed(
  options: Omit<SimulationOptions, 'faults'>,
  fault: (request: WireRequest, now: number) => Fault | undefined = () => undefined,
): { sim: Simulation; traffic: Traffic } {
  let seen: { request: WireRequest; at: number }[] = [];
  const now = (): number => sim.clock.monotonic();
  const faults: Faults = {
    onRequest(request) {
      seen.push({ request, at: now() });
      return fault(request, now());
    },
    onWatch(request) {
      seen.push({ request, at: now() });
      return undefined;
    },
  };
  const sim = createSimulation({ ...options, faults });
  const traffic: Traffic = {
    count: (matches = () => true) => seen.filter(({ request }) => matches(request)).length,
    mostInASecond() {
      const seconds = new Map<number, number>();
      for (const { at } of seen) {
        const second = Math.floor(at / 1_000);
        seconds.set(second, (seconds.get(second) ?? 0) + 1);
      }
      return Math.max(0, ...seconds.values());
    },
    forget() {
      seen = [];
    },
  };
  return { sim, traffic };
}

export const isWrite = ({ method }: WireRequest): boolean => method !== 'GET';
export const isOfServices = ({ path }: WireRequest): boolean => /\/services\/[^/]+(\/status)?\?/.test(path);
export const isOfTable = ({ method, path }: WireRequest): boolean =>
  method !== 'GET' && path.includes('/configmaps');
export const isEvent = ({ path }: WireRequest): boolean => path.includes('/events');

function reasonOf({ status }: SimObject): string | undefined {
  return (status as { conditions?: { type: string; reason: string }[] }).conditions?.find(({ type }) =>
    type.startsWith('nodeport-manager.io/'),
  )?.reason;
}

export function numberOf({ spec }: SimObject): number {
  return (spec as { ports: { nodePort: number }[] }).ports[0]?.nodePort ?? 0;
}

/** How many show this reason. */
export function showing(sim: Simulation, reason: string): number {
  return sim.services().filter((object) => reasonOf(object) === reason).length;
}

/** Since when each Service was served: virtual ms by name; from now on. */
export function servedIn(sim: Simulation): ReadonlyMap<string, number> {
  const served = new Map<string, number>();
  sim.server.subscribe(({ object, resource }) => {
    if (resource !== 'services' || object === undefined || served.has(object.metadata.name)) return;
    if (['Assigned', 'Adopted'].includes(reasonOf(object) ?? ''))
      served.set(object.metadata.name, sim.clock.monotonic());
  });
  return served;
}
