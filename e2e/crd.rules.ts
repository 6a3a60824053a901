import type { PortSpan } from '../src/api/portRange.ts';

/**
 * What the PortRange CRD accepts and refuses, rule by rule: one row for each rule in the schema.
 * The bodies are written out and not computed from the schema, so that a rule that changes is noticed.
 */
export interface Rule {
  /** Where in the schema, `[]` for the items of a list and `{}` for the values of a map, and which keyword or CEL message. */
  readonly rule: string;
  readonly accepted: Body;
  readonly refused: Body;
  /** What the refusal names, and what it says about it. */
  readonly field: string;
  readonly says: string;
}

export interface Body {
  readonly metadata?: { readonly name: string };
  readonly spec?: unknown;
  readonly status?: unknown;
}

type Make<T> = (value: T) => Body;

const RANGES = [{ from: 30000, to: 30099 }];
const withSpec = (fields: object): Body => ({ spec: { ranges: RANGES, ...fields } });
const withStatus = (fields: object): Body => ({ status: fields });
const named = (name: string): Body => ({ metadata: { name }, spec: { ranges: RANGES } });

/** The field as an error names it, when every list has one item. */
const fieldOf = (path: string) => path.replaceAll('.[]', '[0]');
const numbered = (count: number, prefix = 'n') => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

function atLeast(path: string, least: number, make: Make<number>): Rule {
  return {
    rule: `${path} minimum`,
    accepted: make(least),
    refused: make(least - 1),
    field: fieldOf(path),
    says: `should be greater than or equal to ${least}`,
  };
}

function atMost(path: string, most: number, make: Make<number>): Rule {
  return {
    rule: `${path} maximum`,
    accepted: make(most),
    refused: make(most + 1),
    field: fieldOf(path),
    says: `should be less than or equal to ${most}`,
  };
}

function between(path: string, least: number, most: number, make: Make<number>): Rule[] {
  return [atLeast(path, least, make), atMost(path, most, make)];
}

function required(path: string, name: string, accepted: Body, refused: Body): Rule {
  const field = fieldOf(path === '' ? name : `${path}.${name}`);
  return { rule: `${path} required ${name}`, accepted, refused, field, says: 'Required value' };
}

function oneOf(path: string, values: readonly string[], make: Make<string>): Rule[] {
  const says = `supported values: ${values.map((value) => `"${value}"`).join(', ')}`;
  return values.map((value) => ({
    rule: `${path} enum`,
    accepted: make(value),
    refused: make(value.toUpperCase() === value ? 'x' : value.toUpperCase()),
    field: fieldOf(path),
    says,
  }));
}

function pattern(path: string, good: readonly string[], bad: readonly string[], make: Make<string>): Rule[] {
  return bad.map((value, i) => ({
    rule: `${path} pattern`,
    accepted: make(good[i % good.length] ?? ''),
    refused: make(value),
    field: fieldOf(path),
    says: 'should match',
  }));
}

function longest(path: string, most: number, make: Make<string>): Rule {
  return {
    rule: `${path} maxLength`,
    accepted: make('a'.repeat(most)),
    refused: make('a'.repeat(most + 1)),
    field: fieldOf(path),
    says: `may not be more than ${most} bytes`,
  };
}

function notEmpty(path: string, make: Make<string>): Rule {
  return {
    rule: `${path} minLength`,
    accepted: make('a'),
    refused: make(''),
    field: fieldOf(path),
    says: 'should be at least 1 chars long',
  };
}

function atMostItems(path: string, most: number, make: Make<number>): Rule {
  return {
    rule: `${path} maxItems`,
    accepted: make(most),
    refused: make(most + 1),
    field: fieldOf(path),
    says: `must have at most ${most} items`,
  };
}

function atLeastOneItem(path: string, make: Make<number>): Rule {
  return {
    rule: `${path} minItems`,
    accepted: make(1),
    refused: make(0),
    field: fieldOf(path),
    says: 'should have at least 1 items',
  };
}

type Spans = readonly Partial<PortSpan>[];

