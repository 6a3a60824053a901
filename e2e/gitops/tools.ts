/**
 * How GitOps tools write a Service, as plain calls: the same verbs, flags and field managers, and each tool's own idea of
 * whether the cluster shows what Git says.
 *
 *   Argo CD           kubectl's own code, field manager "argocd-controller": three-way client-side apply by default,
 *                     `--server-side --force-conflicts` with ServerSideApply=true, create or replace with Replace=true
 *   Flux              server-side apply with force, field manager "kustomize-controller", and only after a dry run
 *                     that differs from what is there; the fields of whoever is called "kubectl" become its own first
 *   kubectl by hand   server-side apply without force: conflicts are errors
 */
import { isDeepStrictEqual } from 'node:util';
import { ApiError, type Client } from '../cluster/client.ts';
import {
  type ManagedFields,
  RANGE_ANNOTATION,
  type Service,
  type ServicePort,
  servicesPath,
} from '../support/objects.ts';
import type { World } from '../support/world.ts';

/** An entry of `spec.ports` in Git, where a chart may leave `nodePort:` empty. */
export type GitPort = Omit<ServicePort, 'nodePort'> & { nodePort?: number | null };

/** A Service as it lies in Git. */
export interface Manifest {
  metadata: {
    name: string;
    namespace: string;
    annotations?: Record<string, string>;
    labels?: Record<string, string>;
  };
  spec: { ports: GitPort[] } & Record<string, unknown>;
}

interface Wish {
  ports: GitPort[];
  /** Default "team-a"; null: it does not ask. */
  range?: string | null;
  type?: string;
  annotations?: Record<string, string>;
}

/** A Service in Git; `key`: namespace/name. */
export function manifestOf(
  key: string,
  { ports, range = 'team-a', type = 'NodePort', ...rest }: Wish,
): Manifest {
  const [namespace = '', name = ''] = key.split('/');
  const asks = range === null ? {} : { [RANGE_ANNOTATION]: range };
  const manifest = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, annotations: { ...rest.annotations, ...asks } },
    spec: { type, selector: { app: name }, ports },
  };
  return manifest;
}

export interface Tool {
  readonly name: string;
  readonly manager: string;
  /** Writes the manifest, whatever is there. Throws with the tool's error. */
  sync(world: World, manifest: Manifest): Promise<void>;
  /** Whether the tool would call it in sync: it has nothing to write. */
  inSync(world: World, manifest: Manifest): Promise<boolean>;
}

const ARGOCD = 'argocd-controller';
const FLUX = 'kustomize-controller';
const SERVER_SIDE = `apply --server-side --field-manager=${ARGOCD}`;

export const argocd: Tool = {
  name: 'argocd',
  manager: ARGOCD,
  sync: kubectl(`apply --field-manager=${ARGOCD} -f -`),
  inSync: async ({ client }, manifest) => isShownBy(manifest, await live(client, manifest)),
};

/** `ServerSideApply=true`, and the application compared by `ServerSideDiff=true`. */
export const argocdServerSide: Tool = {
  name: 'argocd-ssa',
  manager: ARGOCD,
  sync: kubectl(`${SERVER_SIDE} --force-conflicts -f -`),
  inSync: async ({ client, kubectl: run }, manifest) => {
    const command = `${SERVER_SIDE} --force-conflicts --dry-run=server -o json -f -`;
    const predicted: Service = JSON.parse(await run(command, { input: JSON.stringify(manifest) }));
    const now = await live(client, manifest);
    return now !== undefined && isSame(predicted, now);
  },
};

/** `Replace=true`: a PUT of the manifest, without a resourceVersion. */
export const argocdReplace: Tool = {
  name: 'argocd-replace',
  manager: 'kubectl-replace',
  sync: async (world, manifest) => {
    const there = (await live(world.client, manifest)) !== undefined;
    await kubectl(there ? 'replace -f -' : 'create -f -')(world, manifest);
  },
  inSync: argocd.inSync,
};

export const flux: Tool = {
  name: 'flux',
  manager: FLUX,
  async sync({ client }, manifest) {
    await takeOver(client, manifest);
    await fluxApply(client, manifest, '');
  },
  async inSync({ client }, manifest) {
    const now = await live(client, manifest);
    if (now === undefined || takenOver(now) !== undefined) return false;
    return isSame(await fluxApply(client, manifest, '&dryRun=All'), now);
  },
};

