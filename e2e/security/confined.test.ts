import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { ALONE } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { CONDITION, type Service, servicesPath } from '../support/objects.ts';
import { useWorld } from '../support/world.ts';

/** Another Kubernetes: POLICY_KUBERNETES=v1.30.14. */
const VERSION = process.env['POLICY_KUBERNETES'];
const CONFINE = join(import.meta.dirname, '../../config/confine');
const PAGE = join(import.meta.dirname, '../../docs/security.md');
const VICTIM = servicesPath('a/victim');
const OTHERS = {
  type: 'example.com/Ready',
  status: 'True',
  reason: 'Fine',
  message: '',
  lastTransitionTime: '2026-01-01T00:00:00Z',
};

/** Who has stolen the controller's token: impersonated, so that what is tried does not count as the controller's own. */
const THIEF = { 'impersonate-user': 'system:serviceaccount:nodeport-manager-system:nodeport-manager' };

const world = useWorld(
  async (w) => {
    await w.kubectl(`apply --validate=strict -k ${CONFINE}`);
    await w.namespace('a');
    await w.range('good', 30100, 30109, { cooldown: '0s' });
    const ports = [
      { name: 'http', port: 80, targetPort: 'web', appProtocol: 'http' },
      { name: 'dns', port: 53, protocol: 'UDP', targetPort: 5353 },
    ];
    await w.service('a/victim', {
      type: 'LoadBalancer',
      ports,
      annotations: { mine: 'yes' },
      labels: { tier: 'edge' },
    });
    await w.client.patch(`${VICTIM}/status`, 'strategic', { status: { conditions: [OTHERS] } });
  },
  VERSION === undefined ? {} : { version: VERSION },
);

/** What the apiserver says to a patch that says what is to be different; '' when it accepts it. It keeps nothing. */
async function refusal(patch: object, subresource = ''): Promise<string> {
  const { status, body } = await world().client.raw('PATCH', `${VICTIM}${subresource}?dryRun=All`, {
    body: patch,
    headers: { ...THIEF, 'content-type': 'application/strategic-merge-patch+json' },
  });
  return status < 300 ? '' : (JSON.parse(body) as { message: string }).message;
}

describe('With config/confine, whoever has the token of the controller cannot', () => {
  beforeAll(async () => {
    // A policy takes a moment to be known.
    await eventually(async () =>
      expect(await refusal({ metadata: { labels: { a: 'b' } } })).toContain('confine'),
    );
  });

  const spec: [string, object][] = [
    ['point a Service at other Pods', { selector: { app: 'thief' } }],
    ['at no Pods', { selector: null }],
    ['give it an address that is not its own', { externalIPs: ['192.0.2.1'] }],
    ['change its type', { type: 'ClusterIP' }],
    ['make it an alias', { type: 'ExternalName', externalName: 'example.com' }],
    ['change how traffic reaches it', { externalTrafficPolicy: 'Local' }],
    ['open its load balancer to everybody', { loadBalancerSourceRanges: ['0.0.0.0/0'] }],
    ['keep sessions', { sessionAffinity: 'ClientIP' }],
    ['publish what is not ready', { publishNotReadyAddresses: true }],
  ];
  test.each(spec)('%s', async (_, change) => {
    expect(await refusal({ spec: change })).toContain(
      "of a Service's spec, nodeport-manager changes nodePort only",
    );
  });

  const ports: [string, object[]][] = [
    ['send a port elsewhere', [{ port: 80, targetPort: 22 }]],
    ['rename a port', [{ port: 80, name: 'other' }]],
    ['add a port', [{ port: 22, name: 'ssh', protocol: 'TCP' }]],
    ['remove a port', [{ port: 80, $patch: 'delete' }]],
    ['say that it speaks something else', [{ port: 80, appProtocol: 'kubernetes.io/h2c' }]],
  ];
  test.each(ports)('%s', async (_, change) => {
    expect(await refusal({ spec: { ports: change } })).toContain(
      "of a Service's ports, nodeport-manager changes",
    );
  });

  const metadata: [string, object][] = [
    ['label it', { labels: { tier: 'core' } }],
    ['take a label', { labels: { tier: null } }],
    ['annotate it', { annotations: { 'example.com/balancer': 'public' } }],
    ['take all annotations', { annotations: null }],
    [
      'give it an owner that will have it deleted',
      { ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'x', uid: 'x' }] },
    ],
    ['keep it from being deleted', { finalizers: ['example.com/never'] }],
  ];
  test.each(metadata)('%s, in the Service and by way of its status', async (_, change) => {
    const says = "of a Service's metadata, nodeport-manager changes nothing";
    expect(await refusal({ metadata: change })).toContain(says);
    expect(await refusal({ metadata: change }, '/status')).toContain(says);
  });

  const status: [string, object][] = [
    ['say where its load balancer is', { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } }],
    ["change another's condition", { conditions: [{ ...OTHERS, status: 'False' }] }],
    ["take another's condition", { conditions: [{ type: OTHERS.type, $patch: 'delete' }] }],
    ["write in another's name", { conditions: [{ ...OTHERS, type: 'example.com/More' }] }],
  ];
  test.each(status)('%s', async (_, change) => {
    expect(await refusal({ status: change }, '/status')).toContain(
      "of a Service's status, nodeport-manager changes its own condition only",
    );
  });

  test('and what the controller does passes', async () => {
    expect(await refusal({ spec: { ports: [{ port: 80, nodePort: 30109 }] } })).toBe('');
    const condition = { ...OTHERS, type: CONDITION };
    expect(await refusal({ status: { conditions: [condition] } }, '/status')).toBe('');
  });
});