function spans(path: string, make: Make<Spans>): Rule[] {
  const many = (count: number) => make(Array.from({ length: count }, (_, i) => ({ from: 30000 + 2 * i })));
  const overlap = (refused: Spans, accepted: Spans): Rule => ({
    rule: `${path} CEL spans must not overlap: a port may be in one span only`,
    accepted: make(accepted),
    refused: make(refused),
    field: path,
    says: 'spans must not overlap: a port may be in one span only',
  });
  return [
    ...between(`${path}.[].from`, 1, 65_535, (from) => make([{ from }])),
    ...between(`${path}.[].to`, 1, 65_535, (to) => make([{ from: 1, to }])),
    required(`${path}.[]`, 'from', make([{ from: 30_001 }]), make([{ to: 30_001 }])),
    {
      rule: `${path}.[] CEL to must not be lower than from`,
      accepted: make([{ from: 30_005, to: 30_005 }]),
      refused: make([{ from: 30_005, to: 30_004 }]),
      field: `${path}[0].to`,
      says: 'to must not be lower than from',
    },
    overlap(
      [{ from: 30_000, to: 30_010 }, { from: 30_010 }],
      [{ from: 30_000, to: 30_010 }, { from: 30_011 }],
    ),
    overlap([{ from: 30_005 }, { from: 30_005 }], [{ from: 30_006 }, { from: 30_005 }]),
    overlap(
      [
        { from: 30_050, to: 30_060 },
        { from: 30_000, to: 30_099 },
      ],
      [
        { from: 30_050, to: 30_060 },
        { from: 30_000, to: 30_049 },
      ],
    ),
    atMostItems(path, 64, many),
  ];
}

function selector(path: string, make: Make<object>): Rule[] {
  const label = (value: string) => make({ matchLabels: { team: value } });
  const expression = (fields: object) =>
    make({ matchExpressions: [{ key: 'team', operator: 'Exists', ...fields }] });
  const key = (value: string) => expression({ key: value });
  const value = (text: string) => expression({ operator: 'In', values: [text] });
  const expressions = `${path}.matchExpressions`;
  const operator = (name: string) =>
    expression({ operator: name, ...(name.endsWith('In') ? { values: ['a'] } : {}) });
  const valuesFor = (refused: object, accepted: object, says: string): Rule => ({
    rule: `${expressions}.[] CEL ${says}`,
    accepted: expression(accepted),
    refused: expression(refused),
    field: `${expressions}[0].values`,
    says,
  });
  const needed = 'values is required with the operators In and NotIn';
  const forbidden = 'values is not allowed with the operators Exists and DoesNotExist';
  return [
    ...pattern(`${path}.matchLabels.{}`, ['a', ''], ['a b', '-a'], label).map((r) => ({
      ...r,
      field: `${path}.matchLabels.team`,
    })),
    { ...longest(`${path}.matchLabels.{}`, 63, label), field: `${path}.matchLabels.team` },
    {
      rule: `${path}.matchLabels maxProperties`,
      accepted: make({ matchLabels: Object.fromEntries(numbered(64).map((name) => [name, ''])) }),
      refused: make({ matchLabels: Object.fromEntries(numbered(65).map((name) => [name, ''])) }),
      field: `${path}.matchLabels`,
      says: 'must have at most 64 items',
    },
    atMostItems(expressions, 64, (n) =>
      make({ matchExpressions: numbered(n).map((k) => ({ key: k, operator: 'Exists' })) }),
    ),
    required(`${expressions}.[]`, 'key', expression({}), expression({ key: undefined })),
    required(`${expressions}.[]`, 'operator', expression({}), expression({ operator: undefined })),
    notEmpty(`${expressions}.[].key`, key),
    longest(`${expressions}.[].key`, 317, key),
    ...pattern(
      `${expressions}.[].key`,
      ['example.com/team', 'team_a'],
      ['a b', 'a/b/c', '/a', 'A.com/a'],
      key,
    ),
    ...oneOf(`${expressions}.[].operator`, ['In', 'NotIn', 'Exists', 'DoesNotExist'], operator),
    atMostItems(`${expressions}.[].values`, 256, (n) => expression({ operator: 'In', values: numbered(n) })),
    longest(`${expressions}.[].values.[]`, 63, value),
    ...pattern(`${expressions}.[].values.[]`, ['a', ''], ['a b', 'a-'], value),
    valuesFor({ operator: 'In' }, { operator: 'In', values: ['a'] }, needed),
    valuesFor({ operator: 'NotIn', values: [] }, { operator: 'NotIn', values: ['a'] }, needed),
    valuesFor({ operator: 'Exists', values: ['a'] }, { operator: 'Exists', values: [] }, forbidden),
    valuesFor({ operator: 'DoesNotExist', values: ['a'] }, { operator: 'DoesNotExist' }, forbidden),
  ];
}

