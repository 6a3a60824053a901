/** `--metrics-secure` as the documentation has it installed: who gets the metrics, and who does not. */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { afterAll, describe, expect, test } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { selfSigned } from '../../src/observability/selfSigned.ts';
import { type ControllerProcess, PATIENT } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { useWorld, type World } from '../support/world.ts';
import { type PrometheusServer, startPrometheus } from './server.ts';

const ROOT = join(import.meta.dirname, '../..');

const trusting = new Agent({ connect: { rejectUnauthorized: false } });
let leader: ControllerProcess;
let standby: ControllerProcess;
/** Of the service account that the documentation lets in. */
let prometheusToken: string;
const tokensSent = new Set<string>();

const world = useWorld(async (w) => {
  await installOverlay(w);
  await w.namespace('monitoring');
  for (const name of ['prometheus', 'another'])
    await w.kubectl(`create serviceaccount ${name} -n monitoring`);
  const page = await readFile(join(ROOT, 'docs/monitoring.md'), 'utf8');
  await w.kubectl(/^kubectl (create clusterrolebinding .*)$/m.exec(page)?.[1] ?? '');
  prometheusToken = await tokenOf('prometheus', w);
  await w.range('team-a', 30100, 30109);
  [leader, standby] = [await launched(w), await launched(w)];
});

afterAll(() => trusting.close());

/** The overlay of docs/monitoring.md, without the objects of the Prometheus operator, which is not here. */
async function installOverlay({ cluster, kubectl }: World): Promise<void> {
  const folder = join(cluster.dir, 'checkout');
  for (const part of ['config', 'crds']) await cp(join(ROOT, part), join(folder, part), { recursive: true });
  const page = await readFile(join(ROOT, 'docs/monitoring.md'), 'utf8');
  const [, overlay = ''] = /```yaml\n# secure\/kustomization\.yaml[^\n]*\n(.*?)```/s.exec(page) ?? [];
  await mkdir(join(folder, 'secure'));
  await writeFile(join(folder, 'secure/kustomization.yaml'), overlay);
  const objects = parseAllDocuments(await kubectl(`kustomize ${join(folder, 'secure')}`))
    .map((document) => document.toJS() as { apiVersion: string })
    .filter(({ apiVersion }) => !apiVersion.startsWith('monitoring.coreos.com/'));
  const rendered = join(folder, 'rendered.yaml');
  await writeFile(rendered, objects.map((object) => stringify(object)).join('---\n'));
  await kubectl(`apply --validate=strict -f ${rendered}`);
}

/** With the flags of the Deployment, addresses apart. */
async function launched({ launch, kubectl }: World, ...more: string[]): Promise<ControllerProcess> {
  const path = 'jsonpath={.spec.template.spec.containers[0].args}';
  const all = await kubectl(`get deployment nodeport-manager -n nodeport-manager-system -o ${path}`);
  const flags = (JSON.parse(all) as string[]).filter((flag) => !flag.includes('-bind-address'));
  const controller = await launch({ flags: [...flags, ...PATIENT, '--log-level=debug', ...more] });
  await eventually(async () => expect((await controller.readyz()).status).toBe(200));
  return controller;
}

async function tokenOf(account: string, { kubectl } = world()): Promise<string> {
  return (await kubectl(`create token ${account} -n monitoring`)).trim();
}

async function scrape(
  controller: ControllerProcess,
  token?: string,
): Promise<{ status: number; body: string }> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  if (token !== undefined) tokensSent.add(token);
  const url = `https://${controller.metricsAddress}/metrics`;
  const { statusCode, body } = await request(url, { dispatcher: trusting, headers });
  return { status: statusCode, body: await body.text() };
}

