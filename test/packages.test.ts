import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { describe, expect, onTestFinished, test } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { billOfMaterials, notAllowed, notices, productionPackages, readAudit } from '../scripts/packages.ts';
import { type Answer, json, scriptedServer, status } from './kube/scriptedServer.ts';

const ROOT = join(import.meta.dirname, '..');
const packages = await productionPackages();

describe('Every package for production', () => {
  test('has a licence that may be passed on, which is what the package itself says', async () => {
    expect(packages.length).toBeGreaterThan(20);
    expect(notAllowed(packages)).toEqual([]);
    for (const { path, version, licence } of packages) {
      const own = JSON.parse(await readFile(join(ROOT, path, 'package.json'), 'utf8')) as object;
      expect(own, path).toMatchObject({ version, license: licence });
    }
  });

  test('a licence that is not on the list is told', () => {
    const [first] = packages;
    expect(
      notAllowed([
        { ...first!, licence: 'AGPL-3.0-only' },
        { ...first!, licence: '' },
      ]),
    ).toHaveLength(2);
  });

  test('is in the notices, with the text of its licence', async () => {
    const sections = (await notices(packages)).split(`\n\n${'-'.repeat(80)}\n\n`).slice(1);
    expect(sections).toHaveLength(packages.length);
    for (const section of sections) {
      const [name = '', licence] = section.split('\n');
      // Unlicense: into the public domain; nothing has to go with it.
      if (licence !== 'Licence: Unlicense') expect(section.length, name).toBeGreaterThan(500);
    }
  });

  test('and no other is in the bundle', async () => {
    const { metafile } = await build({
      entryPoints: [join(ROOT, 'src/main.ts')],
      absWorkingDir: ROOT,
      bundle: true,
      write: false,
      metafile: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'silent',
    });
    const bundled = new Set(
      Object.keys(metafile.inputs).flatMap(
        (file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [],
      ),
    );
    const names = new Set(packages.map(({ name }) => name));
    expect(bundled.size).toBeGreaterThan(5);
    expect([...bundled].filter((name) => !names.has(name))).toEqual([]);
  });
});

describe('The bill of materials', () => {
  interface Bom {
    components: {
      'bom-ref': string;
      version: string;
      hashes: { content: string }[];
      licenses: { license: { id: string } }[];
    }[];
    dependencies: { ref: string; dependsOn: string[] }[];
  }
  const bom = billOfMaterials(packages, packageJson) as Bom;

  test('has every package once, with version, licence and the hash of its archive', () => {
    const refs = bom.components.map((component) => component['bom-ref']);
    expect(new Set(refs)).toEqual(
      new Set(packages.map(({ name, version }) => `pkg:npm/${name.replace('@', '%40')}@${version}`)),
    );
    expect(new Set(refs).size).toBe(refs.length);
    for (const { version, hashes, licenses } of bom.components) {
      expect(version).toMatch(/^\d+\.\d+\.\d+/);
      expect(hashes).toEqual([
        { alg: 'SHA-512', content: expect.stringMatching(/^[0-9a-f]{128}$/) as string },
      ]);
      expect(licenses[0]?.license.id).toMatch(/\w/);
    }
  });

  test('says of each what it depends on, and reaches all of them from the controller', () => {
    const known = new Map(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
    const reached = new Set<string>();
    const visit = (ref: string): void => {
      if (reached.has(ref)) return;
      reached.add(ref);
      for (const next of known.get(ref) ?? expect.fail(`${ref} is not listed`)) visit(next);
    };
    visit(`pkg:npm/nodeport-manager@${packageJson.version}`);
    expect(reached).toEqual(new Set(known.keys()));
  });

  test('names neither this machine nor a registry', () => {
    expect(JSON.stringify(bom)).not.toMatch(/https?:|node_modules|file:/);
    expect(JSON.stringify(bom)).not.toContain(ROOT);
  });
});

describe('make audit', () => {
  test.each([
    ['the report of no vulnerability', { metadata: { vulnerabilities: { total: 0 } } }, 'clean'],
    [
      'a report of one',
      { vulnerabilities: { x: { severity: 'low' } }, metadata: { vulnerabilities: { total: 1 } } },
      'vulnerable',
    ],
    ['an error', { message: '405 Method Not Allowed', error: { summary: '' } }, 'unknown'],
    ['half a report', { vulnerabilities: {} }, 'unknown'],
  ])('takes %s for what it is', (_, said, result) => {
    expect(readAudit(JSON.stringify(said)).result).toBe(result);
  });

  test('takes nothing, or no JSON, for no answer', () => {
    for (const text of ['', '<html>', 'null', '[]', '0'])
      expect(readAudit(text).result, text).toBe('unknown');
  });

  /** What it says, and its exit code, when it asks a registry that answers so. */
  async function asking(answer: Answer): Promise<{ said: string; code: number }> {
    const registry = await scriptedServer();
    onTestFinished(() => registry.close());
    registry.on('*', answer);
    const env = {
      ...process.env,
      npm_config_registry: registry.url.href,
      npm_config_cache: join(ROOT, 'node_modules/.cache/audit-test'),
    };
    const child = spawn(process.execPath, ['scripts/supply.ts', 'audit'], { cwd: ROOT, env });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (said += String(chunk)));
    const [code]: number[] = await once(child, 'close');
    expect(registry.requests.length).toBeGreaterThan(0);
    return { said, code: code ?? -1 };
  }

  test('a registry that knows of nothing: clean, exit code 0', async () => {
    expect(await asking(json({}))).toMatchObject({
      code: 0,
      said: expect.stringContaining('no known vulnerability') as string,
    });
  });

  test('a registry that cannot be asked is never taken for clean: exit code 3, and it says so', async () => {
    expect(await asking(status(405))).toMatchObject({
      code: 3,
      said: expect.stringContaining('NOT AUDITED') as string,
    });
  });
});