/** A team without force. */
export const careful: Tool = {
  name: 'careful',
  manager: ARGOCD,
  sync: kubectl(`${SERVER_SIDE} -f -`),
  inSync: argocdServerSide.inSync,
};

export const TOOLS: readonly Tool[] = [argocd, argocdServerSide, argocdReplace, flux, careful];

/** One look at the cluster, as the tools do every few minutes: writes only what differs. */
export async function reconcile(
  tool: Tool,
  world: World,
  manifest: Manifest,
): Promise<'in sync' | 'applied'> {
  if (await tool.inSync(world, manifest)) return 'in sync';
  await tool.sync(world, manifest);
  return 'applied';
}

function kubectl(command: string): Tool['sync'] {
  return async (world, manifest) => void (await world.kubectl(command, { input: JSON.stringify(manifest) }));
}

async function live(client: Client, { metadata }: Manifest): Promise<Service | undefined> {
  try {
    return await client.get<Service>(servicesPath(`${metadata.namespace}/${metadata.name}`));
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

/** What both tools compare: labels, annotations and the spec. */
function isSame(a: Service, b: Service): boolean {
  const compared = ({ metadata: { labels = {}, annotations = {} }, spec }: Service): unknown => ({
    labels,
    annotations,
    spec,
  });
  return isDeepStrictEqual(compared(a), compared(b));
}

/**
 * Argo CD's default: everything that Git names must be there with that value, `null` included. The entries of
 * `spec.ports` are paired by `port`, as a strategic merge patch does.
 */
function isShownBy(git: unknown, now: unknown): boolean {
  if (Array.isArray(git)) {
    if (!Array.isArray(now) || git.length !== now.length) return false;
    return git.every((item) =>
      isShownBy(
        item,
        now.find(({ port }) => port === item.port),
      ),
    );
  }
  if (typeof git !== 'object' || git === null) return git === (now ?? null);
  const shown: Record<string, unknown> = { ...(now as object) };
  return Object.entries(git).every(([key, value]) => isShownBy(value, shown[key]));
}

function fluxApply(client: Client, manifest: Manifest, query: string): Promise<Service> {
  const { namespace, name } = manifest.metadata;
  const options = `fieldManager=${FLUX}&force=true${query}`;
  return client.patch(servicesPath(`${namespace}/${name}`), 'apply', normalised(manifest), options);
}

/** Flux reads a manifest into Kubernetes' own types and writes it out again: no protocol is TCP, no number is no field. */
function normalised(manifest: Manifest): object {
  const ports = manifest.spec.ports.map(({ nodePort, ...port }) => {
    const named = nodePort === null || nodePort === undefined || nodePort === 0 ? {} : { nodePort };
    return { protocol: 'TCP', ...port, ...named };
  });
  return { ...manifest, spec: { ...manifest.spec, ports } };
}

async function takeOver(client: Client, manifest: Manifest): Promise<void> {
  const now = await live(client, manifest);
  const value = now && takenOver(now);
  if (value === undefined) return;
  const { namespace, name } = manifest.metadata;
  const patch = [{ op: 'replace', path: '/metadata/managedFields', value }];
  await client.patch(servicesPath(`${namespace}/${name}`), 'json', patch, `fieldManager=${FLUX}`);
}

/** managedFields in which Flux has what "kubectl…" had, so that its apply undoes it; undefined: nothing to take. */
function takenOver({ metadata }: Service): ManagedFields[] | undefined {
  const all = metadata.managedFields ?? [];
  const isTaken = ({ manager, subresource }: ManagedFields): boolean =>
    subresource === undefined && (manager.startsWith('kubectl') || manager === 'before-first-apply');
  const taken = all.filter(isTaken);
  if (taken.length === 0) return undefined;
  const own = all.filter(({ manager }) => manager === FLUX);
  const fieldsV1 = [...own, ...taken].map((entry) => entry.fieldsV1 ?? {}).reduce(union, {});
  const first = own[0] ?? taken[0];
  const merged = { ...first, manager: FLUX, operation: 'Apply', fieldsV1 };
  return [merged, ...all.filter((entry) => !own.includes(entry) && !taken.includes(entry))];
}

function union(a: object, b: object): object {
  const merged: Record<string, object> = { ...a };
  for (const [field, below] of Object.entries(b)) merged[field] = union(merged[field] ?? {}, below);
  return merged;
}
