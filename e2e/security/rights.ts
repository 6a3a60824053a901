/** What the controller's service account is granted, and what it asks for. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Client } from '../cluster/client.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { eventually } from '../support/eventually.ts';

const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const SYSTEM = 'nodeport-manager-system';

/** Flags for kube-apiserver: all requests of the controller are in `audit.log` of the cluster's folder. */
export const auditEverything = [`--audit-policy-file=${join(import.meta.dirname, 'audit-policy.yaml')}`];

/** One verb on one resource, granted by one role. */
export interface Right {
  /** `ClusterRole nodeport-manager` */
  readonly role: string;
  /** Of the role, in the API. */
  readonly path: string;
  readonly group: string;
  /** `services`, `services/status` … */
  readonly resource: string;
  /** Empty: objects of any name. */
  readonly names: readonly string[];
  readonly verb: string;
}

/** A request that the apiserver has answered. */
export interface Asked {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly code: number;
  /** The role that allowed it. */
  readonly role: string;
}

interface Rule {
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
  verbs: string[];
}

interface Role {
  kind: string;
  metadata: { name: string };
  rules: Rule[];
}

interface Binding {
  metadata: { namespace?: string };
  roleRef: { kind: string; name: string };
  subjects?: { kind: string; name: string; namespace?: string }[];
}

/** Everything that roles grant to the controller's service account, wherever they are bound, one verb each. */
export async function grantedRights(client: Client): Promise<Right[]> {
  const paths = [`${RBAC}/clusterrolebindings`, `${RBAC}/rolebindings`];
  const bindings = await Promise.all(paths.map((path) => client.list<Binding>(path)));
  const ours = bindings
    .flatMap(({ items }) => items)
    .filter(({ subjects = [] }) =>
      subjects.some(({ name, namespace }) => name === 'nodeport-manager' && namespace === SYSTEM),
    );
  const rights = await Promise.all(ours.map((binding) => rightsOf(client, binding)));
  return rights.flat();
}

async function rightsOf(client: Client, { metadata, roleRef }: Binding): Promise<Right[]> {
  const { kind, name } = roleRef;
  const path = kind === 'Role' ? `/namespaces/${metadata.namespace}/roles/${name}` : `/clusterroles/${name}`;
  const { rules } = await client.get<Role>(RBAC + path);
  return rules.flatMap(
    ({ apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [], verbs }) => {
      expect([...apiGroups, ...resources, ...verbs, ...nonResourceURLs]).not.toContain('*');
      expect(nonResourceURLs).toEqual([]);
      return apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          verbs.map((verb) => ({
            role: `${kind} ${name}`,
            path: RBAC + path,
            group,
            resource,
            names: resourceNames,
            verb,
          })),
        ),
      );
    },
  );
}

/** How a test calls it: `patch services (ClusterRole nodeport-manager)`. */
export function nameOf({ verb, resource, names, role }: Right): string {
  return `${verb} ${resource}${names.length === 0 ? '' : `[${names.join()}]`} (${role})`;
}

/** Whether the request is one that this right is about, in whatever way it was answered. */
export function isAbout(right: Right, { verb, group, resource, name }: Asked): boolean {
  return (
    right.verb === verb &&
    right.group === group &&
    right.resource === resource &&
    (right.names.length === 0 || right.names.includes(name))
  );
}

/** All requests of the controller so far, in the order in which the apiserver answered. */
export async function askedSoFar(cluster: Cluster): Promise<Asked[]> {
  const lines = (await readFile(join(cluster.dir, 'audit.log'), 'utf8')).split('\n').slice(0, -1);
  return lines.map((line) => {
    const { verb, objectRef, responseStatus, annotations } = JSON.parse(line) as {
      verb: string;
      objectRef: {
        apiGroup?: string;
        resource: string;
        subresource?: string;
        namespace?: string;
        name?: string;
      };
      responseStatus?: { code?: number };
      annotations?: Record<string, string>;
    };
    const { apiGroup: group = '', resource, subresource, namespace = '', name = '' } = objectRef;
    const [, kind, role] =
      / of (ClusterRole|Role) "([^"]*)"/.exec(annotations?.['authorization.k8s.io/reason'] ?? '') ?? [];
    return {
      verb,
      group,
      resource: subresource === undefined ? resource : `${resource}/${subresource}`,
      namespace,
      name,
      code: responseStatus?.code ?? 0,
      role: `${kind} ${role}`,
    };
  });
}

/** Runs `work` while the role lacks this one right; then it has it again. */
export async function without<T>(client: Client, right: Right, work: () => Promise<T>): Promise<T> {
  const role = await client.get<Role>(right.path);
  const rules = role.rules.flatMap((rule) => {
    const { resources = [], verbs } = rule;
    const concerns =
      rule.apiGroups?.includes(right.group) === true &&
      resources.includes(right.resource) &&
      String(rule.resourceNames ?? []) === String(right.names);
    if (!concerns) return [rule];
    const others = resources.filter((resource) => resource !== right.resource);
    const left = verbs.filter((verb) => verb !== right.verb);
    return [
      { ...rule, resources: others },
      { ...rule, resources: [right.resource], verbs: left },
    ].filter(({ resources, verbs }) => resources.length > 0 && verbs.length > 0);
  });
  const write = (to: Rule[]): Promise<unknown> => client.patch(right.path, 'merge', { rules: to });
  await write(rules);
  try {
    await eventually(async () => expect(await isAllowed(client, right)).toBe(false));
    return await work();
  } finally {
    await write(role.rules);
    await eventually(async () => expect(await isAllowed(client, right)).toBe(true));
  }
}

async function isAllowed(client: Client, { group, resource, names, verb }: Right): Promise<boolean> {
  const [plural, subresource] = resource.split('/');
  const { status } = await client.create<{ status: { allowed: boolean } }>(
    '/apis/authorization.k8s.io/v1/subjectaccessreviews',
    {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user: `system:serviceaccount:${SYSTEM}:nodeport-manager`,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${SYSTEM}`, 'system:authenticated'],
        resourceAttributes: { group, resource: plural, subresource, verb, namespace: SYSTEM, name: names[0] },
      },
    },
  );
  return status.allowed;
}