describe('With config/confine, the controller', () => {
  test('does its work: ports and condition come, move and go, and nothing is refused', async () => {
    const controller = await world().start(...ALONE);
    const { ask, shows, showsNothing, client, edit, checker } = world();
    await ask('a/victim', 'good');
    await shows('a/victim', 'Assigned', 'holds http 30100, dns 30101 from good');
    const annotations = { 'nodeport-manager.io/ports': 'http=30105' };
    await client.patch(VICTIM, 'merge', { metadata: { annotations } });
    await shows('a/victim', 'Assigned', 'holds http 30105, dns 30101 from good');
    await edit('a/victim', { ports: [{ name: 'http', port: 81, nodePort: 30105 }] });
    await shows('a/victim', 'Assigned', 'holds http 30105 from good');
    await ask('a/victim', 'none');
    const { status } = await showsNothing('a/victim');
    expect(status.conditions).toEqual([OTHERS]);
    await checker.untilTableIsTrue();
    expect((await world().writes()).filter(({ code }) => code >= 400)).toEqual([]);
    expect((await controller.logs()).filter(({ level }) => level === 'warn' || level === 'error')).toEqual(
      [],
    );
  });

  test('nobody else is confined', async () => {
    const patch = { metadata: { labels: { tier: 'core' } }, spec: { selector: { app: 'moved' } } };
    expect((await world().client.patch<Service>(VICTIM, 'merge', patch)).spec).toMatchObject({
      selector: { app: 'moved' },
    });
    const condition = { ...OTHERS, type: CONDITION };
    await world().client.patch(`${VICTIM}/status`, 'strategic', { status: { conditions: [condition] } });
    await world().showsNothing('a/victim');
  });

  test('has another name in another namespace, which an overlay in the documentation says', async () => {
    const overlay = /```yaml\n(# overlay\/kustomization\.yaml[\s\S]*?config\/confine[\s\S]*?)```/.exec(
      await readFile(PAGE, 'utf8'),
    )?.[1];
    expect(overlay).toContain('path: /spec/matchConditions/0/expression');
    expect(overlay).toContain(
      "request.userInfo.username == 'system:serviceaccount:elsewhere:nodeport-manager'",
    );
    expect(await readFile(join(CONFINE, 'policy.yaml'), 'utf8')).toContain(
      "- name: by-the-controller\n      expression: request.userInfo.username == 'system:serviceaccount:",
    );
  });
});

test('the NetworkPolicy of the documentation is one that the apiserver accepts', async () => {
  const block = /```yaml\n(apiVersion: networking[\s\S]*?)```/.exec(await readFile(PAGE, 'utf8'))?.[1] ?? '';
  const said = await world().kubectl('apply --dry-run=server --validate=strict -f -', { input: block });
  expect(said).toContain('networkpolicy.networking.k8s.io/nodeport-manager created');
});
