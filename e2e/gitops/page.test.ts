import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { shell } from '../support/shell.ts';
import { useWorld } from '../support/world.ts';

const PAGE = join(import.meta.dirname, '../../docs/gitops.md');

/** A manifest, which is written to the file that its first line names, or a command with what it prints. */
type Step = { file: string; text: string } | { command: string; prints: string };

/** The fenced blocks of the page, in its order: `yaml` and `console`. */
function stepsOf(page: string): Step[] {
  const blocks = [...page.matchAll(/^```(yaml|console)\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, kind = '', text = '']): Step[] => {
    if (kind === 'console') return commandsOf(text);
    const file = /^# (\S+\.yaml)\n/.exec(text)?.[1];
    if (file === undefined) throw new Error(`a manifest begins with the name of its file: ${text}`);
    return [{ file, text }];
  });
}

function commandsOf(text: string): Step[] {
  return text.split(/^\$ /m).flatMap((part) => {
    const [command = '', ...printed] = part.split('\n');
    return command === '' ? [] : [{ command, prints: printed.join('\n') }];
  });
}

const steps = stepsOf(await readFile(PAGE, 'utf8'));
let folder: string;

const world = useWorld(async (w) => {
  folder = await mkdtemp(join(w.cluster.dir, 'page-'));
  await w.start();
});

describe('docs/gitops.md: every manifest is applied, every command prints what the page says', () => {
  test.each(steps.map((step) => ['file' in step ? step.file : step.command, step] as const))(
    '%s',
    async (_, step) => {
      if ('file' in step) await writeFile(join(folder, step.file), step.text);
      else expect((await shell(world().cluster, step.command, folder)).output).toBe(step.prints);
    },
  );

  test('every manifest of the page is one that a command applies', () => {
    const commands = steps.flatMap((step) => ('command' in step ? step.command : []));
    const files = steps.flatMap((step) => ('file' in step ? step.file : []));
    expect(files.length).toBeGreaterThan(5);
    for (const file of files)
      expect(
        commands.some((command) => command.includes(file)),
        file,
      ).toBe(true);
  });
});
