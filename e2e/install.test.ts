import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient } from './cluster/client.ts';
import { type Cluster, startCluster } from './cluster/cluster.ts';
import type { User } from './cluster/users.ts';

const CONFIG = join(import.meta.dirname, '../config');
const SYSTEM = 'nodeport-manager-system';

let cluster: Cluster;
let client: Client;
let firstApply: string[];

beforeAll(async () => {
  cluster = await startCluster();
  client = createClient(cluster);
  firstApply = await apply('default');
  await kubectl('wait', '--for=condition=Established', '--timeout=30s', 'crd/portranges.nodeport-manager.io');
});

afterAll(async () => {
  await client?.close();
  await cluster?.stop();
});

async function kubectl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.kubectl(args);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** What kubectl says about each object: "serviceaccount/nodeport-manager created". */
async function apply(folder: string): Promise<string[]> {
  return (await kubectl('apply', '--validate=strict', '-k', join(CONFIG, folder))).trim().split('\n');
}

interface Manifest {
  kind: string;
  metadata: { name: string; resourceVersion: string; labels?: Record<string, string> };
}

/** The installed objects as they are in the cluster. */
async function installed<T = Manifest>(): Promise<T[]> {
  const list = JSON.parse(await kubectl('get', '-k', join(CONFIG, 'default'), '-o', 'json')) as {
    items: T[];
  };
  return list.items;
}

describe('kubectl apply -k config/default', () => {
  test('installs everything in one go, the namespace and the CRD first', () => {
    expect(firstApply.map((line) => line.split(' ')[1])).toEqual(firstApply.map(() => 'created'));
    expect(firstApply.slice(0, 2)).toEqual([
      `namespace/${SYSTEM} created`,
      'customresourcedefinition.apiextensions.k8s.io/portranges.nodeport-manager.io created',
    ]);
    expect(firstApply).toContain('deployment.apps/nodeport-manager created');
  });

  test('changes nothing the second time', async () => {
    const versions = async () =>
      (await installed()).map(({ kind, metadata }) => [kind, metadata.name, metadata.resourceVersion]);
    const before = await versions();
    const lines = await apply('default');
    // kubectl replaces the selector of a PodDisruptionBudget each time (its patch strategy) and says "configured".
    const told = lines.filter((line) => !line.startsWith('poddisruptionbudget'));
    expect(told.map((line) => line.split(' ')[1])).toEqual(told.map(() => 'unchanged'));
    expect(told).toHaveLength(firstApply.length - 1);
    expect(await versions()).toEqual(before);
  });

  test('marks every object as a part of this project', async () => {
    for (const { kind, metadata } of await installed()) {
      expect(metadata.name, kind).toMatch(/^nodeport-manager|^portranges\.nodeport-manager\.io$/);
      expect(metadata.labels, `${kind} ${metadata.name}`).toMatchObject({
        'app.kubernetes.io/name': 'nodeport-manager',
        'app.kubernetes.io/part-of': 'nodeport-manager',
      });
    }
  });

  test('goes into another namespace by an overlay, and the bindings follow', async () => {
    const overlay = join(cluster.dir, 'overlay');
    await mkdir(overlay);
    const resources = [relative(overlay, join(CONFIG, 'default'))];
    await writeFile(
      join(overlay, 'kustomization.yaml'),
      JSON.stringify({ namespace: 'elsewhere', resources }),
    );
    const text = await kubectl('kustomize', overlay);
    expect(text).toContain('namespace: elsewhere');
    expect(text).not.toContain(SYSTEM);
  });
});

