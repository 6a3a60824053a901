/** What the controller is made of besides its own code: read from the lockfile and node_modules, never from a network. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/** Licences that ask for no more than to be passed on with the text, which THIRD_PARTY_NOTICES.txt does. */
const ALLOWED_LICENCES = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'MIT',
  'PSF-2.0',
  'Unlicense',
]);

/** A package that is installed for production. */
export interface Package {
  /** Where it lies: `node_modules/undici`. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** SPDX, as the package says. */
  readonly licence: string;
  /** `sha512-…`, in base64, of the archive that was installed. */
  readonly integrity: string;
  /** Paths of those that it depends on itself. */
  readonly dependsOn: readonly string[];
}

interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** Those that the lockfile names for production; what is optional there (Node itself) is for development. */
export async function productionPackages(root = ROOT): Promise<Package[]> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>;
  };
  return Object.entries(packages)
    .filter(([path, { dev, optional }]) => path !== '' && dev !== true && optional !== true)
    .map(([path, { version = '', license = '', integrity = '', dependencies = {} }]) => ({
      path,
      name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version,
      licence: license,
      integrity,
      dependsOn: Object.keys(dependencies).flatMap((name) => resolve(packages, path, name) ?? []),
    }));
}

/** As Node looks for it: among the package's own first, then among those around it. */
function resolve(packages: Record<string, Locked>, from: string, name: string): string | undefined {
  const folders = from.split('/node_modules/');
  const around = folders.map((_, i) => `${folders.slice(0, folders.length - i).join('/node_modules/')}/`);
  return [...around, ''].map((folder) => `${folder}node_modules/${name}`).find((path) => path in packages);
}

/** Packages whose licence is not on the list. */
export function notAllowed(packages: readonly Package[]): Package[] {
  return packages.filter(({ licence }) => !ALLOWED_LICENCES.has(licence));
}

/** The texts of all licences, which have to go with the bundle: its minifier leaves them out. */
export async function notices(packages: readonly Package[], root = ROOT): Promise<string> {
  const sections = await Promise.all(
    packages.map(async ({ path, name, version, licence }) => {
      const texts = await licenceTexts(join(root, path));
      return [`${name} ${version}`, `Licence: ${licence}`, '', ...texts].join('\n').trimEnd();
    }),
  );
  const line = `\n\n${'-'.repeat(80)}\n\n`;
  return `nodeport-manager is made with these packages.${line}${sections.join(line)}\n`;
}

async function licenceTexts(dir: string): Promise<string[]> {
  const files = (await readdir(dir)).filter((name) => /^(licen[cs]e|copying|notice)/i.test(name)).toSorted();
  return Promise.all(files.map((name) => readFile(join(dir, name), 'utf8')));
}

/** The parts of our package.json that a bill of materials needs. */
interface Own {
  readonly version: string;
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

/** CycloneDX 1.5: every package with version, licence and hash, and who depends on whom. The same input, the same text. */
export function billOfMaterials(packages: readonly Package[], own: Own): object {
  const refOf = new Map(packages.map((each) => [each.path, purlOf(each)]));
  const ref = `pkg:npm/nodeport-manager@${own.version}`;
  const refsOf = (paths: readonly string[]): string[] => paths.flatMap((path) => refOf.get(path) ?? []);
  const once = new Map(packages.map((each) => [purlOf(each), each]));
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      component: {
        'bom-ref': ref,
        type: 'application',
        name: 'nodeport-manager',
        version: own.version,
        purl: ref,
        licenses: [{ license: { id: own.license } }],
      },
    },
    components: [...once].map(([purl, each]) => ({
      'bom-ref': purl,
      type: 'library',
      name: each.name,
      version: each.version,
      purl,
      licenses: [{ license: { id: each.licence } }],
      hashes: [
        {
          alg: 'SHA-512',
          content: Buffer.from(each.integrity.replace(/^sha512-/, ''), 'base64').toString('hex'),
        },
      ],
    })),
    dependencies: [
      { ref, dependsOn: refsOf(Object.keys(own.dependencies).map((name) => `node_modules/${name}`)) },
      ...[...once].map(([purl, { dependsOn }]) => ({ ref: purl, dependsOn: refsOf(dependsOn) })),
    ],
  };
}

/** The scope's @ is escaped, as the specification of package URLs wants. */
function purlOf({ name, version }: Package): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

/** What `npm audit --json` said. */
export type AuditResult =
  | { readonly result: 'clean' }
  | { readonly result: 'vulnerable'; readonly packages: readonly string[] }
  /** The registry did not tell: nothing is known. */
  | { readonly result: 'unknown'; readonly why: string };

/** Anything that is not an answer is no "clean". */
export function readAudit(json: string): AuditResult {
  let said: {
    vulnerabilities?: Record<string, { severity?: string }>;
    metadata?: { vulnerabilities?: { total?: number } };
    error?: { summary?: string; detail?: string };
    message?: string;
  } | null;
  try {
    said = JSON.parse(json) as typeof said;
  } catch {
    return { result: 'unknown', why: `npm printed no JSON: ${JSON.stringify(json.slice(0, 200))}` };
  }
  const total = said?.metadata?.vulnerabilities?.total;
  if (total === undefined)
    return { result: 'unknown', why: said?.message ?? said?.error?.summary ?? 'npm reported no total' };
  if (total === 0) return { result: 'clean' };
  const packages = Object.entries(said?.vulnerabilities ?? {});
  return { result: 'vulnerable', packages: packages.map(([name, { severity }]) => `${name} (${severity})`) };
}
