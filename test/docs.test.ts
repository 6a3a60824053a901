import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { NOT_YET_SHOWN, pages } from '../scripts/docs.ts';
import { REASONS, type Reason } from '../src/api/reasons.ts';
import { rowsThatNameTests } from './support/namedTests.ts';

const ROOT = join(import.meta.dirname, '..');

describe('generated pages', () => {
  test.each([...pages()])('docs/%s is what "make docs" writes', async (name, text) => {
    expect(await readFile(join(ROOT, 'docs', name), 'utf8')).toBe(text);
  });

  test('have a row for every flag that --help shows', () => {
    const flags = pages()
      .get('flags.md')
      ?.match(/^\| `-/gm);
    expect(flags?.length).toBeGreaterThan(9);
  });

  test('call a reason unused exactly when nothing but the table of reasons names it', async () => {
    const files = (await readdir(join(ROOT, 'src'), { recursive: true })).filter((file) =>
      file.endsWith('.ts'),
    );
    const texts = files
      .filter((file) => file !== join('api', 'reasons.ts'))
      .map((file) => readFile(join(ROOT, 'src', file), 'utf8'));
    const code = (await Promise.all(texts)).join('\n');
    const unused = (Object.keys(REASONS) as Reason[]).filter((reason) => !code.includes(`'${reason}'`));
    expect(NOT_YET_SHOWN).toEqual(unused);
  });
});

describe('links between pages', () => {
  test('lead to files that exist', async () => {
    const docs = (await readdir(join(ROOT, 'docs'), { recursive: true })).filter((name) =>
      name.endsWith('.md'),
    );
    const files = ['README.md', 'CONTRIBUTING.md', ...docs.map((name) => join('docs', name))];
    const broken: string[] = [];
    for (const file of files) {
      const text = await readFile(join(ROOT, file), 'utf8');
      for (const [, target = ''] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
        if (!existsSync(join(ROOT, dirname(file), target))) broken.push(`${file}: ${target}`);
      }
    }
    expect(broken).toEqual([]);
  });
});

describe('docs/security.md', () => {
  test('names tests that there are, each by words of its name', async () => {
    const page = await readFile(join(ROOT, 'docs/security.md'), 'utf8');
    const links = [...page.matchAll(/\[([^\]]+)\]\(\.\.\/([^)]+\.test\.ts)\)/g)];
    expect(links.length).toBeGreaterThan(40);
    const missing = await Promise.all(
      links.map(async ([, words = '', file = '']) => {
        const text = (await readFile(join(ROOT, file), 'utf8')).replaceAll("\\'", "'");
        return text.includes(words) ? [] : [`${file}: ${words}`];
      }),
    );
    expect(missing.flat()).toEqual([]);
  });
});

describe('docs/reliability.md, of each defect that was found', () => {
  const page = readFileSync(join(ROOT, 'docs/reliability.md'), 'utf8');
  const rows = rowsThatNameTests(page, ['Found by']).map(({ cells: [, defect = ''], tests }) => ({
    defect,
    tests,
  }));

  test('has all rows of the table', () => {
    const table = page.split('\n## What they found\n')[1]?.split('\n## ')[0] ?? '';
    expect(rows.length).toBe((table.match(/^\| /gm)?.length ?? 0) - 2);
    expect(rows.length).toBeGreaterThan(40);
  });

  test.each(rows)('names tests that there are: $defect', async ({ tests }) => {
    expect(tests).not.toEqual([]);
    for (const { file, part } of tests) {
      const text = await readFile(join(ROOT, 'docs', file), 'utf8');
      expect(text.replaceAll("\\'", "'"), `${file}: ${part}`).toContain(part);
    }
  });
});
