import { access, constants, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { fetchControlPlane, NoArchive, platform } from './archive.ts';
import { buildControlPlane, CannotBuild } from './build.ts';
import { withLock } from './lock.ts';
import type { Progress } from './run.ts';

/** The Kubernetes version that tests, demo and benches run on unless told otherwise. */
const DEFAULT_VERSION = 'v1.36.3';

/** Paths of the programs. */
export interface ControlPlane {
  etcd: string;
  kubeApiserver: string;
  kubectl: string;
}

export interface ObtainOptions {
  /** A Kubernetes version, "v1.36.3". Not looked at when KUBEBUILDER_ASSETS names the programs. */
  version?: string;
  onProgress?: Progress;
}

/**
 * Finds or makes the programs of a control plane, in this order:
 * the folder in KUBEBUILDER_ASSETS; this user's cache; the published envtest archive; a build with Go.
 * What was fetched or built stays in the cache. Safe when several processes ask at once: one works, the rest wait.
 * Throws an Error that says what is missing and what to do.
 */
export async function obtainControlPlane(options: ObtainOptions = {}): Promise<ControlPlane> {
  const { version = DEFAULT_VERSION, onProgress = () => {} } = options;
  if (!/^v\d+\.\d+\.\d+$/.test(version)) {
    throw new Error(`"${version}" is not a Kubernetes version: write it like ${DEFAULT_VERSION}`);
  }
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets) return assetsIn(assets);
  return cachedOr(version, onProgress, (target, scratch) => make(version, target, scratch, onProgress));
}

/** Calls `fill` to put the programs into a folder unless the cache has them; the cache never holds half of them. */
async function cachedOr(
  version: string,
  onProgress: Progress,
  fill: (target: string, scratch: string) => Promise<void>,
): Promise<ControlPlane> {
  const home = cacheFolder();
  const key = `${version}-${platform()}`;
  const final = join(home, key);
  if (await isComplete(final)) return programsIn(final);
  await mkdir(home, { recursive: true });
  return withLock(join(home, `${key}.lock`), onProgress, async () => {
    if (await isComplete(final)) return programsIn(final);
    await removeLeftovers(home, `${key}.tmp-`);
    const work = join(home, `${key}.tmp-${process.pid}`);
    try {
      await fill(join(work, 'bin'), join(work, 'scratch'));
      if (!(await isComplete(join(work, 'bin'))))
        throw new Error('the control plane that was made is incomplete');
      await putInPlace(join(work, 'bin'), final);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return programsIn(final);
  });
}

async function make(version: string, target: string, scratch: string, onProgress: Progress): Promise<void> {
  const noArchive = await tryToFetch(version, target, onProgress);
  if (noArchive === undefined) return;
  onProgress(`no published control plane (${noArchive.message}); building it with Go`);
  try {
    await buildControlPlane(version, target, scratch, onProgress);
  } catch (error) {
    if (!(error instanceof CannotBuild)) throw error;
    throw new Error(
      `no control plane ${version}: ${noArchive.message}, and ${error.message}: install Go 1.26 or newer, or set ` +
        'KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl, ' +
        'or NODEPORT_MANAGER_ENVTEST_INDEX to an index of envtest releases that can be reached',
      { cause: error },
    );
  }
}

async function tryToFetch(
  version: string,
  target: string,
  onProgress: Progress,
): Promise<NoArchive | undefined> {
  try {
    await fetchControlPlane(version, target, onProgress);
    return undefined;
  } catch (error) {
    if (error instanceof NoArchive) return error;
    throw error;
  }
}

function programsIn(folder: string): ControlPlane {
  return {
    etcd: join(folder, 'etcd'),
    kubeApiserver: join(folder, 'kube-apiserver'),
    kubectl: join(folder, 'kubectl'),
  };
}

async function assetsIn(folder: string): Promise<ControlPlane> {
  const programs = programsIn(resolve(folder));
  const missing = await missingOf(programs);
  if (missing.length === 0) return programs;
  throw new Error(
    `KUBEBUILDER_ASSETS is "${folder}", where these programs are missing or cannot be run: ${missing.join(', ')}; ` +
      'set it to a folder that has etcd, kube-apiserver and kubectl, or unset it',
  );
}

async function missingOf(programs: ControlPlane): Promise<string[]> {
  const missing: string[] = [];
  for (const path of [programs.etcd, programs.kubeApiserver, programs.kubectl]) {
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (!found) missing.push(path.slice(path.lastIndexOf('/') + 1));
  }
  return missing;
}

async function isComplete(folder: string): Promise<boolean> {
  return (await missingOf(programsIn(folder))).length === 0;
}

/** XDG_CACHE_HOME counts only when it is absolute, as its specification says. */
function cacheFolder(): string {
  const xdg = process.env['XDG_CACHE_HOME'];
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.cache');
  return join(base, 'nodeport-manager', 'control-plane');
}

/** What processes that were killed left behind: whoever holds the lock is the only one at work. */
async function removeLeftovers(home: string, prefix: string): Promise<void> {
  for (const name of await readdir(home)) {
    if (name.startsWith(prefix)) await rm(join(home, name), { recursive: true, force: true });
  }
}

async function putInPlace(made: string, final: string): Promise<void> {
  if (await isComplete(final)) return;
  await rm(final, { recursive: true, force: true });
  await rename(made, final);
}
