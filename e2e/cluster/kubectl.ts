import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { kubeconfigPath, type User } from './users.ts';

export interface KubectlOptions {
  /** Default "admin". */
  user?: User;
  /** Written to its standard input. */
  input?: string;
}

export interface KubectlResult {
  stdout: string;
  stderr: string;
  /** Its exit code; 128 when a signal ended it. */
  code: number;
}

/** Its cache of what the server offers lives in the cluster's folder: another cluster may have had the same port. */
export async function runKubectl(
  program: string,
  dir: string,
  args: readonly string[],
  options: KubectlOptions = {},
): Promise<KubectlResult> {
  const kubeconfig = kubeconfigPath(dir, options.user ?? 'admin');
  const settings = [`--kubeconfig=${kubeconfig}`, `--cache-dir=${join(dir, 'kubectl-cache')}`];
  const child = spawn(program, [...settings, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const result: KubectlResult = { stdout: '', stderr: '', code: 128 };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (result.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (result.stderr += chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const [code]: (number | null)[] = await once(child, 'close');
  result.code = code ?? 128;
  return result;
}
