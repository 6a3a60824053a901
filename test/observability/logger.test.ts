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
