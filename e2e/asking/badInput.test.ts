import { describe, expect, test } from 'vitest';
import { conditionOf, servicesPath } from '../support/objects.ts';
import { refusalOf, useWorld } from '../support/world.ts';
import { type Asks, asks, HTTP, HTTPS, portsOf, scene } from './asking.ts';

const RANGE = 'nodeport-manager.io/range';
const PORTS = 'nodeport-manager.io/ports';
const NAME_RULE = 'is not the name of a PortRange (lowercase letters, digits, "-" and ".", at most 63)';
/** The size that the apiserver allows for all annotations of an object is 256 KiB. */
const HUGE = 250_000;
const SHOWN_AT_MOST = 1_000;

const world = useWorld(async (w) => {
  await w.namespace('a');
  await w.start();
  await w.range('good', 30100, 30199, { cooldown: '0s' });
  await w.rangeShows('good', { observedGeneration: 1 });
});

const { served, annotate, notes } = scene(world);

/** Another Service, created right then, is served. */
async function othersAreServed(): Promise<void> {
  expect(await served('a/other', { range: 'good', ports: '30199' })).toEqual([30199]);
  await world().remove('a/other');
}

/** Creates a Service with two ports whose request is bad; its condition. Nothing of it or of others changes. */
async function refused(said: Asks, message: string | RegExp): Promise<string> {
  const created = await world().service('a/bad', asks(said, { ports: [HTTP, HTTPS] }));
  await othersAreServed();
  const meanwhile = `; temporarily on ${portsOf(created).join(', ')}`;
  const shown = await world().shows(
    'a/bad',
    'InvalidRequest',
    typeof message === 'string' ? `${message}${meanwhile}` : message,
  );
  expect(conditionOf(shown)?.status).toBe('False');
  expect(portsOf(shown)).toEqual(portsOf(created));
  await world().remove('a/bad');
  return conditionOf(shown)?.message ?? '';
}

// First of all: events are limited to 25 and then 5 per second, and every other test here makes some.
test('the event about a bad request is as short and as clean as its condition', async () => {
  const { service, shows, remove } = world();
  await service('a/loud', asks({ ports: '\u001b[31m\u202e'.repeat(20_000) }));
  const shown = await shows('a/loud', 'InvalidRequest');
  await expect
    .poll(async () => (await notes('a', 'loud')).get('InvalidRequest'), { timeout: 30_000 })
    .toEqual([conditionOf(shown)?.message]);
  await remove('a/loud');
});

