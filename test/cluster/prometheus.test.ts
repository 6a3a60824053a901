import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { run } from '../../e2e/cluster/run.ts';
import { obtainPrometheus } from '../../e2e/prometheus/obtain.ts';

const NAMES = ['prometheus', 'promtool'];

let temp: string;
let bin: string;

/** A machine that has a shell and its usual programs, but none of those that these tests are about. */
beforeEach(async () => {
  temp = await mkdtemp(join(tmpdir(), 'obtain-prometheus-'));
  bin = join(temp, 'bin');
  await mkdir(bin);
  vi.stubEnv('XDG_CACHE_HOME', join(temp, 'cache'));
  vi.stubEnv('PATH', bin);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(temp, { recursive: true, force: true });
});

async function program(name: string, script: string, folder = bin): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, name), `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`);
  await chmod(join(folder, name), 0o755);
}

/** Puts both programs into the folder that the shell variable `to` names; each says who made it. */
const makeBoth = (maker: string) =>
  NAMES.map(
    (name) => `printf '#!/bin/sh\\necho ${name} by ${maker}\\n' > "$to/${name}"; chmod 755 "$to/${name}"`,
  ).join('\n');

/** Go that builds: its arguments are kept in a file beside it. */
const go = () =>
  program(
    'go',
    `case $1 in
env) echo go1.26.8 ;;
build) echo "$@" >> ${temp}/go-args; to=; next=; for a; do [ "$next" ] && to=$a && next=; [ "$a" = -o ] && next=1; done; mkdir -p "$to"
${makeBoth('go')} ;;
esac`,
  );

async function makers(): Promise<string[]> {
  const { prometheus, promtool } = await obtainPrometheus();
  return [await run(prometheus, []), await run(promtool, [])].map((said) => said.trim());
}

test('both in one folder on PATH are taken as they are', async () => {
  await go();
  const other = join(temp, 'other');
  for (const name of NAMES) await program(name, `echo ${name} by hand`, other);
  vi.stubEnv('PATH', [bin, other].join(delimiter));
  expect(await makers()).toEqual(['prometheus by hand', 'promtool by hand']);
});

test('one alone on PATH does not count: both are built with Go, once, and kept', async () => {
  await go();
  await program('promtool', 'echo promtool by hand');
  expect(await makers()).toEqual(['prometheus by go', 'promtool by go']);
  expect(await makers()).toEqual(['prometheus by go', 'promtool by go']);
  const builds = (await readFile(join(temp, 'go-args'), 'utf8')).trim().split('\n');
  expect(builds).toEqual([expect.stringMatching(/cmd\/prometheus \S+cmd\/promtool$/)]);
  expect(await readdir(join(temp, 'cache/nodeport-manager/prometheus'))).toHaveLength(1);
});

test('without Go, out of the package of the distribution', async () => {
  await program('apt-get', '[ "$1 $3" = "download prometheus" ] && : > prometheus_2_amd64.deb');
  await program('dpkg-deb', `to=content/usr/bin; mkdir -p "$to"; ${makeBoth('the distribution')}`);
  expect(await makers()).toEqual(['prometheus by the distribution', 'promtool by the distribution']);
});

test('with none of these: an error that says what was tried, what to do, and keeps nothing', async () => {
  await program('go', 'echo go1.19');
  await program('apt-get', 'echo "E: Unable to locate package" >&2; exit 100');
  const told: string[] = [];
  await expect(obtainPrometheus((line) => told.push(line))).rejects.toThrow(
    /missing; put both .* on PATH, install Go 1\.26.*Tried: not on PATH; .*go1\.19 is installed; .*apt-get update/,
  );
  expect(told.join('\n')).toContain('no Prometheus by building it with Go');
  expect(await readdir(join(temp, 'cache/nodeport-manager/prometheus'))).toEqual([]);
});
