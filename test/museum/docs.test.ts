import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { rowsThatNameTests } from '../support/namedTests.ts';

const PAGE = join(import.meta.dirname, '../../docs/museum.md');

const rows = rowsThatNameTests(readFileSync(PAGE, 'utf8'), ['Where', 'What happens there']).map(
  ({ cells: [story = ''], tests }) => ({ story, tests }),
);

test('the page has both tables', () => {
  expect(rows.length).toBeGreaterThan(70);
});

describe('each row names tests that exist', () => {
  test.each(rows)('$story', ({ story, tests }) => {
    expect(tests).not.toEqual([]);
    for (const { file, part } of tests)
      expect(readFileSync(join(dirname(PAGE), file), 'utf8'), `${file}: ${part}`).toContain(part);
    const issue = /^\S.* #\d+$/.exec(story)?.[0];
    for (const { part } of issue === undefined ? [] : tests) expect(part).toContain(issue);
  });
});
