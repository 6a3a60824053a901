import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { fetchControlPlane, NoArchive, platform } from '../../e2e/cluster/archive.ts';
import { obtainControlPlane } from '../../e2e/cluster/obtain.ts';
import { run } from '../../e2e/cluster/run.ts';
import { answer, envtestArchive, fakeProgram, indexOf, type Server, serve } from './mirror.ts';

const VERSION = 'v1.99.3';
const PROGRAMS = ['etcd', 'kube-apiserver', 'kubectl'];

let temp: string;
let cache: string;
const servers: Server[] = [];

beforeEach(async () => {
  temp = await mkdtemp(join(tmpdir(), 'obtain-test-'));
  cache = join(temp, 'cache/nodeport-manager/control-plane');
  vi.stubEnv('XDG_CACHE_HOME', join(temp, 'cache'));
  vi.stubEnv('KUBEBUILDER_ASSETS', '');
  vi.stubEnv('NO_PROXY', '127.0.0.1');
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await rm(temp, { recursive: true, force: true });
});

async function mirror(...handlers: Parameters<typeof serve>): Promise<Server> {
  const server = await serve(...handlers);
  servers.push(server);
  vi.stubEnv('NODEPORT_MANAGER_ENVTEST_INDEX', `${server.url}/index.yaml`);
  return server;
}

/** A mirror that has VERSION with these programs. */
async function mirrorOf(programs: readonly string[], hash?: string): Promise<Server> {
  const archive = await envtestArchive(temp, programs);
  const index = indexOf(VERSION, archive, 'files/archive.tar.gz', hash);
  return mirror({ '/index.yaml': answer(index), '/files/archive.tar.gz': answer(archive) });
}

function withoutGo(): void {
  vi.stubEnv('PATH', join(temp, 'no-programs-here'));
}

const obtain = (onProgress?: (line: string) => void) =>
  obtainControlPlane({ version: VERSION, ...(onProgress === undefined ? {} : { onProgress }) });

describe('from a published archive', () => {
  test('takes the programs out, makes them runnable and keeps them', async () => {
    const server = await mirrorOf([...PROGRAMS, 'another']);
    const programs = await obtain();
    for (const name of PROGRAMS) {
      const path = join(cache, `${VERSION}-${platform()}`, name);
      expect(Object.values(programs)).toContain(path);
      expect(await readFile(path, 'utf8')).toBe(fakeProgram(name));
      expect(await run(path, [])).toBe(`${name}\n`);
    }
    expect(await readdir(cache)).toEqual([`${VERSION}-${platform()}`]);
    expect(await obtain()).toEqual(programs);
    expect(server.asked).toEqual(['/index.yaml', '/files/archive.tar.gz']);
  });

  test('follows redirects, as release downloads do', async () => {
    const archive = await envtestArchive(temp, PROGRAMS);
    await mirror({
      '/index.yaml': answer(indexOf(VERSION, archive, '/release')),
      '/release': (_request, response) => void response.writeHead(302, { location: '/stored' }).end('moved'),
      '/stored': answer(archive),
    });
    expect(await run((await obtain()).etcd, [])).toBe('etcd\n');
  });

  test('refuses an archive whose hash is not the one in the index, and keeps nothing of it', async () => {
    await mirrorOf(PROGRAMS, 'c0ffee');
    await expect(obtain()).rejects.toThrow(
      /archive\.tar\.gz was altered or damaged: .* the index says c0ffee/,
    );
    expect(await readdir(cache)).toEqual([]);
  });

  test('refuses an archive without one of the programs, and keeps nothing of it', async () => {
    await mirrorOf(['etcd', 'kube-apiserver']);
    await expect(obtain()).rejects.toThrow(/archive\.tar\.gz holds no kubectl$/);
    expect(await readdir(cache)).toEqual([]);
  });

  test('fills up a cache folder that has lost a program', async () => {
    await mirrorOf(PROGRAMS);
    const { kubectl } = await obtain();
    await rm(kubectl);
    await obtain();
    expect(await run(kubectl, [])).toBe('kubectl\n');
  });
});