describe('a request that cannot be understood changes nothing, quotes the text, and disturbs nobody', () => {
  const rows: [string, Asks, string][] = [
    ['empty', { range: '' }, `${RANGE} is empty: name a PortRange, or remove it`],
    ['capitals', { range: 'Good' }, `${RANGE}: "Good" ${NAME_RULE}`],
    ['blanks in a name', { range: 'go od' }, `${RANGE}: "go od" ${NAME_RULE}`],
    ['an empty place in a list', { range: 'good,' }, `${RANGE}: "" ${NAME_RULE}`],
    ['auto in a list', { range: 'good,auto' }, `${RANGE}: "good,auto": "auto" stands alone, not in a list`],
    ['none in a list', { range: 'none,good' }, `${RANGE}: "none,good": "none" stands alone, not in a list`],
    ['a name of 64', { range: 'x'.repeat(64) }, `${RANGE}: "${'x'.repeat(64)}" ${NAME_RULE}`],
    ['a name of 253', { range: 'x'.repeat(253) }, `${RANGE}: "${'x'.repeat(80)}…" ${NAME_RULE}`],
    [
      'a list of 65',
      { range: Array.from({ length: 65 }, (_, i) => `r-${i}`).join() },
      `${RANGE} names 65 PortRanges: at most 64`,
    ],
    ['unicode', { range: 'téam-日本-🚀' }, `${RANGE}: "téam-日本-\\ud83d\\ude80" ${NAME_RULE}`],
    [
      'control characters and escapes of a terminal',
      { range: 'a\u0000\u0007\u001b[2J\r\n\u202e' },
      `${RANGE}: "a\\u0000\\u0007\\u001b[2J\\r\\n\\u202e" ${NAME_RULE}`,
    ],
    ['no number', { ports: 'http=web' }, `${PORTS}: "http=web" is neither a number nor like "https=30443"`],
    ['no ports at all', { ports: '' }, `${PORTS}: "" is neither a number nor like "https=30443"`],
    ['a comma too many', { ports: 'http=30101,' }, `${PORTS}: "" is neither a number nor like "https=30443"`],
    [
      'a negative number',
      { ports: 'http=-1' },
      `${PORTS}: "http=-1" is neither a number nor like "https=30443"`,
    ],
    [
      'a range of numbers',
      { ports: 'http=30100-30102' },
      `${PORTS}: "http=30100-30102" is neither a number nor like "https=30443"`,
    ],
    [
      'two equals signs',
      { ports: 'http==30101' },
      `${PORTS}: "http==30101" is neither a number nor like "https=30443"`,
    ],
    [
      'foreign digits',
      { ports: 'http=３０１０１' },
      `${PORTS}: "http=３０１０１" is neither a number nor like "https=30443"`,
    ],
    ['zero', { ports: 'http=0' }, `${PORTS}: "http=0": node ports are 1 to 65535`],
    ['65536', { ports: 'http=65536' }, `${PORTS}: "http=65536": node ports are 1 to 65535`],
    ['an unknown port', { ports: 'ftp=30101' }, `${PORTS}: the Service has no port "ftp"`],
    ['a port without a name', { ports: '=30101' }, `${PORTS}: the Service has no port ""`],
    ['an unknown number of a port', { ports: '8080=30101' }, `${PORTS}: the Service has no port "8080"`],
    [
      'the short form for two ports',
      { ports: '30101' },
      `${PORTS}: "30101": the Service has 2 ports, so say which, like "https=30443"`,
    ],
    [
      'two numbers for a port',
      { ports: 'http=30101,80=30102' },
      `${PORTS}: two numbers for port 80: 30101 and 30102`,
    ],
    [
      'a number for two ports',
      { ports: 'http=30101,https=30101' },
      `${PORTS}: 30101 for two different ports: 80 and 443`,
    ],
    [
      'escapes in the name of a port',
      { ports: '\u001b[31mhttp\u0007=30101' },
      `${PORTS}: the Service has no port "\\u001b[31mhttp\\u0007"`,
    ],
  ];

  test.each(rows)('%s', async (_, said, message) => {
    await refused(said, message);
  });

  test.each(['contiguous', 'expose'])('%s, which this version does not act on', async (name) => {
    const { service, shows, remove } = world();
    const annotations = { [`nodeport-manager.io/${name}`]: 'true' };
    await service('a/not-yet', { range: 'good', annotations });
    await othersAreServed();
    await shows(
      'a/not-yet',
      'InvalidRequest',
      new RegExp(
        `^this version does not act on nodeport-manager.io/${name}: "true"; remove the annotation; temp`,
      ),
    );
    await remove('a/not-yet');
  });

  test.each([
    ['range', 'letters', { range: 'x'.repeat(HUGE) }],
    ['range', 'commas', { range: ','.repeat(HUGE) }],
    ['range', 'blanks', { range: `good,${' '.repeat(HUGE)}!` }],
    [
      'range',
      'names',
      {
        range: Array.from({ length: HUGE / 8 }, (_, i) => `r-${i}`)
          .join()
          .slice(0, HUGE),
      },
    ],
    ['ports', 'blanks', { ports: `http=30101,${' '.repeat(HUGE)}x` }],
    ['ports', 'digits', { ports: '1'.repeat(HUGE) }],
    ['ports', 'control characters', { ports: '\u001b'.repeat(HUGE) }],
    ['ports', 'the same again and again', { ports: `${'80=30101,'.repeat(HUGE / 10)}!` }],
  ])('%s of 250 kB of %s', async (_, __, said) => {
    const message = await refused(said, /^nodeport-manager\.io\//);
    expect(message.length).toBeLessThan(SHOWN_AT_MOST);
    expect(message).toMatch(/^[\x20-\x7e…]*$/);
  });

  test('an unknown range of 63 characters is named in full', async () => {
    const name = 'y'.repeat(63);
    const { service, shows, remove } = world();
    const { spec } = await service('a/bad', { range: name });
    await othersAreServed();
    await shows(
      'a/bad',
      'RangeNotFound',
      `PortRange "${name}" does not exist; temporarily on ${spec.ports[0]?.nodePort}`,
    );
    await remove('a/bad');
  });
});

describe('a holder whose request becomes bad', () => {
  test('keeps what it has, says both, and is Assigned again with a good one', async () => {
    const { shows, get } = world();
    expect(await served('a/holds', { range: 'good' }, { ports: [HTTP, HTTPS] })).toEqual([30100, 30101]);
    await annotate('a/holds', { range: 'good', ports: '30105' });
    await othersAreServed();
    await shows(
      'a/holds',
      'InvalidRequest',
      `holds http 30100, https 30101 from good; ${PORTS}: "30105": the Service has 2 ports, so say which, like "https=30443"`,
    );
    expect(portsOf(await get('a/holds'))).toEqual([30100, 30101]);
    await annotate('a/holds', { range: 'good', ports: 'http=30105' });
    await shows('a/holds', 'Assigned', 'holds http 30105, https 30101 from good');
  });

  test('by a port that goes, which the annotation names: keeps the others', async () => {
    const { client, shows, checker } = world();
    await client.patch(servicesPath('a/holds'), 'json', [{ op: 'remove', path: '/spec/ports/0' }]);
    await shows(
      'a/holds',
      'InvalidRequest',
      `holds https 30101 from good; ${PORTS}: the Service has no port "http"`,
    );
    expect(checker.table().get(30101)?.state).toBe('Held');
  });

  test('by ports that contradict what another manager has pinned: nothing moves', async () => {
    const { client, shows } = world();
    expect(await served('a/pinned', { range: 'good', ports: '30110' })).toEqual([30110]);
    const team = { ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30110 }] };
    const body = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'pinned', namespace: 'a' },
      spec: team,
    };
    await client.patch(servicesPath('a/pinned'), 'apply', body, 'fieldManager=team&force=true');
    await annotate('a/pinned', { range: 'good', ports: '30111' });
    await shows(
      'a/pinned',
      'InvalidRequest',
      'holds http 30110 from good; asks for 30111, but 30110 is pinned by "team"',
    );
    await annotate('a/pinned', { range: 'good', ports: '30110' });
    await shows('a/pinned', 'Adopted', 'holds http 30110 from good');
  });
});

