import type { Millis } from './clock.ts';
import type { Transport } from './request.ts';

/** What the apiserver says of a token: nobody's, of somebody who may not, of somebody who may. */
export type Review = 'unknown' | 'denied' | 'allowed';

/** Who asks waits for the answer, and Prometheus gives up after 10 s. */
const TIMEOUT_MS: Millis = 5_000;

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

interface SubjectAccessReview {
  readonly status?: { readonly allowed?: boolean; readonly denied?: boolean };
}

/**
 * Whether who has this token may GET a path that is no resource, such as `/metrics`: two questions to the apiserver,
 * TokenReview and SubjectAccessReview. Everything but a clear yes is a no.
 * @throws KubeError when the apiserver cannot be asked, or we may not ask it
 */
export async function reviewGet(transport: Transport, token: string, path: string): Promise<Review> {
  const review = await create<TokenReview>(transport, 'authentication.k8s.io', 'TokenReview', { token });
  const { authenticated, user } = review.status ?? {};
  if (authenticated !== true || user?.username === undefined) return 'unknown';
  const { username, uid, groups, extra } = user;
  const access = await create<SubjectAccessReview>(transport, 'authorization.k8s.io', 'SubjectAccessReview', {
    user: username,
    uid,
    groups,
    extra,
    nonResourceAttributes: { path, verb: 'get' },
  });
  return access.status?.allowed === true && access.status.denied !== true ? 'allowed' : 'denied';
}

function create<T>(transport: Transport, group: string, kind: string, spec: object): Promise<T> {
  return transport.request<T>({
    method: 'POST',
    path: `/apis/${group}/v1/${kind.toLowerCase()}s`,
    body: { apiVersion: `${group}/v1`, kind, spec },
    timeoutMs: TIMEOUT_MS,
  });
}
