import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PortRange, portRangeDefaults, portRangePath } from '../src/api/portRange.ts';
import { type Client, createClient, type Status } from './cluster/client.ts';
import { type Cluster, startCluster } from './cluster/cluster.ts';
import { type Body, type Rule, rules } from './crd.rules.ts';

const CRD = new URL('../crds/portranges.yaml', import.meta.url);

let cluster: Cluster;
let client: Client;

beforeAll(async () => {
  cluster = await startCluster();
  client = createClient(cluster);
  await kubectl('apply', '--validate=strict', '-f', CRD.pathname);
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

const portRange = (name: string, fields: Body = { spec: { ranges: [{ from: 30000 }] } }) => ({
  apiVersion: 'nodeport-manager.io/v1alpha1',
  kind: 'PortRange',
  metadata: { name },
  ...fields,
});

interface Answer {
  status: number;
  body: Status;
}

/** Would this be accepted? Nothing is kept. */
async function tryCreate(body: Body): Promise<Answer> {
  const { status, body: text } = await client.raw(
    'POST',
    `${portRangePath}?dryRun=All&fieldValidation=Strict`,
    {
      body: portRange('probe', body),
    },
  );
  return { status, body: JSON.parse(text) as Status };
}

async function tryStatus(body: Body): Promise<Answer> {
  const { status, body: text } = await client.raw(
    'PATCH',
    `${portRangePath}/with-status/status?dryRun=All&fieldValidation=Strict`,
    {
      body,
      headers: { 'content-type': 'application/merge-patch+json' },
    },
  );
  return { status, body: JSON.parse(text) as Status };
}

function expectRefusal({ status, body }: Answer, field: string, says: string): void {
  expect(status, body.message).toBe(422);
  const causes = body.details?.causes ?? [];
  expect(causes).toContainEqual(
    expect.objectContaining({ field, message: expect.stringContaining(says) as string }),
  );
  // What a person sees is the message: it names the field as well.
  expect(body.message).toContain(field);
  expect(body.message).toContain(says);
}

const TITLE = 120;

function titled(rows: readonly Rule[]): [title: string, rule: Rule][] {
  return rows.map((row) => [`${row.rule.trim()} in ${JSON.stringify(row.refused).slice(0, TITLE)}`, row]);
}

describe('a PortRange with', () => {
  test.each(titled(rules.spec))('%s is refused', async (_title, { accepted, refused, field, says }) => {
    const good = await tryCreate(accepted);
    expect(good.status, good.body.message).toBe(201);
    expectRefusal(await tryCreate(refused), field, says);
  });

  test('a field that does not exist is refused, and named', async () => {
    const { status, body } = await tryCreate({ spec: { ranges: [{ from: 30000 }], stratgey: 'Hash' } });
    expect(status).toBe(400);
    expect(body.message).toContain('unknown field "spec.stratgey"');
  });

  test('several faults gets to hear of each', async () => {
    const answer = await tryCreate({
      spec: { ranges: [{ from: 5, to: 4 }], cooldown: '169h', quota: { perService: 0 } },
    });
    expectRefusal(answer, 'spec.ranges[0].to', 'to must not be lower than from');
    expectRefusal(answer, 'spec.cooldown', 'at most 168h');
    expectRefusal(answer, 'spec.quota.perService', 'greater than or equal to 1');
    expect(answer.body.details?.causes).toHaveLength(3);
  });
});

describe('the status of a PortRange with', () => {
  beforeAll(async () => {
    await client.create(portRangePath, portRange('with-status'));
  });

  test.each(titled(rules.status))('%s is refused', async (_title, { accepted, refused, field, says }) => {
    const good = await tryStatus(accepted);
    expect(good.status, good.body.message).toBe(200);
    expectRefusal(await tryStatus(refused), field, says);
  });
});

interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema;
  required?: string[];
  format?: string;
  'x-kubernetes-validations'?: { message: string }[];
  'x-kubernetes-list-type'?: string;
}

const KEYWORDS = [
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'pattern',
  'enum',
  'minItems',
  'maxItems',
  'maxProperties',
];

/** Every rule of a schema, named as in crd.rules.ts. */
function rulesIn(schema: Schema, path = ''): string[] {
  const join = (step: string) => (path === '' ? step : `${path}.${step}`);
  const unique = ['set', 'map'].includes(schema['x-kubernetes-list-type'] ?? '');
  return [
    ...KEYWORDS.filter((keyword) => keyword in schema).map((keyword) => `${path} ${keyword}`),
    ...(schema.format === 'date-time' ? [`${path} format`] : []),
    ...(unique ? [`${path} unique`] : []),
    ...(schema.required ?? []).map((name) => `${path} required ${name}`),
    ...(schema['x-kubernetes-validations'] ?? []).map(({ message }) => `${path} CEL ${message}`),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, field]) => rulesIn(field, join(name))),
    ...(schema.items ? rulesIn(schema.items, join('[]')) : []),
    ...(schema.additionalProperties ? rulesIn(schema.additionalProperties, join('{}')) : []),
  ];
}

test('every rule of the schema is tried, and no other is claimed', () => {
  const crd = parse(readFileSync(CRD, 'utf8')) as {
    spec: { versions: { schema: { openAPIV3Schema: Schema } }[] };
  };
  const inSchema = crd.spec.versions.flatMap(({ schema }) => rulesIn(schema.openAPIV3Schema));
  const tried = new Set([...rules.spec, ...rules.status].map(({ rule }) => rule));
  expect([...tried].toSorted()).toEqual([...new Set(inSchema)].toSorted());
});

