import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly snippet: string;
  readonly fails: Readonly<Record<string, readonly string[]>>;
}

const ROOT = join(import.meta.dirname, '../..');
const read = (...path: string[]): string => readFileSync(join(ROOT, ...path), 'utf8');
const mutants = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.json'))
  .flatMap((file) => JSON.parse(read('test/mutants', file)) as Mutant[]);

test.each(mutants)(
  '$name: where the defect goes and the tests that notice it are still there',
  ({ file, snippet, fails }) => {
    expect(read(file).split(snippet)).toHaveLength(2);
    expect(Object.values(fails).flat()).not.toEqual([]);
    for (const path of Object.keys(fails)) expect(() => read(path)).not.toThrow();
  },
);