describe('the Deployment', () => {
  interface Deployment extends Manifest {
    spec: {
      replicas: number;
      strategy: { type: string };
      selector: object;
      template: { metadata: object; spec: PodSpec };
    };
  }
  interface PodSpec {
    containers: {
      ports: { name: string; containerPort: number }[];
      args: string[];
      securityContext: object;
    }[];
  }
  const read = () =>
    client.get<Deployment>(`/apis/apps/v1/namespaces/${SYSTEM}/deployments/nodeport-manager`);
  const tryPod = (spec: object) =>
    client.raw('POST', `/api/v1/namespaces/${SYSTEM}/pods?dryRun=All`, {
      body: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'probe' }, spec },
    });

  test('runs two Pods, on two nodes if there are; a new one is ready before an old one goes', async () => {
    const { spec } = await read();
    expect(spec).toMatchObject({
      replicas: 2,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        spec: {
          affinity: {
            podAntiAffinity: {
              preferredDuringSchedulingIgnoredDuringExecution: [
                { podAffinityTerm: { topologyKey: 'kubernetes.io/hostname', labelSelector: spec.selector } },
              ],
            },
          },
        },
      },
    });
  });

  test('has a budget that lets one of its Pods be evicted at a time', async () => {
    const path = `/apis/policy/v1/namespaces/${SYSTEM}/poddisruptionbudgets/nodeport-manager`;
    const { selector } = (await read()).spec;
    expect(await client.get<object>(path)).toMatchObject({ spec: { maxUnavailable: 1, selector } });
  });

  test('has a Pod that the restricted Pod Security Standard admits, which its namespace enforces', async () => {
    const { template } = (await read()).spec;
    const answer = await tryPod(template.spec);
    expect(answer.status, answer.body).toBe(201);
    const [container] = template.spec.containers;
    const careless = await tryPod({ ...template.spec, containers: [{ ...container, securityContext: {} }] });
    expect(careless.status).toBe(403);
    expect(careless.body).toContain('violates PodSecurity');
  });

  test('listens where its probes and its metrics Service look', async () => {
    const [container] = (await read()).spec.template.spec.containers;
    const port = (name: string) => container?.ports.find((p) => p.name === name)?.containerPort;
    expect(container?.args).toContain(`--metrics-bind-address=:${port('metrics')}`);
    expect(container?.args).toContain(`--health-probe-bind-address=:${port('probes')}`);
    expect(container).toMatchObject({
      livenessProbe: { httpGet: { path: '/healthz', port: 'probes' } },
      readinessProbe: { httpGet: { path: '/readyz', port: 'probes' } },
      securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    });
    const service = await client.get<object>(
      `/api/v1/namespaces/${SYSTEM}/services/nodeport-manager-metrics`,
    );
    expect(service).toMatchObject({
      spec: { type: 'ClusterIP', ports: [{ port: 8080, targetPort: 'metrics' }] },
    });
  });
});

