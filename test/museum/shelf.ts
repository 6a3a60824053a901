/** What the tests of the museum look at: Services, the table and who wrote what, as anybody can read them. */
import {
  type Condition,
  conditionOf,
  type Entry,
  numbersOf,
  type Service,
} from '../../e2e/support/objects.ts';
import type { Change } from '../simulation/apiserver.ts';
import type { Faults } from '../simulation/network.ts';
import type { Simulation } from '../simulation/simulation.ts';

function find(sim: Simulation, key: string): Service {
  const [namespace, name] = key.split('/');
  const found = sim
    .services()
    .find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  if (found === undefined) throw new Error(`there is no ${key}`);
  return found as unknown as Service;
}

/** Its numbers, each once. */
export function numbersOn(sim: Simulation, key: string): number[] {
  return numbersOf(find(sim, key));
}

export function told(sim: Simulation, key: string): Condition | undefined {
  return conditionOf(find(sim, key));
}

export function uidOf(sim: Simulation, key: string): string {
  return find(sim, key).metadata.uid;
}

/** Its ports, as `name port/protocol nodePort`. */
export function portsOf(sim: Simulation, key: string): string[] {
  return find(sim, key).spec.ports.map(
    ({ name = '', port, protocol = 'TCP', nodePort = 0 }) => `${name} ${port}/${protocol} ${nodePort}`,
  );
}

/** namespace/name → numbers, of every Service. */
export function everybodysNumbers(sim: Simulation): Record<string, number[]> {
  const keys = sim.services().map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
  return Object.fromEntries(keys.map((key) => [key, numbersOn(sim, key)]));
}

/** What the controller wrote, so far, to objects of this kind: a table block, a Service, a PortRange. */
export function ourWrites(sim: Simulation, resource: string): Change[] {
  return sim.server.history.filter(
    (change) => change.resource === resource && change.manager === 'nodeport-manager',
  );
}

/** Lists every write that controllers send to Services and PortRanges, also those that change nothing, which leave no revision. */
export function counted(faults: Faults = {}): { readonly faults: Faults; readonly sent: string[] } {
  const sent: string[] = [];
  const onWrite: Faults['onWrite'] = (moment, request) => {
    faults.onWrite?.(moment, request);
    const path = request.path.split('?')[0] ?? '';
    const [, name] = /\/(?:services|portranges)\/(.*)$/.exec(path) ?? [];
    if (moment === 'before' && name !== undefined) sent.push(name);
  };
  return { faults: { ...faults, onWrite }, sent };
}

/** The texts of a ConfigMap's revision. */
export function dataOf(change: Change | undefined): Record<string, string> {
  return (change?.object?.['data'] ?? {}) as Record<string, string>;
}

/** Those of them that changed node ports. */
export function ourMoves(sim: Simulation): string[] {
  return ourWrites(sim, 'services')
    .filter(({ before, object }) => JSON.stringify(before?.['spec']) !== JSON.stringify(object?.['spec']))
    .map(({ key }) => key);
}

/** The table as it is, by number. */
export function table(sim: Simulation): Map<number, Entry> {
  const blocks = sim.list('/api/v1/namespaces/nodeport-manager-system/configmaps');
  return new Map(
    blocks
      .filter(({ metadata }) => /^nodeport-table-\d+$/.test(metadata.name))
      .flatMap(({ data }) => Object.entries((data ?? {}) as Record<string, string>))
      .map(([port, text]) => [Number(port), JSON.parse(text) as Entry]),
  );
}

/** Every text that the table ever had for this number, oldest first. */
export function pastOf(sim: Simulation, port: number): Entry[] {
  return sim.server.history.flatMap((change) => {
    const text = dataOf(change)[`${port}`];
    return change.resource !== 'configmaps' || text === undefined ? [] : [JSON.parse(text) as Entry];
  });
}
