import { afterEach, expect, test, vi } from 'vitest';
import { run, withHeartbeat } from '../../e2e/cluster/run.ts';

afterEach(() => void vi.useRealTimers());

test('the output of a program is returned, and each of its lines is passed on', async () => {
  const lines: string[] = [];
  const script = 'process.stdout.write("one\\ntwo"); process.stderr.write("three\\n")';
  expect(await run(process.execPath, ['--eval', script], { onLine: (line) => lines.push(line) })).toBe(
    'one\ntwo',
  );
  expect(lines.toSorted()).toEqual(['one', 'three', 'two']);
});

test('a program that fails is an error with its last lines', async () => {
  const script = 'for (let i = 0; i < 100; i += 1) console.error(`line ${i}.`); process.exitCode = 3';
  const error = await run(process.execPath, ['--eval', script]).catch((error: unknown) => error);
  expect(error).toHaveProperty(
    'message',
    expect.stringMatching(/ended with code 3:\nline 85\.\n[^]*line 99\.$/),
  );
});

test('a program that is not there is an error', async () => {
  await expect(run('/no/such/program', [])).rejects.toMatchObject({ code: 'ENOENT' });
});

test('long work says that it goes on, at least every 10 s', async () => {
  vi.useFakeTimers();
  const said: string[] = [];
  let packages = 0;
  let finish = () => {};
  const work = new Promise<void>((resolve) => (finish = resolve));
  const done = withHeartbeat(
    'building',
    (line) => said.push(line),
    () => work,
    () => `, ${packages} packages`,
  );
  expect(said).toEqual(['building']);
  await vi.advanceTimersByTimeAsync(5000);
  packages = 7;
  await vi.advanceTimersByTimeAsync(6000);
  finish();
  await done;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(said).toEqual([
    'building',
    'building: 5 s, 0 packages',
    'building: 10 s, 7 packages',
    'building: done in 11 s',
  ]);
});