describe('an archive that cannot be had is no error but a reason to build', () => {
  const fetch = (index: string) =>
    fetchControlPlane(VERSION, join(temp, 'bin'), () => {}, { index, giveUpAfter: 150 });

  test('nobody listens', async () => {
    const server = await mirrorOf(PROGRAMS);
    await servers.pop()?.close();
    await expect(fetch(`${server.url}/index.yaml`)).rejects.toThrow(NoArchive);
    await expect(fetch(`${server.url}/index.yaml`)).rejects.toThrow(
      /index\.yaml cannot be read: .*ECONNREFUSED/,
    );
  });

  test.for([
    ['is not there', undefined, /answers 404$/],
    ['is no index', answer('<html>log in</html>'), /is not an index of envtest releases$/],
    ['is no YAML', answer('{]'), /is not an index of envtest releases$/],
    [
      'has other versions only',
      answer('releases:\n  v1.0.0: {}\n'),
      new RegExp(`has no envtest-${VERSION}-`),
    ],
    ['never answers', () => {}, /no answer within 150 ms$/],
    [
      'stops in the middle',
      (_: unknown, response: ServerResponse) => void response.write('rele'),
      /within 150 ms$/,
    ],
    [
      'redirects to itself',
      (_: unknown, r: ServerResponse) => void r.writeHead(301, { location: '/index.yaml' }).end(),
      /without end$/,
    ],
  ] as const)('the index %s', async ([, handler, says]) => {
    const { url } = await mirror(handler === undefined ? {} : { '/index.yaml': handler });
    const error = await fetch(`${url}/index.yaml`).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(NoArchive);
    expect(error).toHaveProperty('message', expect.stringMatching(says));
  });

  test('the index drips without end', async () => {
    const drip = (_: unknown, response: ServerResponse) => {
      const timer = setInterval(() => response.write('#'), 20);
      response.on('close', () => clearInterval(timer));
    };
    const { url } = await mirror({ '/index.yaml': drip });
    await expect(fetch(`${url}/index.yaml`)).rejects.toThrow(NoArchive);
  });

  test('the archive stops in the middle', async () => {
    const archive = await envtestArchive(temp, PROGRAMS);
    const half = (_: unknown, response: ServerResponse) => void response.write(archive.subarray(0, 100));
    const index = indexOf(VERSION, archive, '/archive');
    const { url } = await mirror({ '/index.yaml': answer(index), '/archive': half });
    await expect(fetch(`${url}/index.yaml`)).rejects.toThrow(
      /archive cannot be read: no answer within 150 ms$/,
    );
  });

  test('but an archive that keeps coming is waited for', async () => {
    const archive = await envtestArchive(temp, PROGRAMS);
    const tenth = Math.ceil(archive.length / 10);
    const slowly = (_: unknown, response: ServerResponse) => {
      let sent = 0;
      const timer = setInterval(() => {
        response.write(archive.subarray(sent, (sent += tenth)));
        if (sent >= archive.length) response.end(() => clearInterval(timer));
      }, 60);
    };
    const { url } = await mirror({
      '/index.yaml': answer(indexOf(VERSION, archive, '/archive')),
      '/archive': slowly,
    });
    const options = { index: `${url}/index.yaml`, giveUpAfter: 500 };
    await fetchControlPlane(VERSION, join(temp, 'bin'), () => {}, options);
    expect(await run(join(temp, 'bin/kubectl'), [])).toBe('kubectl\n');
  });

  test('and 5 s without an answer are enough; without Go either, one line says what to do', async () => {
    await mirror({ '/index.yaml': () => {} });
    withoutGo();
    const started = performance.now();
    const error = await obtain().catch((error: unknown) => error);
    expect(performance.now() - started).toBeGreaterThan(4500);
    expect(performance.now() - started).toBeLessThan(12_000);
    expect(error).toHaveProperty(
      'message',
      expect.stringMatching(
        /^no control plane v1\.99\.3: .*\/index\.yaml cannot be read: no answer within 5000 ms, and Go 1\.26 or newer is not installed: install Go .* or set KUBEBUILDER_ASSETS .* or NODEPORT_MANAGER_ENVTEST_INDEX .*$/,
      ),
    );
  });
});

