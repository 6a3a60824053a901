import { mkdir, readdir, rename } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { platform } from '../cluster/archive.ts';
import { CannotBuild, compile, requireGo, writeModule } from '../cluster/build.ts';
import { cached, missingIn } from '../cluster/cache.ts';
import { type Progress, run } from '../cluster/run.ts';

/** A release with long-term support, and the version that its Go module has. */
const RELEASE = '3.13.5';
const VERSION = 'v0.313.5';
const MODULE = 'github.com/prometheus/prometheus';
const NAMES = ['prometheus', 'promtool'] as const;
const PACKAGE = 'prometheus';

/** Paths of the programs. */
export interface Prometheus {
  readonly prometheus: string;
  readonly promtool: string;
}

/**
 * Finds or makes prometheus and promtool, in this order: on PATH; this user's cache; a build from the Go module proxy
 * (2 minutes and 1 GB the first time); the package of a Debian-like distribution, unpacked and not installed.
 * Throws an Error that says why none of these works.
 */
export async function obtainPrometheus(onProgress: Progress = () => {}): Promise<Prometheus> {
  const folder =
    (await folderOnPath()) ??
    (await cached('prometheus', `${VERSION}-${platform()}`, NAMES, onProgress, (target, scratch) =>
      make(target, scratch, onProgress),
    ));
  return { prometheus: join(folder, 'prometheus'), promtool: join(folder, 'promtool') };
}

/** One folder with both: two versions would not judge alike. */
async function folderOnPath(): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter).filter(isAbsolute)) {
    if ((await missingIn(folder, NAMES)).length === 0) return folder;
  }
  return undefined;
}

async function make(target: string, scratch: string, onProgress: Progress): Promise<void> {
  const why: string[] = [];
  for (const [how, attempt] of [
    ['building it with Go', build],
    [`unpacking the package "${PACKAGE}" of the distribution`, unpack],
  ] as const) {
    try {
      await mkdir(target, { recursive: true });
      return await attempt(target, scratch, onProgress);
    } catch (error) {
      why.push(`${how}: ${error instanceof Error ? error.message : String(error)}`);
      onProgress(`no Prometheus by ${why.at(-1)}`);
    }
  }
  throw new Error(
    'prometheus and promtool are missing; put both into one folder on PATH, install Go 1.26 or newer, or the ' +
      `distribution's package "${PACKAGE}". Tried: not on PATH; ${why.join('; ')}`,
  );
}

/** Without the service discoveries of the clouds, which nobody needs here and which are most of its dependencies. */
async function build(target: string, scratch: string, onProgress: Progress): Promise<void> {
  await requireGo();
  const programs = NAMES.map((name) => `${MODULE}/cmd/${name}`);
  const folder = join(scratch, 'prometheus');
  await writeModule(folder, [
    `require ${MODULE} ${VERSION}`,
    ...programs.map((program) => `tool ${program}`),
  ]);
  const label = `building prometheus and promtool ${RELEASE} (about 2 minutes the first time)`;
  const linkerFlags = `-s -w -X github.com/prometheus/common/version.Version=${RELEASE}`;
  // Not "go mod tidy" first: that would fetch what only the left-out parts need.
  const flags = ['-mod=mod', '-tags=remove_all_sd'];
  await compile(programs, label, target, folder, linkerFlags, onProgress, flags);
}

async function unpack(target: string, scratch: string, onProgress: Progress): Promise<void> {
  const folder = join(scratch, 'package');
  await mkdir(folder, { recursive: true });
  onProgress(`fetching the package "${PACKAGE}" of the distribution`);
  try {
    await run('apt-get', ['download', '--quiet=2', PACKAGE], { cwd: folder });
  } catch (error) {
    throw new CannotBuild('apt-get cannot fetch it (its lists may be old: "apt-get update")', {
      cause: error,
    });
  }
  const archive = (await readdir(folder)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new CannotBuild('apt-get fetched no package');
  await run('dpkg-deb', ['--extract', archive, 'content'], { cwd: folder });
  for (const name of NAMES) await rename(join(folder, 'content/usr/bin', name), join(target, name));
}
