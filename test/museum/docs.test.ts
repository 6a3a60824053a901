import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';

const PAGE = join(import.meta.dirname, '../../docs/museum.md');

interface Row {
  /** Its first cell: whose bug it is, or what happens there. */
  readonly story: string;
  /** File → parts of the names of its tests. */
  readonly tests: readonly { readonly file: string; readonly part: string }[];
}

const rows = readFileSync(PAGE, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (---|Where|What happens there) /.test(line))
  .map((line): Row => {
    const cells = line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, ''));
    const last = cells.at(-1) ?? '';
    const tests = [...last.matchAll(/\]\(([^)]+)\)((?:,? “[^”]+”)+)/g)].flatMap(([, file = '', parts = '']) =>
      [...parts.matchAll(/“([^”]+)”/g)].map(([, part = '']) => ({ file, part })),
    );
    return { story: cells[0] ?? '', tests };
  });

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
