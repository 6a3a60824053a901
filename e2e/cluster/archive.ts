import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import { parse } from 'yaml';
import { errorCode, type Progress, withHeartbeat } from './run.ts';
import { filesFromTar } from './tar.ts';

const PUBLISHED_INDEX =
  'https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml';
const GIVE_UP_MS = 5000;
const LARGEST_INDEX = 16 * 1024 * 1024;
const BINARIES = ['etcd', 'kube-apiserver', 'kubectl'] as const;

/** Thrown when there is no archive to be had here, and building may be tried instead. */
export class NoArchive extends Error {}

/** What of the published index is read: version → name of the archive → where it is. */
interface Index {
  releases?: Record<string, Record<string, { hash?: string; selfLink?: string }>>;
}

interface Release {
  url: string;
  sha512: string;
}

export interface ArchiveOptions {
  /** Address of the index; default: NODEPORT_MANAGER_ENVTEST_INDEX, else the one that controller-tools publishes. */
  index?: string;
  /** Give up when nothing arrives for so many ms; default 5,000. */
  giveUpAfter?: number;
}

/**
 * Fetches the envtest archive of a Kubernetes version ("v1.36.3") for this platform, checks its hash and puts
 * etcd, kube-apiserver and kubectl into `target`.
 * Throws NoArchive when the index or the archive cannot be reached or the version is not in it,
 * Error when what arrived is not what the index promised.
 */
export async function fetchControlPlane(
  version: string,
  target: string,
  onProgress: Progress,
  options: ArchiveOptions = {},
): Promise<void> {
  const giveUpAfter = options.giveUpAfter ?? GIVE_UP_MS;
  const index = options.index ?? (process.env['NODEPORT_MANAGER_ENVTEST_INDEX'] || PUBLISHED_INDEX);
  const release = await withHeartbeat(`looking for a published control plane at ${index}`, onProgress, () =>
    findRelease(version, index, giveUpAfter),
  );
  const packed = await download(release, onProgress, giveUpAfter);
  await unpack(packed, release.url, target);
}

async function findRelease(version: string, index: string, giveUpAfter: number): Promise<Release> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of fetchBytes(index, giveUpAfter, AbortSignal.timeout(4 * giveUpAfter))) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > LARGEST_INDEX) throw new NoArchive(`${index} is too large to be an index of envtest releases`);
  }
  return releaseFromIndex(Buffer.concat(chunks).toString('utf8'), version, index);
}

/** A link in the index may be relative to it, so that a mirror can be moved as a whole. */
function releaseFromIndex(index: string, version: string, url: string): Release {
  const name = archiveName(version);
  const releases = parseIndex(index)?.releases;
  if (releases === undefined) throw new NoArchive(`${url} is not an index of envtest releases`);
  const { hash, selfLink } = releases[version]?.[name] ?? {};
  if (hash === undefined || selfLink === undefined) throw new NoArchive(`${url} has no ${name}`);
  return { url: new URL(selfLink, url).href, sha512: hash };
}

function parseIndex(text: string): Index | null {
  try {
    const index: Index | null = parse(text);
    return index;
  } catch {
    return null;
  }
}

/** The name of the archive for this platform: "envtest-v1.36.3-linux-amd64.tar.gz". */
export function archiveName(version: string): string {
  return `envtest-${version}-${platform()}.tar.gz`;
}

/** This platform in Go's words: "linux-amd64". */
export function platform(): string {
  return `${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
}

async function download(release: Release, onProgress: Progress, giveUpAfter: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const hash = createHash('sha512');
  let size = 0;
  await withHeartbeat(
    `downloading ${release.url}`,
    onProgress,
    async () => {
      for await (const chunk of fetchBytes(release.url, giveUpAfter)) {
        chunks.push(chunk);
        hash.update(chunk);
        size += chunk.length;
      }
    },
    () => `, ${(size / 1e6).toFixed(0)} MB`,
  );
  const got = hash.digest('hex');
  if (got !== release.sha512.toLowerCase()) {
    throw new Error(
      `${release.url} was altered or damaged: its sha512 is ${got}, the index says ${release.sha512}; ` +
        'try again, or set NODEPORT_MANAGER_ENVTEST_INDEX to an index that you trust',
    );
  }
  return Buffer.concat(chunks);
}

/** Yields the body of `url`; NoArchive when the server says no, or nothing at all for `giveUpAfter` ms. */
async function* fetchBytes(
  url: string,
  giveUpAfter: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(new Error(`no answer within ${giveUpAfter} ms`)), giveUpAfter);
  const signals = signal === undefined ? [silence.signal] : [silence.signal, signal];
  const dispatcher = new EnvHttpProxyAgent();
  try {
    const response = await follow(url, AbortSignal.any(signals), dispatcher);
    for await (const chunk of response) {
      const bytes: Uint8Array = chunk;
      timer.refresh();
      yield bytes;
    }
  } catch (error) {
    if (error instanceof NoArchive) throw error;
    throw new NoArchive(`${url} cannot be read: ${reasonOf(error)}`);
  } finally {
    clearTimeout(timer);
    await dispatcher.destroy();
  }
}

async function follow(
  url: string,
  signal: AbortSignal,
  dispatcher: EnvHttpProxyAgent,
): Promise<Dispatcher.ResponseData['body']> {
  let at = url;
  for (let hops = 0; hops < 6; hops += 1) {
    const { statusCode, headers, body } = await request(at, { signal, dispatcher });
    if (statusCode === 200) return body;
    body.on('error', () => {}).destroy();
    const { location } = headers;
    if (statusCode < 300 || statusCode > 399 || typeof location !== 'string') {
      throw new NoArchive(`${at} answers ${statusCode}`);
    }
    at = new URL(location, at).href;
  }
  throw new NoArchive(`${url} redirects without end`);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || errorCode(error) || error.name;
}

async function unpack(packed: Uint8Array, url: string, target: string): Promise<void> {
  const files = filesFromTar(await promisify(gunzip)(packed), BINARIES);
  await mkdir(target, { recursive: true });
  for (const name of BINARIES) {
    const content = files.get(name);
    if (content === undefined) throw new Error(`${url} holds no ${name}`);
    await writeFile(join(target, name), content, { mode: 0o755 });
  }
}