describe('by a build with Go', () => {
  /** A `go` that answers what the real one would, and puts its go.mod files where the test finds them. */
  async function fakeGo(goVersion: string, build: string): Promise<void> {
    const goMod = join(temp, 'kubernetes.mod');
    await writeFile(
      goMod,
      'replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/x => ../other\n)\n',
    );
    const script = `#!/bin/sh
      case "$1 $2" in
        "env GOVERSION") echo ${goVersion} ;;
        "mod download") echo '{"GoMod":"${goMod}"}' ;;
        "mod tidy") cat go.mod >> ${temp}/modules ;;
        "build "*) echo "$CGO_ENABLED $*" >> ${temp}/builds
          for word; do case $last in -o) out=$word ;; esac; last=$word; done
          ${build} ;;
      esac\n`;
    await mkdir(join(temp, 'go'));
    await writeFile(join(temp, 'go/go'), script);
    await chmod(join(temp, 'go/go'), 0o755);
    vi.stubEnv('PATH', `${join(temp, 'go')}:/bin:/usr/bin`);
    await mirror({});
  }
  const INSTALL =
    'for name in server kube-apiserver kubectl; do printf "#!/bin/sh\\necho built" > $out$name; chmod +x $out$name; done';

  test('names the modules and the version that the programs then report', async () => {
    await fakeGo('go1.26.1', INSTALL);
    const lines: string[] = [];
    const { etcd } = await obtain((line) => lines.push(line));
    expect(await run(etcd, [])).toBe('built\n');
    const modules = await readFile(join(temp, 'modules'), 'utf8');
    expect(modules).toContain(
      `require k8s.io/kubernetes ${VERSION}\nreplace k8s.io/api => k8s.io/api v0.99.3\ntool`,
    );
    expect(modules).toContain('require go.etcd.io/etcd/server/v3 v3.6.16\n');
    expect(modules).not.toContain('k8s.io/x');
    const builds = await readFile(join(temp, 'builds'), 'utf8');
    expect(builds).toMatch(
      /^0 build .*-trimpath .*version\.gitVersion=v1\.99\.3 .*gitMajor=1 .*gitMinor=99 .*kube-apiserver k8s\.io\/kubernetes\/cmd\/kubectl$/m,
    );
    expect(lines).toContainEqual(
      expect.stringMatching(/^no published control plane \(.*answers 404\); building it/),
    );
    expect(lines).toContainEqual(expect.stringContaining(`building kube-apiserver and kubectl ${VERSION}`));
    expect(await readdir(cache)).toEqual([`${VERSION}-${platform()}`]);
  });

  test('an older version of Kubernetes gets an etcd of its time', async () => {
    await fakeGo('go1.26.1', INSTALL);
    await obtainControlPlane({ version: 'v1.33.1' });
    expect(await readFile(join(temp, 'modules'), 'utf8')).toContain('server/v3 v3.5.21\n');
  });

  test('a build that fails shows the end of what the compiler said, and keeps nothing', async () => {
    await fakeGo('go1.26.1', 'echo "undefined: something" >&2; exit 1');
    await expect(obtain()).rejects.toThrow(/^go build [^]*ended with code 1:\n[^]*undefined: something$/);
    expect(await readdir(cache)).toEqual([]);
  });

  test.for(['go1.25.9', 'go1.9'])('%s is too old, and the error says so', async (goVersion) => {
    await fakeGo(goVersion, INSTALL);
    await expect(obtain()).rejects.toThrow(
      `Go 1.26 or newer is needed, but ${goVersion} is installed: install Go`,
    );
  });

  test('a Go with a longer version name is new enough', async () => {
    await fakeGo('go1.27rc1', INSTALL);
    expect(await run((await obtain()).kubectl, [])).toBe('built\n');
  });
});

