import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { namedNumbers, readHoldings } from '../../src/api/holdings.ts';
import type { ServicePort } from '../../src/api/service.ts';

function port(name: string, number: number, protocol = 'TCP'): ServicePort {
  return { name, port: number, protocol, nodePort: 0 };
}

/** Names of Service ports as the apiserver accepts them, weird ones often; '' for the only, unnamed one. */
const portName = fc.oneof(
  fc.constantFrom(
    '',
    'none',
    'from',
    'outside',
    'holds',
    'a',
    '80',
    '30100',
    'abcdefghij-12345',
    'x'.repeat(63),
  ),
  fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/),
);
const rangeName = fc.oneof(
  fc.constantFrom('a', 'from', 'outside', 'any', 'holds', '30100', '1', 'x'.repeat(63)),
  fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/),
);
const nodePort = fc.integer({ min: 1, max: 65_535 });

describe('what a condition says that a Service holds', () => {
  test('names each number by its port', () => {
    expect(
      namedNumbers([
        [port('http', 80), 30_100],
        [port('https', 443), 30_101],
      ]),
    ).toBe('http 30100, https 30101');
  });

  test('an unnamed port is called by its number', () => {
    expect(namedNumbers([[port('', 8_080), 30_100]])).toBe('8080 30100');
  });

  test('kubernetes #39188: a number that TCP and UDP share is named once, under its first port', () => {
    expect(
      namedNumbers([
        [port('dns', 53), 30_053],
        [port('dns-udp', 53, 'UDP'), 30_053],
      ]),
    ).toBe('dns 30053');
  });

  test('is read back with the range', () => {
    expect(readHoldings('holds http 30100, https 30101 from team-a')).toEqual({
      numbers: [30_100, 30_101],
      range: 'team-a',
    });
  });

  test('is read back out of range, with the range it was granted from', () => {
    expect(readHoldings('holds http 31234 outside team-a: PortRange "team-a" does not exist')).toEqual({
      numbers: [31_234],
      range: 'team-a',
    });
  });

  test('is read back before what is missing, and what is held elsewhere is not counted', () => {
    expect(
      readHoldings(
        'holds http 30100 from team-a; team-a has too few free ports: 1 needed; temporarily on 31234',
      ),
    ).toEqual({ numbers: [30_100], range: 'team-a' });
  });

  test.each([
    '',
    'holds',
    'holds ',
    'holds http from team-a',
    'holds http 301000 from team-a',
    'holds http 30100',
    'holds http 30100 at team-a',
    'team-a has too few free ports: 1 needed; temporarily on 31234',
    'nodeport-manager.io/range is empty: name a PortRange, or remove it',
    'somebody holds http 30100 from team-a',
    ' holds http 30100 from team-a',
  ])('says nothing: %j', (message) => {
    expect(readHoldings(message)).toBeUndefined();
  });

  test('any ports in any range, served or partly refused: read back exactly', () => {
    const held = fc.uniqueArray(fc.tuple(portName, nodePort), {
      minLength: 1,
      selector: ([, number]) => number,
    });
    const tail = fc.constantFrom(
      '',
      '; b has too few free ports: 1 needed',
      ': b does not contain 30100',
      '; c 1 from d',
    );
    fc.assert(
      fc.property(held, rangeName, fc.boolean(), tail, (list, range, inside, rest) => {
        const names = namedNumbers(list.map(([name, number]) => [port(name, 80), number] as const));
        expect(readHoldings(`holds ${names} ${inside ? 'from' : 'outside'} ${range}${rest}`)).toEqual({
          numbers: list.map(([, number]) => number),
          range,
        });
      }),
    );
  });

  test.each(['holds a, 30100 from r', 'holds , 30100 from r', 'holds http 30100, a, 30101 from r'])(
    'a forged list, %j, says nothing',
    (message) => {
      expect(readHoldings(message)).toBeUndefined();
    },
  );

  test('any text at all: never throws, never a number that is not one', () => {
    const pieces = fc.constantFrom(
      'holds ',
      'http ',
      '30100',
      ', ',
      ' from ',
      'outside ',
      'a',
      ';',
      '99999',
      '-1',
      'ß',
      '\n',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        for (const number of readHoldings(parts.join(''))?.numbers ?? [])
          expect(number).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  test('a long list is read in time that grows with its length only', () => {
    const list = Array.from({ length: 2_000 }, (_, i) => `p${i} ${30_000 + i}`).join(', ');
    const start = performance.now();
    expect(readHoldings(`holds ${list} from `)).toBeUndefined();
    expect(readHoldings(`holds ${list} from a`)?.numbers).toHaveLength(2_000);
    expect(performance.now() - start).toBeLessThan(200);
  });
});