describe('names', () => {
  test('of ports that are no DNS labels do not pass the apiserver', async () => {
    for (const name of ['\u001b[31m', 'UPPER', 'a b', 'x'.repeat(64), 'é']) {
      const { status } = await refusalOf(
        world().service('a/named', { range: 'good', ports: [{ ...HTTP, name }] }),
      );
      expect(status, name).toBe(422);
    }
  });

  test('as long as they may be, of everything, are shown in full', async () => {
    const { namespace, range, rangeShows, service, shows } = world();
    const long = 'n'.repeat(63);
    await namespace(long);
    await range(long, 30200, 30202, { cooldown: '0s' });
    await rangeShows(long, { observedGeneration: 1 });
    const ports = [
      { name: 'p'.repeat(63), port: 80 },
      { name: 'q'.repeat(63), port: 65_535 },
    ];
    await served(`${long}/${long}`, { range: long, ports: `${'q'.repeat(63)}=30201` }, { ports });
    const holds = `holds ${'p'.repeat(63)} 30200, ${'q'.repeat(63)} 30201 from ${long}`;
    await shows(`${long}/${long}`, 'Assigned', holds);
    await service('a/waits', asks({ range: long, ports: '30201' }));
    await shows(
      'a/waits',
      'PortTaken',
      new RegExp(`^30201 is held by ${long}/${long}; temporarily on \\d+$`),
    );
    await world().remove('a/waits');
  });

  test('a Service with 80 long-named ports and 64 long-named ranges: the table stays small, others in it are served', async () => {
    const { shows, checker } = world();
    const ports = Array.from({ length: 80 }, (_, i) => ({ name: `${'p'.repeat(60)}-${i}`, port: i + 1 }));
    const names = ['good', ...Array.from({ length: 63 }, (_, i) => `${'r'.repeat(60)}-${i}`)];
    await served('a/many', { range: names.join() }, { ports });
    const shown = await shows('a/many', 'Assigned', /^holds p+-0 30\d\d\d, .* from good$/);
    expect(new Set(portsOf(shown)).size).toBe(ports.length);
    const entry = [...checker.table().values()].find(({ service }) => service === 'a/many');
    expect(entry?.request.length).toBeLessThan(300);
    await othersAreServed();
  });
});