describe('what the apiserver makes of a PortRange', () => {
  test('fields that are left out get their defaults', async () => {
    const bare = await client.create<PortRange>(portRangePath, portRange('bare'));
    expect(bare.spec).toEqual({ ranges: [{ from: 30000 }], ...portRangeDefaults });
    const spec = { ranges: [{ from: 30000 }], cooldown: null, strategy: null };
    const nulls = await client.create<PortRange>(portRangePath, portRange('nulls', { spec }));
    expect(nulls.spec).toEqual(bare.spec);
  });

  test('fields that are given stay as they are, every one of them', async () => {
    const spec = {
      ranges: [{ from: 30100, to: 30199 }, { from: 30250 }],
      excluded: [{ from: 30150, to: 30153 }],
      explicitOnly: [{ from: 30100, to: 30109 }],
      namespaces: ['a-dev', 'a-prod'],
      namespaceSelector: { matchLabels: { team: 'a' } },
      serviceSelector: { matchExpressions: [{ key: 'tier', operator: 'In', values: ['edge'] }] },
      assignment: 'Automatic',
      priority: -7,
      strategy: 'Hash',
      paused: true,
      cooldown: '1h30m',
      quota: { perNamespace: 10, perService: 4 },
      spillover: ['shared'],
      expansion: { thresholdPercent: 85, step: 20, maxPorts: 400, within: [{ from: 31000, to: 31999 }] },
    } as const satisfies PortRange['spec'];
    const created = await client.create<PortRange>(portRangePath, portRange('full', { spec }));
    expect(created.spec).toEqual(spec);
  });

  test('status and spec are written apart; only the spec counts generations', async () => {
    const path = `${portRangePath}/apart`;
    const ranges = [{ from: 30000 }];
    const created = await client.create<PortRange>(
      portRangePath,
      portRange('apart', { spec: { ranges }, status: { free: 7 } }),
    );
    expect(created.status).toBeUndefined();
    const both = { spec: { priority: 9 }, status: { free: 8 } };
    const afterStatus = await client.patch<PortRange>(`${path}/status`, 'merge', both);
    expect(afterStatus).toMatchObject({
      metadata: { generation: 1 },
      spec: { priority: 0 },
      status: { free: 8 },
    });
    const afterSpec = await client.patch<PortRange>(path, 'merge', {
      spec: { priority: 9 },
      status: { free: 9 },
    });
    expect(afterSpec).toMatchObject({
      metadata: { generation: 2 },
      spec: { priority: 9 },
      status: { free: 8 },
    });
  });

  test('conditions of two writers live side by side', async () => {
    const path = `${portRangePath}/conditions/status`;
    await client.create(portRangePath, portRange('conditions'));
    const apply = (type: string) =>
      client.patch<PortRange>(
        path,
        'apply',
        portRange('conditions', {
          status: {
            conditions: [
              { type, status: 'True', reason: 'R', message: '', lastTransitionTime: '2026-11-21T08:00:00Z' },
            ],
          },
        }),
        `fieldManager=${type.toLowerCase()}`,
      );
    await apply('Ready');
    const { status } = await apply('Exhausted');
    expect(status?.conditions?.map(({ type }) => type).toSorted()).toEqual(['Exhausted', 'Ready']);
  });
});

describe('kubectl', () => {
  test('get npr shows how full each range is', async () => {
    await client.create(portRangePath, portRange('shown'));
    const conditions = [
      {
        type: 'Exhausted',
        status: 'False',
        reason: 'R',
        message: '',
        lastTransitionTime: '2026-11-21T08:00:00Z',
      },
      { type: 'Ready', status: 'True', reason: 'R', message: '', lastTransitionTime: '2026-11-21T08:00:00Z' },
    ];
    await client.patch(`${portRangePath}/shown/status`, 'merge', {
      status: {
        ports: '30100-30199,30250',
        capacity: 97,
        allocated: 61,
        free: 28,
        usedPercent: 62,
        pending: 1,
        conditions,
      },
    });
    const [header = '', row = ''] = (await kubectl('get', 'npr', 'shown')).trim().split('\n');
    expect(header.split(/ +/)).toEqual([
      'NAME',
      'PORTS',
      'CAPACITY',
      'ALLOCATED',
      'FREE',
      'USED%',
      'PENDING',
      'READY',
      'AGE',
    ]);
    expect(row).toMatch(/^shown +30100-30199,30250 +97 +61 +28 +62 +1 +True +\d+s$/);
  });

  test.each([
    ['portrange', 'declares a segment'],
    ['portrange.spec.ranges.to', 'included; not lower than from'],
    ['portrange.spec.strategy', 'Sequential: the lowest free number'],
    ['npr.status.usedPercent', 'rounded down; 100 when capacity is 0'],
  ])('explain %s prints what it means', async (field, text) => {
    const explained = await kubectl('explain', field);
    expect(explained.replaceAll(/\s+/g, ' ')).toContain(text);
  });

  test('PortRanges are cluster-scoped, called npr for short, and not part of "all"', async () => {
    const { resources } = await client.get<{ resources: { name: string }[] }>(
      '/apis/nodeport-manager.io/v1alpha1',
    );
    const found = resources.find(({ name }) => name === 'portranges');
    expect(found).toMatchObject({ namespaced: false, shortNames: ['npr'], kind: 'PortRange' });
    expect(found).not.toHaveProperty('categories');
  });
});
