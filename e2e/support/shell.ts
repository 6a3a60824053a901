import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';

/** A command in bash, with the cluster's kubectl as admin: how it ended, and both its outputs. */
export async function shell(
  { kubectlPath, dir, kubeconfig }: Cluster,
  command: string,
  folder = dir,
): Promise<{ code: number | null; output: string }> {
  const env = {
    ...process.env,
    PATH: `${dirname(kubectlPath)}:${process.env['PATH']}`,
    KUBECONFIG: kubeconfig('admin'),
    KUBECACHEDIR: join(dir, 'kubectl-cache'),
  };
  const child = spawn('bash', ['-c', `{ ${command}\n} 2>&1`], { cwd: folder, env });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}
