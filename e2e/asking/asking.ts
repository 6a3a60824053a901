/** How these tests ask, and what they read of the answer. */
import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import {
  conditionOf,
  numbersOf,
  PORTS_ANNOTATION,
  RANGE_ANNOTATION,
  type RangeSpec,
  type Service,
  type ServiceOptions,
  type ServicePort,
  servicesPath,
} from '../support/objects.ts';
import type { World } from '../support/world.ts';

export const HTTP: ServicePort = { name: 'http', port: 80 };
export const HTTPS: ServicePort = { name: 'https', port: 443 };
export const DNS: ServicePort[] = [
  { name: 'dns', port: 53, protocol: 'UDP' },
  { name: 'dns-tcp', port: 53 },
];

/** What a Service says itself: the annotations `range` and `ports`. */
export interface Asks {
  range?: string;
  ports?: string;
}

/** Creation options of a Service with these annotations. */
export function asks({ range, ports }: Asks, options: ServiceOptions = {}): ServiceOptions {
  const annotations = ports === undefined ? {} : { [PORTS_ANNOTATION]: ports };
  return { ...options, range, annotations: { ...options.annotations, ...annotations } };
}

export interface Scene {
  /** A PortRange without cooldown, unless told otherwise, that the controller has seen. */
  range(name: string, from: number, to: number, spec?: Partial<RangeSpec>): Promise<void>;
  /** Replaces both annotations of a Service; what is not given is removed. */
  annotate(key: string, asks: Asks): Promise<void>;
  /** Creates a Service and waits until it holds what it asks for; its numbers, in the order of its ports. */
  served(key: string, asks: Asks, options?: ServiceOptions): Promise<number[]>;
  /** Reasons and numbers that the Service went through, each once. */
  steps(key: string): (string | number | undefined)[][];
  /** The notes of the events about an object, by reason. `name`: of the object; `namespace`: of the events. */
  notes(namespace: string, name: string): Promise<Map<string, string[]>>;
  /** The controller's writes to this Service. */
  writesTo(key: string): Promise<object[]>;
}

export function scene(world: () => World): Scene {
  return {
    async range(name, from, to, spec = {}) {
      await world().range(name, from, to, { cooldown: '0s', ...spec });
      await world().rangeShows(name, { observedGeneration: 1 });
    },
    async annotate(key, { range, ports }) {
      const annotations = { [RANGE_ANNOTATION]: range ?? null, [PORTS_ANNOTATION]: ports ?? null };
      await world().client.patch(servicesPath(key), 'merge', { metadata: { annotations } });
    },
    async served(key, said, options) {
      await world().service(key, asks(said, options));
      return portsOf(await untilTrue(world(), key));
    },
    steps: (key) =>
      stepsOf(
        world()
          .checker.revisions(key)
          .map(({ object }) => object),
      ),
    notes: (namespace, name) => notesAbout(world(), namespace, name),
    async writesTo(key) {
      const [namespace, name] = key.split('/');
      return (await world().writes()).filter((write) => write.namespace === namespace && write.name === name);
    },
  };
}

/** The node ports in the order of `spec.ports`; 0: none. */
export function portsOf({ spec }: Service): number[] {
  return spec.ports.map(({ nodePort = 0 }) => nodePort);
}

async function untilTrue({ checker }: World, key: string): Promise<Service> {
  return eventually(() => {
    const found = checker.service(key);
    expect(found && conditionOf(found), key).toMatchObject({ status: 'True' });
    return found as Service;
  });
}

function stepsOf(revisions: readonly Service[]): (string | number | undefined)[][] {
  const steps: (string | number | undefined)[][] = [];
  for (const object of revisions) {
    const step = [conditionOf(object)?.reason, ...numbersOf(object)];
    if (step.join() !== steps.at(-1)?.join()) steps.push(step);
  }
  return steps;
}

async function notesAbout(
  { client }: World,
  namespace: string,
  name: string,
): Promise<Map<string, string[]>> {
  const { items } = await client.list<{ reason: string; note: string; regarding: { name: string } }>(
    `/apis/events.k8s.io/v1/namespaces/${namespace}/events`,
  );
  const notes = new Map<string, string[]>();
  for (const { reason, note, regarding } of items) {
    if (regarding.name === name) notes.set(reason, [...(notes.get(reason) ?? []), note]);
  }
  return notes;
}

/** Waits until the wall clock shows another second than this: Kubernetes dates objects in whole seconds. */
export function secondAfter(timestamp: string): Promise<void> {
  return eventually(() => expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(timestamp) + 1_000));
}
