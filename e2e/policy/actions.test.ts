import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { portRangePath } from '../../src/api/portRange.ts';
import { createClient } from '../cluster/client.ts';
import { startCluster } from '../cluster/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { expectAccepted, expectRefused, useWorld } from './world.ts';

const NUMBER = 30_150;
const SAYS = `node port ${NUMBER} belongs to the PortRange team-a, which does not admit the namespace b: `;
const CONFIG = join(import.meta.dirname, '../../config');
const PAGE = join(CONFIG, '../docs/policy.md');
const AUDIT_LOG = 'audit.log';

const world = useWorld(
  async ({ namespace }) => {
    await namespace('a');
    await namespace('b');
  },
  {
    apiserverFlags: [
      `--audit-policy-file=${join(import.meta.dirname, 'audit-policy.yaml')}`,
      `--audit-log-path=${AUDIT_LOG}`,
    ],
  },
);

const team = () => world().as('team-b');
const teamA = { ranges: [{ from: 30_100, to: 30_199 }], namespaces: ['a'] };
const manifest = (name: string) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'b' },
    spec: { type: 'NodePort', ports: [{ port: 80, nodePort: NUMBER }] },
  });

/** What the audit log has of creates of that Service that were let through: the annotations of each. */
async function audited(name: string): Promise<Record<string, string>[]> {
  const text = await readFile(join(world().cluster.dir, AUDIT_LOG), 'utf8');
  type Line = {
    objectRef: { name?: string; namespace?: string };
    responseStatus: { code: number };
    annotations?: Record<string, string>;
  };
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line)
    .filter(({ objectRef, responseStatus }) => objectRef.name === name && responseStatus.code === 201)
    .map(({ annotations = {} }) => annotations);
}

describe('kubectl apply -k config/policy', () => {
  const apply = () => world().tryKubectl(`apply --validate=strict -k ${join(CONFIG, 'policy')}`);

  test('is accepted as it is, without a warning, and changes nothing the second time', async () => {
    const first = await apply();
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout.trim().split('\n')).toEqual([
      'validatingadmissionpolicy.admissionregistration.k8s.io/nodeport-manager-segments created',
      'validatingadmissionpolicybinding.admissionregistration.k8s.io/nodeport-manager-segments created',
    ]);
    const second = await apply();
    expect(second.stderr).toBe('');
    expect(second.stdout.match(/ unchanged$/gm)).toHaveLength(2);
  });

  test.each(['policy', 'policy/warn', 'policy/audit'])(
    'marks what is in %s as a part of this project',
    async (folder) => {
      const text = await world().kubectl(`kustomize ${join(CONFIG, folder)}`);
      for (const label of ['name: nodeport-manager', 'part-of: nodeport-manager', 'component: policy'])
        expect(text.match(new RegExp(`app.kubernetes.io/${label}`, 'g')), label).toHaveLength(2);
    },
  );

  test('protects nothing while there is no PortRange', async () => {
    expectAccepted(await team().name('b', NUMBER));
    await world().range('team-a', teamA);
    expectRefused(await team().name('b', NUMBER), NUMBER, 'team-a');
  });
});

describe('validationActions', () => {
  afterEach(() => world().install('policy'));

  test('Deny refuses with 403 and the message; kubectl shows it and fails', async () => {
    const answer = await team().name('b', NUMBER);
    expect(answer).toMatchObject({ status: 403, warnings: '' });
    expect(answer.message).toContain(`denied request: ${SAYS}`);
    const { code, stderr } = await world().tryKubectl('apply -f -', {
      user: 'team-b',
      input: manifest('web'),
    });
    expect(code).toBe(1);
    expect(stderr).toContain(`denied request: ${SAYS}`);
  });

  test('the documentation shows what Deny and Warn say', async () => {
    const page = await readFile(PAGE, 'utf8');
    const said = (pattern: RegExp, text: string) =>
      (pattern.exec(text)?.[0] ?? `no ${pattern.source}`).replace('namespace b:', 'namespace b-dev:');
    const { message } = await team().name('b', NUMBER);
    expect(page.includes(said(/is forbidden: .*/, message)), message).toBe(true);
    await world().install('policy/warn');
    const { warnings } = await team().name('b', NUMBER + 2);
    expect(page.includes(`\nWarning: ${said(/Validation failed .*(?=")/, warnings)}\n`), warnings).toBe(true);
  });

  test('Warn lets it through with a Warning header, which kubectl shows', async () => {
    await world().install('policy/warn');
    const answer = await team().name('b', NUMBER);
    expectAccepted(answer);
    expect(answer.warnings).toMatch(
      /^299 - "Validation failed for ValidatingAdmissionPolicy 'nodeport-manager-segments'/,
    );
    expect(answer.warnings).toContain(SAYS);
    const { code, stderr } = await world().tryKubectl('apply -f -', {
      user: 'team-b',
      input: manifest('web'),
    });
    expect(code).toBe(0);
    expect(stderr).toMatch(new RegExp(`^Warning: .*${SAYS}`));
    await world().remove('b/web');
    expect((await team().name('b', NUMBER + 100)).warnings).toBe('');
  });

  test('Audit lets it through and says nothing; the audit log has it', async () => {
    await world().install('policy/audit');
    await eventually(async () => expect((await team().name('b', NUMBER)).warnings).toBe(''));
    const key = 'validation.policy.admission.k8s.io/validation_failure';
    const audit = async (name: string, number: number) => {
      expectAccepted(await team().create(`b/${name}`, [{ port: 80, nodePort: number }]));
      await world().remove(`b/${name}`);
      return eventually(async () => {
        const all = await audited(name);
        expect(all).toHaveLength(1);
        return all[0]?.[key];
      });
    };
    const failure: unknown = JSON.parse((await audit('audited', NUMBER)) ?? '[]');
    expect(failure).toMatchObject([
      {
        message: expect.stringContaining(SAYS) as string,
        policy: 'nodeport-manager-segments',
        validationActions: ['Audit'],
      },
    ]);
    expect(await audit('blameless', NUMBER + 100)).toBeUndefined();
  });
});

