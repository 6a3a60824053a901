import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { obtainControlPlane } from './cluster/obtain.ts';
import { run } from './cluster/run.ts';
import { obtainPrometheus } from './prometheus/obtain.ts';

const ROOT = join(import.meta.dirname, '..');

/** Once before all end-to-end tests: the programs of a control plane, Prometheus, and the bundle that they run. */
export default async function setup(): Promise<void> {
  const onProgress = (line: string) => void process.stderr.write(`e2e: ${line}\n`);
  const main = join(ROOT, 'src/main.ts');
  if (!existsSync(main)) throw new Error(`there is nothing to test end to end: ${main} is missing`);
  await obtainControlPlane({ onProgress });
  // Only the tests of alerts need it, and they say so themselves where it cannot be had.
  await obtainPrometheus(onProgress).catch((error: unknown) => onProgress(String(error)));
  await run(process.execPath, ['scripts/build.ts'], { cwd: ROOT });
}