function namesOfObjects(path: string, most: number, good: string, make: Make<readonly string[]>): Rule[] {
  const one = (name: string) => make([name]);
  return [
    notEmpty(`${path}.[]`, one),
    longest(`${path}.[]`, 63, one),
    ...pattern(`${path}.[]`, [good], ['A', 'a_b', '-a', 'a-', 'a,b'], one),
    atMostItems(path, most, (n) => make(numbered(n))),
    {
      rule: `${path} unique`,
      accepted: make(['a', 'b']),
      refused: make(['a', 'a']),
      field: `${path}[1]`,
      says: 'Duplicate value: "a"',
    },
  ];
}

function cooldown(accepted: string, refused: string): Rule {
  const says = 'cooldown must be at most 168h (7 days), in the form 90s, 5m or 1h30m';
  return {
    rule: `spec.cooldown CEL ${says}`,
    accepted: withSpec({ cooldown: accepted }),
    refused: withSpec({ cooldown: refused }),
    field: 'spec.cooldown',
    says,
  };
}

function reservedName(name: string): Rule {
  const says =
    'the names auto and none are reserved: in the annotation nodeport-manager.io/range they have a meaning of their own';
  return {
    rule: ` CEL ${says}`,
    accepted: named(`${name}s`),
    refused: named(name),
    field: 'metadata.name',
    says,
  };
}

const EXPANSION = { thresholdPercent: 85, step: 20, maxPorts: 400, within: [{ from: 31000, to: 31999 }] };
const expansion = (fields: object) => withSpec({ expansion: { ...EXPANSION, ...fields } });
const CONDITION = {
  type: 'Ready',
  status: 'True',
  lastTransitionTime: '2026-11-21T08:00:00Z',
  reason: 'Serving',
  message: '',
};
const condition = (fields: object) => withStatus({ conditions: [{ ...CONDITION, ...fields }] });
const counts = [
  'capacity',
  'allocated',
  'foreign',
  'coolingDown',
  'free',
  'explicitOnlyFree',
  'outOfRange',
  'pending',
];

const ofSpec: readonly Rule[] = [
  required('', 'spec', withSpec({}), { spec: undefined }),
  required('spec', 'ranges', withSpec({}), withSpec({ ranges: undefined })),
  reservedName('auto'),
  reservedName('none'),
  longest('metadata.name', 63, named),
  ...spans('spec.ranges', (ranges) => withSpec({ ranges })),
  atLeastOneItem('spec.ranges', (n) => withSpec({ ranges: RANGES.slice(0, n) })),
  ...spans('spec.excluded', (excluded) => withSpec({ excluded })),
  ...spans('spec.explicitOnly', (explicitOnly) => withSpec({ explicitOnly })),
  ...namesOfObjects('spec.namespaces', 1024, 'a-dev', (namespaces) => withSpec({ namespaces })),
  ...pattern('spec.namespaces.[]', ['a'], ['a.b'], (name) => withSpec({ namespaces: [name] })),
  atLeastOneItem('spec.namespaces', (n) => withSpec({ namespaces: numbered(n) })),
  ...selector('spec.namespaceSelector', (namespaceSelector) => withSpec({ namespaceSelector })),
  ...selector('spec.serviceSelector', (serviceSelector) => withSpec({ serviceSelector })),
  ...oneOf('spec.assignment', ['Requested', 'Automatic'], (assignment) => withSpec({ assignment })),
  ...between('spec.priority', -1_000_000_000, 1_000_000_000, (priority) => withSpec({ priority })),
  ...oneOf('spec.strategy', ['Sequential', 'Random', 'Hash'], (strategy) => withSpec({ strategy })),
  ...pattern(
    'spec.cooldown',
    ['5m', '0s', '1h30m'],
    ['1d', '5', '-5m', '1.5h', '5m ', '100ms', ''],
    (cooldown) => withSpec({ cooldown }),
  ),
  {
    rule: 'spec.cooldown maxLength',
    accepted: withSpec({ cooldown: '0h0h0h0h0h0h0h0s' }),
    refused: withSpec({ cooldown: '0h0h0h0h0h0h0h00s' }),
    field: 'spec.cooldown',
    says: 'may not be more than 16 bytes',
  },
  cooldown('168h', '169h'),
  cooldown('604800s', '604801s'),
  cooldown('167h59m60s', '167h59m61s'),
  cooldown('10080m', '9999999999h'),
  cooldown('1h', '99999999999999h'),
  cooldown('000001h', '999999h999999h9h'),
  ...between('spec.quota.perNamespace', 1, 65_535, (perNamespace) => withSpec({ quota: { perNamespace } })),
  ...between('spec.quota.perService', 1, 65_535, (perService) => withSpec({ quota: { perService } })),
  ...namesOfObjects('spec.spillover', 16, 'shared.edge', (spillover) => withSpec({ spillover })),
  {
    rule: ' CEL spillover must not name the PortRange itself',
    accepted: { ...named('self'), ...withSpec({ spillover: ['other'] }) },
    refused: { ...named('self'), ...withSpec({ spillover: ['other', 'self'] }) },
    field: 'spec.spillover',
    says: 'spillover must not name the PortRange itself',
  },
  ...Object.keys(EXPANSION).map((name) =>
    required('spec.expansion', name, expansion({}), expansion({ [name]: undefined })),
  ),
  ...between('spec.expansion.thresholdPercent', 1, 100, (thresholdPercent) =>
    expansion({ thresholdPercent }),
  ),
  ...between('spec.expansion.step', 1, 65_535, (step) => expansion({ step })),
  ...between('spec.expansion.maxPorts', 1, 65_535, (maxPorts) => expansion({ maxPorts })),
  ...spans('spec.expansion.within', (within) => expansion({ within })),
  atLeastOneItem('spec.expansion.within', (n) => expansion({ within: RANGES.slice(0, n) })),
];

