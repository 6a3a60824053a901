import { join, resolve } from 'node:path';
import { fetchControlPlane, NoArchive, platform } from './archive.ts';
import { buildControlPlane, CannotBuild } from './build.ts';
import { cached, missingIn } from './cache.ts';
import type { Progress } from './run.ts';

/** The Kubernetes version that tests, demo and benches run on unless told otherwise. */
const DEFAULT_VERSION = 'v1.36.3';
const NAMES = ['etcd', 'kube-apiserver', 'kubectl'] as const;

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
  const folder = await cached(
    'control-plane',
    `${version}-${platform()}`,
    NAMES,
    onProgress,
    (target, scratch) => make(version, target, scratch, onProgress),
  );
  return programsIn(folder);
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
  const missing = await missingIn(resolve(folder), NAMES);
  if (missing.length === 0) return programsIn(resolve(folder));
  throw new Error(
    `KUBEBUILDER_ASSETS is "${folder}", where these programs are missing or cannot be run: ${missing.join(', ')}; ` +
      'set it to a folder that has etcd, kube-apiserver and kubectl, or unset it',
  );
}
