import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { inBatches } from '../../src/observability/logger.ts';

const LOGGER = join(import.meta.dirname, '../../src/observability/logger.ts');

/** What a process that runs this with a `log` prints before it ends. */
async function printed(statements: string): Promise<string[]> {
  const program = `import { createLogger } from ${JSON.stringify(LOGGER)};
    const log = createLogger({ level: 'info', format: 'json' }); ${statements}`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : (JSON.parse(line) as { msg: string }).msg));
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

test('Lines that come within a moment are one write', () => {
  const written: string[] = [];
  const { write } = inBatches({ write: (text) => written.push(text) });
  write('a\n');
  write('b\n');
  expect(written).toEqual([]);
  vi.advanceTimersByTime(50);
  expect(written).toEqual(['a\nb\n']);
  write('c\n');
  vi.advanceTimersByTime(1_000);
  expect(written).toEqual(['a\nb\n', 'c\n']);
});

test('No line is lost when the process ends at once, or by an error nobody catches', async () => {
  expect(await printed(`log.info('one'); log.info('two'); process.exit(0)`)).toEqual(['one', 'two']);
  await expect(printed(`log.info('one'); throw new Error('two')`)).rejects.toMatchObject({
    stdout: expect.stringContaining('"one"') as string,
  });
});

test('A warning is out before anything else can happen, and what came before it, too', async () => {
  expect(
    await printed(`log.info('one'); log.warn('two'); process.kill(process.pid, 'SIGKILL')`).catch(
      ({ stdout }: { stdout: string }) => stdout.split('\n').filter((line) => line !== '').length,
    ),
  ).toBe(2);
});

const HOSTILE = 'a\r\nlevel=error msg="forged"\u001b[2J\u0007\u009b31m\u202e\u2028\u200b\ufeff\u{e0041}';

/** The bytes that a line of this format has for a hostile text as message, as a value, and inside of one. */
async function linesOf(format: 'json' | 'text'): Promise<string> {
  const program = `import { createLogger } from ${JSON.stringify(LOGGER)};
    const log = createLogger({ level: 'debug', format: ${JSON.stringify(format)} });
    const text = ${JSON.stringify(HOSTILE)};
    log.warn({ text, bare: text.replaceAll(/[\\s"=]/g, ''), inside: { [text]: [text] } }, text);`;
  return (await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program])).stdout;
}

test.each(['json', 'text'] as const)(
  'In %s, no text forges a line or reaches a terminal as an order',
  async (format) => {
    const output = await linesOf(format);
    expect(output.endsWith('\n')).toBe(true);
    expect(output.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(output).toContain('forged');
  },
);

test('In JSON, what was logged is read back unchanged', async () => {
  expect(JSON.parse(await linesOf('json'))).toMatchObject({ msg: HOSTILE, inside: { [HOSTILE]: [HOSTILE] } });
});

test.each([
  ['on a terminal', true, '', true],
  ['on a terminal, with NO_COLOR', true, '1', false],
  ['into a pipe', false, '', false],
] as const)('In text, %s: colours or not', async (_, isTTY, noColor, expected) => {
  const program = `process.stdout.isTTY = ${isTTY};
    const { createLogger } = await import(${JSON.stringify(LOGGER)});
    createLogger({ level: 'info', format: 'text' }).info('one');`;
  const env = { ...process.env, NO_COLOR: noColor };
  const words = ['--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)(process.execPath, words, { env });
  expect(stdout).toContain('one');
  expect(stdout.includes('\u001b[')).toBe(expected);
});