describe('A controller in another namespace', () => {
  const expression = "request.userInfo.username != 'system:serviceaccount:elsewhere:nodeport-manager'";
  const op = { op: 'replace', path: '/spec/matchConditions/0/expression', value: expression };

  test('is let through by the overlay of the documentation, and the one of the default namespace no more', async () => {
    const patch = [{ op: 'replace', path: '/spec/ports/0/nodePort', value: NUMBER }];
    const asController = () => world().as('controller').patch('b/web', 'json', patch);
    expectAccepted(await team().create('b/web', [{ port: 80 }]));
    await world().overlay({
      patches: [{ target: { kind: 'ValidatingAdmissionPolicy' }, patch: JSON.stringify([op]) }],
    });
    await eventually(async () => {
      const { status, message } = await asController();
      if (status < 400) await team().patch('b/web', 'json', [{ ...patch[0], value: NUMBER + 100 }]);
      expect(message).toContain(SAYS);
    });
    await world().install('policy');
    await eventually(async () => expectAccepted(await asController()));
    await world().remove('b/web');
  });

  test('the documentation shows that overlay', async () => {
    const page = await readFile(PAGE, 'utf8');
    expect(page).toContain(`path: ${op.path}`);
    expect(page).toContain(`value: ${expression}`);
  });
});

describe('Nobody is stuck', () => {
  test('when the CRD is gone and the policy is not: Services are written as if there were none', async () => {
    await world().kubectl('delete crd portranges.nodeport-manager.io');
    await eventually(async () => expectAccepted(await team().name('b', NUMBER)));
    for (let i = 0; i < 20; i += 1) {
      expectAccepted(await team().create('b/web', [{ port: 80 }]));
      expectAccepted(await team().patch('b/web', 'merge', { spec: { selector: { app: `${i}` } } }));
      await world().remove('b/web');
    }
  });

  test('and when it is back, so is the protection', async () => {
    await world().kubectl(`apply -k ${join(CONFIG, 'crd')}`);
    await world().kubectl(
      'wait --for=condition=Established --timeout=60s crd/portranges.nodeport-manager.io',
    );
    const range = {
      apiVersion: 'nodeport-manager.io/v1alpha1',
      kind: 'PortRange',
      metadata: { name: 'team-a' },
    };
    await world().admin.create(portRangePath, { ...range, spec: teamA });
    await eventually(async () => expectRefused(await team().name('b', NUMBER), NUMBER, 'team-a'), 60_000);
  });

  test('after an apiserver has started again: it protects as before', async () => {
    await world().cluster.restartApiserver();
    await eventually(async () => expectRefused(await team().name('b', NUMBER), NUMBER, 'team-a'), 60_000);
  });

  test('after kubectl delete -k config/policy: every number is free to all again', async () => {
    await world().kubectl(`delete -k ${join(CONFIG, 'policy')}`);
    await eventually(async () => expectAccepted(await team().name('b', NUMBER)));
  });
});

describe.skipIf(process.env['POLICY_KUBERNETES'] !== undefined)(
  'An apiserver that emulates an older minor',
  () => {
    let answer: { status: number; body: string };

    beforeAll(async () => {
      const cluster = await startCluster({ apiserverFlags: ['--emulated-version=1.33'] });
      const admin = createClient(cluster);
      try {
        for (const folder of ['crd', 'policy']) await cluster.kubectl(['apply', '-k', join(CONFIG, folder)]);
        await eventually(() =>
          admin.create(portRangePath, {
            apiVersion: 'nodeport-manager.io/v1alpha1',
            kind: 'PortRange',
            metadata: { name: 'team-a' },
            spec: teamA,
          }),
        );
        answer = await eventually(async () => {
          const path = '/api/v1/namespaces/default/services';
          const spec = { type: 'NodePort', ports: [{ port: 80, nodePort: NUMBER }] };
          const body = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec };
          const created = await admin.raw('POST', path, { body });
          if (created.status === 201) await admin.delete(`${path}/web`);
          expect(created.status).toBe(403);
          return created;
        });
      } finally {
        await admin.close();
        await cluster.stop();
      }
    });

    test('1.33 takes the policy and refuses with the same message', () => {
      expect(answer.body).toContain(SAYS.replace('namespace b', 'namespace default'));
    });
  },
);
