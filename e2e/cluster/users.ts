import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Who the apiserver knows: its administrator, the controller, and three teams without rights of their own. */
export type User = 'admin' | 'controller' | 'team-a' | 'team-b' | 'team-c';

const CONTROLLER_NAMESPACE = 'nodeport-manager-system';

const IDENTITIES: Readonly<Record<User, { name: string; groups: readonly string[] }>> = {
  admin: { name: 'admin', groups: ['system:masters'] },
  controller: {
    name: `system:serviceaccount:${CONTROLLER_NAMESPACE}:nodeport-manager`,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${CONTROLLER_NAMESPACE}`],
  },
  'team-a': { name: 'team-a', groups: ['teams'] },
  'team-b': { name: 'team-b', groups: ['teams'] },
  'team-c': { name: 'team-c', groups: ['teams'] },
};

const USERS: readonly User[] = ['admin', 'controller', 'team-a', 'team-b', 'team-c'];

export type Tokens = Readonly<Record<User, string>>;

/** New tokens, never the same in two clusters: a request that reaches the wrong one is refused there. */
export function newTokens(): Tokens {
  const token = () => randomBytes(16).toString('hex');
  return { admin: token(), controller: token(), 'team-a': token(), 'team-b': token(), 'team-c': token() };
}

/** Writes the apiserver's table of tokens (CSV: token, name, uid, "groups") to tokens.csv in `dir`. */
export async function writeTokens(dir: string, tokens: Tokens): Promise<void> {
  const line = (user: User) => {
    const { name, groups } = IDENTITIES[user];
    return `${tokens[user]},${name},${user},"${groups.join(',')}"`;
  };
  await writeFile(join(dir, 'tokens.csv'), `${USERS.map(line).join('\n')}\n`, { mode: 0o600 });
}

/** Writes the key pair that signs service account tokens to sa.key and sa.pub in `dir`. */
export async function writeServiceAccountKeys(dir: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(join(dir, 'sa.key'), privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
  await writeFile(join(dir, 'sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
}

/** Where `user`'s kubeconfig is. */
export function kubeconfigPath(dir: string, user: User): string {
  return join(dir, `${user}.kubeconfig`);
}

/** Writes a kubeconfig for each user into `dir`. The server is verified: there is no insecure-skip-tls-verify. */
export async function writeKubeconfigs(
  dir: string,
  url: string,
  caFile: string,
  tokens: Tokens,
): Promise<void> {
  for (const user of USERS) {
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'cluster', cluster: { server: url, 'certificate-authority': caFile } }],
      users: [{ name: user, user: { token: tokens[user] } }],
      contexts: [{ name: user, context: { cluster: 'cluster', user } }],
      'current-context': user,
    };
    await writeFile(kubeconfigPath(dir, user), JSON.stringify(config, null, 2), { mode: 0o600 });
  }
}
