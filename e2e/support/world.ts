import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { ApiError, type Client, createClient } from '../cluster/client.ts';
import { type Cluster, type ClusterOptions, startCluster } from '../cluster/cluster.ts';
import type { KubectlOptions } from '../cluster/kubectl.ts';
import { auditFlags, type Write, writesOf } from './audit.ts';
import { type Checker, startChecker } from './checker.ts';
import { type ControllerOptions, type ControllerProcess, startController } from './controller.ts';
import { eventually } from './eventually.ts';
import {
  conditionOf,
  portRange,
  type PortRange,
  RANGE_ANNOTATION,
  RANGES,
  type RangeSpec,
  type Service,
  service,
  type ServiceOptions,
  servicesPath,
} from './objects.ts';

/** Of a log, when a test fails. */
const LINES_TOLD = 60;
/** Of each line: a stack trace in a bundle quotes all of it. */
const CHARACTERS_TOLD = 400;

const CONFIG = join(import.meta.dirname, '../../config/default');

/** A cluster with everything installed, watched by a checker. Ranges, Services and namespaces are made as admin. */
export interface World {
  readonly cluster: Cluster;
  readonly client: Client;
  readonly checker: Checker;
  /** Starts the controller and waits until it is ready. */
  start(...flags: string[]): Promise<ControllerProcess>;
  /** Starts it and does not wait. */
  launch(options?: ControllerOptions): Promise<ControllerProcess>;
  /** Every controller so far, also those that have ended. */
  launched(): readonly ControllerProcess[];
  /** Standard output of kubectl; throws with its standard error. `args`: separated by single spaces. */
  kubectl(args: string, options?: KubectlOptions): Promise<string>;
  namespace(name: string, labels?: Record<string, string>): Promise<void>;
  range(name: string, from: number, to: number, spec?: Partial<RangeSpec>): Promise<PortRange>;
  /** Creates a Service. */
  service(key: string, options?: ServiceOptions): Promise<Service>;
  get(key: string): Promise<Service>;
  remove(key: string): Promise<void>;
  /** Replaces, or with undefined removes, the annotation `nodeport-manager.io/range`. */
  ask(key: string, range: string | undefined): Promise<void>;
  /** JSON merge patch of a Service's spec as admin. */
  edit(key: string, spec: object): Promise<Service>;
  editRange(name: string, spec: object): Promise<void>;
  /** Waits until the Service shows the condition's reason (and text), and returns the Service. */
  shows(key: string, reason: string, message?: string | RegExp): Promise<Service>;
  /** Waits until the Service shows no condition of ours. */
  showsNothing(key: string): Promise<Service>;
  /** Waits until the PortRange's status has these values. */
  rangeShows(name: string, status: object): Promise<void>;
  /** The controller's writes so far. */
  writes(): Promise<Write[]>;
  /** The Service's first node port. */
  port(key: string): Promise<number>;
  /** Prints the end of what each controller said. */
  tell(): Promise<void>;
  /** Zero violations; then the end of everything. */
  close(): Promise<void>;
}

/**
 * The apiserver picks at random above the first 128 numbers of its range (KEP-3668): the segments of most tests, from
 * 30100 on, are never hit by chance, and the others hardly ever, as the range is wide.
 */
const NODE_PORT_RANGE = '30100-63999';

async function startWorld(options: ClusterOptions = {}): Promise<World> {
  const cluster = await startCluster({
    nodePortRange: NODE_PORT_RANGE,
    ...options,
    apiserverFlags: [...auditFlags, ...(options.apiserverFlags ?? [])],
  });
  const kubectl: World['kubectl'] = async (args, options) => {
    const { code, stdout, stderr } = await cluster.kubectl(args.split(' '), options);
    if (code !== 0) throw new Error(`kubectl ${args}: ${stderr}`);
    return stdout;
  };
  await kubectl(`apply -k ${CONFIG}`);
  await kubectl('wait --for=condition=Established --timeout=60s crd/portranges.nodeport-manager.io');
  const client = createClient(cluster);
  const checker = await startChecker(cluster);
  return {
    cluster,
    client,
    checker,
    kubectl,
    ...processes(cluster, checker, client),
    ...objects(client, checker),
  };
}