const closedSpans = (name: string): Rule[] => {
  const path = `status.${name}.[]`;
  const span = (fields: object) => withStatus({ [name]: [{ from: 1, to: 65_535, ...fields }] });
  return [
    required(path, 'from', span({}), span({ from: undefined })),
    required(path, 'to', span({}), span({ to: undefined })),
    ...between(`${path}.from`, 1, 65_535, (from) => span({ from })),
    ...between(`${path}.to`, 1, 65_535, (to) => span({ to })),
  ];
};

const ofStatus: readonly Rule[] = [
  atLeast('status.observedGeneration', 0, (observedGeneration) => withStatus({ observedGeneration })),
  ...counts.map((name) => atLeast(`status.${name}`, 0, (count) => withStatus({ [name]: count }))),
  ...between('status.usedPercent', 0, 100, (usedPercent) => withStatus({ usedPercent })),
  ...closedSpans('effective'),
  ...closedSpans('expanded'),
  ...Object.keys(CONDITION).map((name) =>
    required('status.conditions.[]', name, condition({}), condition({ [name]: undefined })),
  ),
  {
    rule: 'status.conditions unique',
    accepted: withStatus({ conditions: [CONDITION, { ...CONDITION, type: 'Exhausted' }] }),
    refused: withStatus({ conditions: [CONDITION, CONDITION] }),
    field: 'status.conditions[1]',
    says: 'Duplicate value: {"type":"Ready"}',
  },
  longest('status.conditions.[].type', 316, (type) => condition({ type })),
  ...pattern('status.conditions.[].type', ['Ready', 'example.com/Ready'], ['', 'a b', '/a'], (type) =>
    condition({ type }),
  ),
  ...oneOf('status.conditions.[].status', ['True', 'False', 'Unknown'], (status) => condition({ status })),
  atLeast('status.conditions.[].observedGeneration', 0, (observedGeneration) =>
    condition({ observedGeneration }),
  ),
  {
    rule: 'status.conditions.[].lastTransitionTime format',
    accepted: condition({ lastTransitionTime: '2026-11-21T08:00:00.5Z' }),
    refused: condition({ lastTransitionTime: 'today' }),
    field: 'status.conditions[0].lastTransitionTime',
    says: 'must be of type date-time',
  },
  notEmpty('status.conditions.[].reason', (reason) => condition({ reason })),
  longest('status.conditions.[].reason', 1024, (reason) => condition({ reason })),
  ...pattern('status.conditions.[].reason', ['Serving'], ['not one word', '1st'], (reason) =>
    condition({ reason }),
  ),
  longest('status.conditions.[].message', 32_768, (message) => condition({ message })),
];

export const rules = { spec: ofSpec, status: ofStatus };
