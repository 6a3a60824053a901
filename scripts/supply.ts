/**
 * The supply chain, in three commands:
 *   licences  dist/THIRD_PARTY_NOTICES.txt; fails when a licence is not on the list
 *   sbom      dist/sbom.cdx.json
 *   audit     asks the registry for known vulnerabilities; fails when there are any, and when it does not answer
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import { billOfMaterials, notAllowed, notices, productionPackages, readAudit } from './packages.ts';

const ROOT = join(import.meta.dirname, '..');
const DIST = join(ROOT, 'dist');

const packages = await productionPackages();

async function write(name: string, text: string): Promise<void> {
  await mkdir(DIST, { recursive: true });
  await writeFile(join(DIST, name), text);
  console.log(`dist/${name}: ${packages.length} packages`);
}

async function licences(): Promise<number> {
  const bad = notAllowed(packages);
  for (const { name, version, licence } of bad)
    console.error(`${name} ${version}: the licence "${licence}" is not on the list in scripts/packages.ts`);
  await write('THIRD_PARTY_NOTICES.txt', await notices(packages));
  return bad.length === 0 ? 0 : 1;
}

async function sbom(): Promise<number> {
  await write('sbom.cdx.json', `${JSON.stringify(billOfMaterials(packages, packageJson), null, 2)}\n`);
  return 0;
}

async function audit(): Promise<number> {
  const child = spawn('npm', ['audit', '--omit=dev', '--json'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += String(chunk)));
  await once(child, 'close');
  const answer = readAudit(said);
  switch (answer.result) {
    case 'clean':
      console.log(`no known vulnerability in ${packages.length} packages`);
      return 0;
    case 'vulnerable':
      console.error(
        `known vulnerabilities in: ${answer.packages.join(', ')}. npm audit --omit=dev tells more`,
      );
      return 1;
    case 'unknown':
      console.error(`NOT AUDITED: the registry did not tell what is known to be vulnerable (${answer.why}).`);
      console.error(
        'This says nothing about the packages. Ask one that does: npm_config_registry=… make audit',
      );
      return 3;
  }
}

const commands: Readonly<Record<string, () => Promise<number>>> = { licences, sbom, audit };
const command = commands[process.argv[2] ?? ''];
if (command === undefined) console.error(`one of: ${Object.keys(commands).join(', ')}`);
process.exitCode = command === undefined ? 2 : await command();
