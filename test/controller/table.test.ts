import { expect, test } from 'vitest';
import { blockNameOf, numbersOfBlock } from '../../src/controller/table.ts';

test('the name of a block names its numbers', () => {
  expect(numbersOfBlock(blockNameOf(30_100))).toEqual(Array.from({ length: 250 }, (_, i) => 30_000 + i));
  expect(numbersOfBlock(blockNameOf(1))?.[0]).toBe(0);
  expect(numbersOfBlock(blockNameOf(65_535))).toContain(65_535);
});

test.each(['', '0x7530', '3e4', '030000', '30000.0', '30001', '30000-corrupt-7', '-250', '65750'])(
  'no other spelling is a block beside it: nodeport-table-%s',
  (spelling) => {
    expect(numbersOfBlock(`nodeport-table-${spelling}`)).toBeUndefined();
  },
);
