import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Progress, run, withHeartbeat } from './run.ts';

/** The etcd that older minor versions of Kubernetes are tested with; the default serves all the others. */
const ETCD_OF_KUBERNETES: Readonly<Record<string, string>> = {
  '1.31': 'v3.5.21',
  '1.32': 'v3.5.21',
  '1.33': 'v3.5.21',
};
const DEFAULT_ETCD = 'v3.6.16';
const KUBERNETES = 'k8s.io/kubernetes';
const ETCD = 'go.etcd.io/etcd/server/v3';
const OLDEST_GO = [1, 26] as const;

/** Thrown when this machine cannot build: what is missing is in the message. */
export class CannotBuild extends Error {}

/**
 * Builds etcd, kube-apiserver and kubectl of a Kubernetes version ("v1.36.3") from the Go module proxy into `target`.
 * Cold, on two cores: about three minutes and 2 GB of memory; seconds when Go's build cache is warm.
 * Throws CannotBuild when Go is missing or too old, Error when a build fails.
 */
export async function buildControlPlane(
  version: string,
  target: string,
  scratch: string,
  onProgress: Progress,
): Promise<void> {
  await requireGo();
  await mkdir(target, { recursive: true });
  await buildEtcd(etcdVersion(version), target, join(scratch, 'etcd'), onProgress);
  await buildKubernetes(version, target, join(scratch, 'kubernetes'), onProgress);
}

/** The etcd version for a Kubernetes version: "v1.36.3" → "v3.6.16". */
function etcdVersion(version: string): string {
  const [major, minor] = version.slice(1).split('.');
  return ETCD_OF_KUBERNETES[`${major}.${minor}`] ?? DEFAULT_ETCD;
}

/** Throws CannotBuild when Go is missing or too old. */
export async function requireGo(): Promise<void> {
  const wanted = `Go ${OLDEST_GO.join('.')} or newer`;
  let found: string;
  try {
    found = (await run('go', ['env', 'GOVERSION'])).trim();
  } catch {
    throw new CannotBuild(`${wanted} is not installed`);
  }
  const [major = 0, minor = 0] = found.replace(/^go/, '').split('.').map(Number.parseFloat);
  const recent = major > OLDEST_GO[0] || (major === OLDEST_GO[0] && minor >= OLDEST_GO[1]);
  if (!recent) throw new CannotBuild(`${wanted} is needed, but ${found} is installed`);
}

/** A module of our own that only names the program as a tool: the program's module is not changed, so its sums hold. */
async function buildEtcd(version: string, target: string, folder: string, onProgress: Progress) {
  await writeModule(folder, [`require ${ETCD} ${version}`, `tool ${ETCD}`]);
  await tidy(folder, `fetching the sources of etcd ${version}`, onProgress);
  await compile([ETCD], `building etcd ${version}`, target, folder, '-s -w', onProgress);
  // The root of that module is its main package, so Go names the binary after the module's last element.
  await rename(join(target, 'server'), join(target, 'etcd'));
}

async function buildKubernetes(version: string, target: string, folder: string, onProgress: Progress) {
  const programs = [`${KUBERNETES}/cmd/kube-apiserver`, `${KUBERNETES}/cmd/kubectl`];
  const staged = await withHeartbeat(`fetching the sources of Kubernetes ${version}`, onProgress, () =>
    stagedModules(version),
  );
  await writeModule(folder, [
    `require ${KUBERNETES} ${version}`,
    ...staged.map((name) => `replace ${name} => ${name} ${version.replace(/^v1\./, 'v0.')}`),
    ...programs.map((program) => `tool ${program}`),
  ]);
  await tidy(folder, `fetching what Kubernetes ${version} depends on`, onProgress);
  const label = `building kube-apiserver and kubectl ${version} (about 3 minutes the first time)`;
  await compile(programs, label, target, folder, kubernetesLinkerFlags(version), onProgress);
}

/** Kubernetes' go.mod points its own libraries at folders of its repository; the proxy has them as v0.x modules. */
async function stagedModules(version: string): Promise<string[]> {
  const answer = await run('go', ['mod', 'download', '-json', `${KUBERNETES}@${version}`], { env: goEnv() });
  const downloaded: { GoMod: string } = JSON.parse(answer);
  const goMod = await readFile(downloaded.GoMod, 'utf8');
  return [...goMod.matchAll(/^\s*(?:replace\s+)?(\S+)\s+=>\s+\.\/staging\//gm)].map(
    (match) => match[1] ?? '',
  );
}

/** Without these the apiserver calls itself v0.0.0-master and clients that check versions refuse it. */
function kubernetesLinkerFlags(version: string): string {
  const [major, minor] = version.slice(1).split('.');
  const values = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' };
  const set = Object.entries(values).map(
    ([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`,
  );
  return ['-s -w', ...set].join(' ');
}

/** A go.mod of ours with these lines, in a folder that is made. */
export async function writeModule(folder: string, lines: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  const head = ['module controlplane.local/build', `go ${OLDEST_GO.join('.')}.0`];
  await writeFile(join(folder, 'go.mod'), `${[...head, ...lines].join('\n')}\n`);
}

async function tidy(folder: string, label: string, onProgress: Progress): Promise<void> {
  let fetched = 0;
  await withHeartbeat(
    label,
    onProgress,
    () => run('go', ['mod', 'tidy'], { cwd: folder, env: goEnv(), onLine: () => (fetched += 1) }),
    () => (fetched > 0 ? `, ${fetched} modules` : ''),
  );
}

/** `go build` of main packages into the folder `target`; `folder` has the go.mod. */
export async function compile(
  programs: readonly string[],
  label: string,
  target: string,
  folder: string,
  linkerFlags: string,
  onProgress: Progress,
  flags: readonly string[] = [],
): Promise<void> {
  let compiled = 0;
  const fixed = ['-v', '-trimpath', `-ldflags=${linkerFlags}`, '-o', `${target}/`];
  const args = ['build', ...fixed, ...flags, ...programs];
  await withHeartbeat(
    label,
    onProgress,
    () => run('go', args, { cwd: folder, env: goEnv(), onLine: () => (compiled += 1) }),
    () => (compiled > 0 ? `, ${compiled} packages` : ''),
  );
}

/** The person's own Go settings (proxy, sums, cache), but no workspace of theirs and no C compiler. */
function goEnv(): NodeJS.ProcessEnv {
  return { ...process.env, CGO_ENABLED: '0', GO111MODULE: 'on', GOWORK: 'off' };
}