describe('the rights of the controller', () => {
  interface Rules {
    status: {
      resourceRules: {
        verbs: string[];
        apiGroups: string[];
        resources: string[];
        resourceNames?: string[];
      }[];
      incomplete: boolean;
    };
  }

  /** `group/resource verb` for all that the user may do in the namespace; `[name]` where it is limited to one object. */
  async function rightsOf(user: User, namespace: string): Promise<Set<string>> {
    const own = createClient(cluster, user);
    try {
      const { status } = await own.create<Rules>('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectRulesReview',
        spec: { namespace },
      });
      expect(status.incomplete).toBe(false);
      const rights = status.resourceRules.flatMap(({ verbs, apiGroups, resources, resourceNames = [] }) => {
        const names = resourceNames.length === 0 ? '' : `[${resourceNames.join()}]`;
        return apiGroups.flatMap((group) =>
          resources.flatMap((resource) => verbs.map((verb) => `${group}/${resource}${names} ${verb}`)),
        );
      });
      return new Set(rights);
    } finally {
      await own.close();
    }
  }

  /** Without what every authenticated user may do. */
  async function grantedIn(namespace: string): Promise<string[]> {
    const everybody = await rightsOf('team-a', namespace);
    return [...(await rightsOf('controller', namespace))].filter((right) => !everybody.has(right)).toSorted();
  }

  const everywhere = [
    '/namespaces list',
    '/namespaces watch',
    '/services get',
    '/services list',
    '/services patch',
    '/services watch',
    '/services/status patch',
    'events.k8s.io/events create',
    'events.k8s.io/events patch',
    'nodeport-manager.io/portranges list',
    'nodeport-manager.io/portranges watch',
    'nodeport-manager.io/portranges/status patch',
  ];
  const lease = [
    'coordination.k8s.io/leases create',
    ...['get', 'update', 'watch'].map((verb) => `coordination.k8s.io/leases[nodeport-manager] ${verb}`),
  ];
  const table = ['create', 'get', 'list', 'update', 'watch'].map((verb) => `/configmaps ${verb}`);

  test('are these and no others, in any namespace', async () => {
    expect(await grantedIn('default')).toEqual(everywhere);
    expect(await grantedIn('kube-system')).toEqual(everywhere);
  });

  test('include the table and the one Lease in its own namespace', async () => {
    expect(await grantedIn(SYSTEM)).toEqual([...table, ...lease, ...everywhere].toSorted());
  });

  async function may(verb: string, resource: string, namespace = SYSTEM): Promise<boolean> {
    const { stdout } = await cluster.kubectl(['auth', 'can-i', verb, resource, '-n', namespace], {
      user: 'controller',
    });
    return stdout.trim() === 'yes';
  }

  test.each([
    ['get', 'secrets'],
    ['list', 'secrets'],
    ['create', 'services'],
    ['update', 'services'],
    ['delete', 'services'],
    ['update', 'services/status'],
    ['delete', 'configmaps'],
    ['patch', 'configmaps'],
    ['update', 'portranges.nodeport-manager.io'],
    ['patch', 'portranges.nodeport-manager.io'],
    ['delete', 'portranges.nodeport-manager.io'],
    ['update', 'portranges.nodeport-manager.io/status'],
    ['patch', 'namespaces'],
    ['list', 'nodes'],
    ['list', 'pods'],
    ['create', 'pods'],
    ['get', 'leases/another'],
    ['list', 'leases.coordination.k8s.io'],
    ['delete', 'leases.coordination.k8s.io'],
    ['patch', 'leases.coordination.k8s.io'],
    ['create', 'pods/exec'],
    ['create', 'serviceaccounts/token'],
    ['create', 'clusterrolebindings.rbac.authorization.k8s.io'],
    ['escalate', 'clusterroles.rbac.authorization.k8s.io'],
    ['impersonate', 'users'],
    ['get', '/flagz'],
    ['get', '/metrics'],
  ])('do not let it %s %s', async (verb, resource) => {
    expect(await may(verb, resource)).toBe(false);
  });

  test.each(['get', 'list', 'create', 'update'])('do not let it %s configmaps elsewhere', async (verb) => {
    expect(await may(verb, 'configmaps', 'default')).toBe(false);
  });

  test('hold in practice: it patches a Service and cannot replace it', async () => {
    const path = '/api/v1/namespaces/default/services/kubernetes';
    const own = createClient(cluster, 'controller');
    try {
      const service = await own.get<object>(path);
      await own.patch(path, 'json', [], 'dryRun=All');
      await expect(own.put(`${path}?dryRun=All`, service)).rejects.toMatchObject({ status: 403 });
      await expect(own.get(`/api/v1/namespaces/default/configmaps`)).rejects.toMatchObject({ status: 403 });
    } finally {
      await own.close();
    }
  });
});

describe('the roles for people', () => {
  const roles = {
    admin: ['*'],
    editor: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
    viewer: ['get', 'list', 'watch'],
  };

  test.each(Object.entries(roles))('%s: %s on PortRanges', async (name, verbs) => {
    const role = await client.get<{ rules: { resources: string[]; verbs: string[] }[] }>(
      `/apis/rbac.authorization.k8s.io/v1/clusterroles/nodeport-manager-portrange-${name}`,
    );
    expect(role.rules.map(({ resources, verbs }) => [resources, verbs.toSorted()])).toEqual([
      [['portranges'], verbs],
      [['portranges/status'], ['get']],
    ]);
  });
});

test('the samples apply as they are, and a second time change nothing', async () => {
  const first = await apply('samples');
  expect(first.map((line) => line.split(' ')[1])).toEqual(first.map(() => 'created'));
  const kinds = first.map((line) => line.split('/')[0]);
  expect(kinds.lastIndexOf('portrange.nodeport-manager.io'), 'ranges come before Services').toBeLessThan(
    kinds.indexOf('service'),
  );
  const second = await apply('samples');
  expect(second.map((line) => line.split(' ')[1])).toEqual(first.map(() => 'unchanged'));
});