function processes(
  cluster: Cluster,
  checker: Checker,
  client: Client,
): Pick<World, 'start' | 'launch' | 'launched' | 'writes' | 'tell' | 'close'> {
  const all: ControllerProcess[] = [];
  const launch = async (options?: ControllerOptions): Promise<ControllerProcess> => {
    const controller = await startController(cluster, options);
    all.push(controller);
    return controller;
  };
  const tell = async (): Promise<void> => {
    for (const controller of all) {
      const lines = (await controller.output()).trimEnd().split('\n').slice(-LINES_TOLD);
      const shortened = lines.map((line) => line.slice(0, CHARACTERS_TOLD));
      console.error([`controller ${controller.pid}:`, ...shortened].join('\n'));
    }
  };
  return {
    launch,
    launched: () => all,
    async start(...flags) {
      const controller = await launch({ flags });
      await controller.ready();
      return controller;
    },
    writes: () => writesOf(cluster),
    tell,
    async close() {
      try {
        await checker.verify();
      } catch (error) {
        await tell();
        throw error;
      } finally {
        await Promise.all(all.map((controller) => controller.kill()));
        await checker.close();
        await client.close();
        await cluster.stop();
      }
    },
  };
}

type Objects = Omit<
  World,
  'cluster' | 'client' | 'checker' | 'kubectl' | 'start' | 'launch' | 'launched' | 'writes' | 'tell' | 'close'
>;

function objects(client: Client, checker: Checker): Objects {
  const seen = (key: string): Service => {
    const found = checker.service(key);
    expect(found, `${key} exists`).toBeDefined();
    return found as Service;
  };
  const get = (key: string): Promise<Service> => client.get(servicesPath(key));
  return {
    get,
    async namespace(name, labels = {}) {
      const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
      await client.create('/api/v1/namespaces', body);
    },
    range: (name, from, to, spec) => client.create(RANGES, portRange(name, from, to, spec)),
    service: (key, options) =>
      client.create(`/api/v1/namespaces/${key.split('/')[0]}/services`, service(key, options)),
    remove: async (key) => void (await client.delete(servicesPath(key))),
    async ask(key, range) {
      const annotations = { [RANGE_ANNOTATION]: range ?? null };
      await client.patch(servicesPath(key), 'merge', { metadata: { annotations } });
    },
    edit: (key, spec) => client.patch(servicesPath(key), 'merge', { spec }),
    editRange: async (name, spec) => void (await client.patch(`${RANGES}/${name}`, 'merge', { spec })),
    shows: (key, reason, message = /^/) =>
      eventually(() => {
        const found = seen(key);
        expect(conditionOf(found), key).toMatchObject({
          reason,
          message: typeof message === 'string' ? message : expect.stringMatching(message),
        });
        return found;
      }),
    showsNothing: (key) =>
      eventually(() => {
        const found = seen(key);
        expect(conditionOf(found), key).toBeUndefined();
        return found;
      }),
    rangeShows: (name, status) =>
      eventually(async () => {
        const range = await client.get<PortRange>(`${RANGES}/${name}`);
        expect(range.status, name).toMatchObject(status);
      }),
    port: async (key) => (await get(key)).spec.ports[0]?.nodePort ?? 0,
  };
}

/**
 * One world for all tests of a file. When a test fails, what the controllers said is shown with it; at the end the
 * checker has the last word.
 */
export function useWorld(setUp?: (world: World) => Promise<void>, options?: ClusterOptions): () => World {
  let world: World | undefined;
  const get = (): World => {
    if (world === undefined) throw new Error('the world has not begun');
    return world;
  };
  beforeAll(async () => {
    world = await startWorld(options);
    await setUp?.(world);
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await get().tell();
  });
  afterAll(() => world?.close());
  return get;
}

/** The answer that refuses; throws when the call succeeds. */
export async function refusalOf(call: Promise<unknown>): Promise<ApiError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}