/** How many TokenReviews the apiserver has answered. */
async function reviewsOfTokens(): Promise<number> {
  const { body } = await world().client.raw('GET', '/metrics');
  const lines = body
    .split('\n')
    .filter(
      (line) => line.startsWith('apiserver_request_total{') && line.includes('resource="tokenreviews"'),
    );
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

describe('who gets the metrics', () => {
  test('without a token: 401', async () => {
    expect((await scrape(leader)).status).toBe(401);
  });

  test('with a token of nobody: 401', async () => {
    expect((await scrape(leader, 'this-is-the-token-of-nobody')).status).toBe(401);
    const [head, , signature] = prometheusToken.split('.');
    const forged = [
      head,
      Buffer.from('{"sub":"system:serviceaccount:monitoring:prometheus"}').toString('base64url'),
      signature,
    ];
    expect((await scrape(leader, forged.join('.'))).status).toBe(401);
  });

  test('with one of somebody who may not: 403, and what to do', async () => {
    for (const token of [await tokenOf('another'), world().cluster.token('team-a')]) {
      const { status, body } = await scrape(leader, token);
      expect(status).toBe(403);
      expect(body).toContain('nodeport-manager-metrics-reader');
    }
  });

  test('with one of who may: the page, from the leader and from the standby', async () => {
    for (const controller of [leader, standby]) {
      for (const token of [prometheusToken, world().cluster.token('admin')]) {
        const { status, body } = await scrape(controller, token);
        expect(status, body).toBe(200);
        expect(body).toContain('nodeport_manager_range_capacity_ports');
      }
    }
  });

  test('twenty scrapes with one token are one question to the apiserver', async () => {
    const token = await tokenOf('prometheus');
    const before = await reviewsOfTokens();
    for (let i = 0; i < 20; i += 1) expect((await scrape(leader, token)).status).toBe(200);
    expect((await reviewsOfTokens()) - before).toBe(1);
  });

  test('probes need neither TLS nor a token; the metrics are not had without TLS', async () => {
    expect(await leader.healthz()).toEqual({ status: 200, body: 'ok\n' });
    await expect(request(`http://${leader.metricsAddress}/metrics`)).rejects.toThrow();
  });
});

describe('a real Prometheus', () => {
  let server: PrometheusServer | undefined;
  afterAll(() => server?.stop());

  test('scrapes with the token of its service account', async () => {
    const instances = { leader: leader.metricsAddress, standby: standby.metricsAddress };
    const scrape = {
      scheme: 'https',
      authorization: { credentials: prometheusToken },
      tls_config: { insecure_skip_verify: true },
    };
    server = await startPrometheus(world().cluster, { speed: 1, instances, scrape });
    await eventually(async () => {
      const up = await server?.query('up{job="nodeport-manager"}');
      expect(up?.map(({ value }) => value)).toEqual([1, 1]);
      expect(await server?.query('nodeport_manager_range_capacity_ports{range="team-a"} == 10')).toHaveLength(
        1,
      );
    });
  });
});

test('a certificate of one’s own is verified by who scrapes, and its successor is served without a restart', async () => {
  const folder = join(world().cluster.dir, 'tls');
  await mkdir(folder);
  const put = async (): Promise<string> => {
    const { cert, key } = selfSigned(['metrics.example'], Date.now());
    await writeFile(join(folder, 'tls.key'), key);
    await writeFile(join(folder, 'tls.crt'), cert);
    return cert;
  };
  const first = await put();
  const controller = await launched(world(), `--metrics-cert-dir=${folder}`);
  const verified = async (ca: string): Promise<number> => {
    const dispatcher = new Agent({ connect: { ca, servername: 'metrics.example' } });
    try {
      return (await request(`https://${controller.metricsAddress}/metrics`, { dispatcher })).statusCode;
    } finally {
      await dispatcher.destroy();
    }
  };
  expect(await verified(first)).toBe(401);
  const second = await put();
  await eventually(async () => expect(await verified(second)).toBe(401));
  await expect(verified(first)).rejects.toThrow(/self-signed certificate/);
  await eventually(async () =>
    expect(await controller.output()).toContain('certificate of /metrics renewed'),
  );
  await controller.kill('SIGTERM');
});

describe('what is unknown is never let in', () => {
  test('a controller that may not ask: 500, and what to do', async () => {
    const { kubectl } = world();
    await kubectl('delete clusterrolebinding nodeport-manager-metrics-auth');
    await eventually(async () => {
      const { status, body } = await scrape(leader, await tokenOf('prometheus'));
      expect(status).toBe(500);
      expect(body).toContain('config/metrics-secure');
    });
    await kubectl(`apply -f ${join(world().cluster.dir, 'checkout/rendered.yaml')}`);
  });

  test('an apiserver that is away: 503 for a new token, and the page for one that it knew a moment ago', async () => {
    const { cluster } = world();
    const [known, fresh] = [await tokenOf('prometheus'), await tokenOf('prometheus')];
    await eventually(async () => expect((await scrape(leader, known)).status).toBe(200));
    await cluster.stopApiserver();
    const { status, body } = await scrape(leader, fresh);
    expect(status, body).toBe(503);
    expect((await scrape(leader, known)).status).toBe(200);
    await cluster.startApiserver();
    await eventually(async () => expect((await scrape(leader, fresh)).status).toBe(200));
  });
});

test('no token that was ever sent is in a log', async () => {
  expect(tokensSent.size).toBeGreaterThan(7);
  for (const controller of [leader, standby]) {
    const log = await controller.output();
    for (const token of tokensSent) expect(log).not.toContain(token);
  }
  expect(await leader.output()).toContain('"level":"debug"');
  expect(await leader.output()).toContain('cannot ask the apiserver who may read /metrics');
});
