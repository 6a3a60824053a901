/** The tests that a table in docs/ names in its last column: `[file](../test/file.test.ts) “part of a name”, “another”`. */
export interface NamedRow {
  /** Its cells, the last one left out. */
  readonly cells: readonly string[];
  /** File, as the page links to it → parts of the names of its tests. */
  readonly tests: readonly { readonly file: string; readonly part: string }[];
}

/** The rows of all tables in this text whose first heading is one of these. */
export function rowsThatNameTests(text: string, headings: readonly string[]): NamedRow[] {
  let isOne = false;
  return text.split('\n').flatMap((line, i, lines) => {
    if (!line.startsWith('| ')) return [];
    const cells = line.replace(/^\| | \|$/g, '').split(' | ');
    if (lines[i + 1]?.startsWith('| --- ')) isOne = headings.includes(cells[0] ?? '');
    else if (isOne && !line.startsWith('| --- '))
      return [{ cells: cells.slice(0, -1), tests: testsNamedIn(cells.at(-1) ?? '') }];
    return [];
  });
}

function testsNamedIn(cell: string): NamedRow['tests'] {
  return [...cell.matchAll(/\]\(([^)]+)\)((?:,? “[^”]+”)+)/g)].flatMap(([, file = '', parts = '']) =>
    [...parts.matchAll(/“([^”]+)”/g)].map(([, part = '']) => ({ file, part })),
  );
}