describe('from KUBEBUILDER_ASSETS', () => {
  test('uses the programs there and asks nobody else', async () => {
    const server = await mirrorOf(PROGRAMS);
    const assets = join(temp, 'controller-tools/envtest');
    vi.stubEnv('KUBEBUILDER_ASSETS', assets);
    expect(await obtain()).toEqual({
      etcd: join(assets, 'etcd'),
      kubeApiserver: join(assets, 'kube-apiserver'),
      kubectl: join(assets, 'kubectl'),
    });
    expect(server.asked).toEqual([]);
  });

  test('quotes a path that has not all of them, and says which are missing', async () => {
    await mirrorOf(['etcd']);
    vi.stubEnv('KUBEBUILDER_ASSETS', join(temp, 'controller-tools/envtest'));
    await expect(obtain()).rejects.toThrow(
      `KUBEBUILDER_ASSETS is "${temp}/controller-tools/envtest", where these programs are missing or cannot be run: kube-apiserver, kubectl;`,
    );
    vi.stubEnv('KUBEBUILDER_ASSETS', '/no/such folder');
    await expect(obtain()).rejects.toThrow(
      /^KUBEBUILDER_ASSETS is "\/no\/such folder", .* etcd, kube-apiserver, kubectl;/,
    );
  });
});

test.for(['1.36.3', 'v1.36', 'latest', 'v1.36.3/../x'])('"%s" is not a version', async (version) => {
  await expect(obtainControlPlane({ version })).rejects.toThrow(
    `"${version}" is not a Kubernetes version: write it like v1.`,
  );
});

describe('two processes at once', () => {
  /** A process of its own that obtains; what it says goes to `lines`. */
  function asker() {
    const module = join(import.meta.dirname, '../../e2e/cluster/obtain.ts');
    const script = `
      const { obtainControlPlane } = await import(${JSON.stringify(module)});
      const programs = await obtainControlPlane({ version: '${VERSION}', onProgress: (line) => console.log(line) });
      console.log('got ' + programs.etcd);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const asked = { pid: child.pid ?? 0, said: '', ended: once(child, 'close') };
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (asked.said += chunk));
    return asked;
  }

  /** A mirror that keeps everyone who asks for the archive waiting until `go` is called. */
  async function holdingMirror() {
    const archive = await envtestArchive(temp, PROGRAMS);
    const waiting: ServerResponse[] = [];
    const server = await mirror({
      '/index.yaml': answer(indexOf(VERSION, archive, '/archive')),
      '/archive': (_request, response) => void waiting.push(response),
    });
    return { server, waiting, go: () => waiting.forEach((response) => response.end(archive)) };
  }
  const soon = { timeout: 15_000, interval: 20 };

  test('download once, and both have it', async () => {
    const { server, waiting, go } = await holdingMirror();
    const first = asker();
    await vi.waitFor(() => expect(waiting).toHaveLength(1), soon);
    const second = asker();
    await vi.waitFor(() => expect(second.said).toContain(`waiting for process ${first.pid}, `), soon);
    go();
    expect([await first.ended, await second.ended]).toEqual([
      [0, null],
      [0, null],
    ]);
    const got = `got ${join(cache, `${VERSION}-${platform()}`, 'etcd')}\n`;
    expect([first.said, second.said]).toEqual([expect.stringContaining(got), expect.stringContaining(got)]);
    expect(server.asked).toEqual(['/index.yaml', '/archive']);
    expect(await readdir(cache)).toEqual([`${VERSION}-${platform()}`]);
  });

  test('when the one at work is killed, the one that waits takes over and clears up', async () => {
    const { waiting, go } = await holdingMirror();
    const first = asker();
    await vi.waitFor(() => expect(waiting).toHaveLength(1), soon);
    const second = asker();
    await vi.waitFor(() => expect(second.said).toContain(`waiting for process ${first.pid}, `), soon);
    await mkdir(join(cache, `${VERSION}-${platform()}.tmp-${first.pid}`), { recursive: true });
    process.kill(first.pid, 'SIGKILL');
    await vi.waitFor(() => expect(waiting).toHaveLength(2), soon);
    expect(second.said).toContain(`process ${first.pid} ended without finishing`);
    go();
    expect(await second.ended).toEqual([0, null]);
    expect(await readdir(cache)).toEqual([`${VERSION}-${platform()}`]);
  });
});
