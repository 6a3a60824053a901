import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { shell } from './support/shell.ts';
import { useWorld } from './support/world.ts';

const page = await readFile(join(import.meta.dirname, '../README.md'), 'utf8');
const tour = page.slice(page.indexOf('## A five-minute tour'), page.indexOf('## Install'));
const blocks = [...tour.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);

const world = useWorld(async (w) => {
  await w.start();
});

describe('the five-minute tour of the README, pasted block by block', () => {
  test('has blocks', () => expect(blocks.length).toBeGreaterThan(4));

  test.each(blocks.map((text, i) => [i + 1, text] as const))('block %i', async (_, text) => {
    const { code, output } = await shell(world().cluster, `set -e\n${text}`);
    expect(output).not.toMatch(/error/i);
    expect(code, output).toBe(0);
  });
});
