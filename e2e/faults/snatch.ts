import { ApiError, type Client } from '../cluster/client.ts';
import { service } from '../support/objects.ts';
import type { Faults } from './proxy.ts';
import type { Passing } from './passing.ts';
import type { RealStep } from './scenario.ts';

/** The number of a Service that the request writes; undefined: it writes none. */
export function numberIn({ resource, method, body }: Passing): number | undefined {
  if (resource !== 'services' || method !== 'PATCH') return undefined;
  const operations = JSON.parse(body) as { path: string; value: unknown }[];
  const operation = operations.find(({ path }) => path.endsWith('/nodePort'));
  return operation === undefined ? undefined : Number(operation.value);
}

/** Native allocation is quicker: a stranger is created with that number just before. False: somebody has it already. */
export async function snatch(client: Client, key: string, nodePort: number): Promise<boolean> {
  const [namespace] = key.split('/');
  const ports = [{ name: 'http', port: 80, nodePort }];
  try {
    await client.create(`/api/v1/namespaces/${namespace}/services`, service(key, { ports }));
    return true;
  } catch (error) {
    if (!(error instanceof ApiError && [409, 422].includes(error.status))) throw error;
    return false;
  }
}

/** Once, for the Service that the step names. */
export function snatching(client: Client, { snatched }: RealStep): NonNullable<Faults['onWrite']> {
  let isDone = false;
  return async (now, passing) => {
    const number = numberIn(passing);
    if (isDone || now !== 'before' || passing.object !== snatched || number === undefined) return;
    isDone = true;
    await snatch(client, 'b/snatcher', number);
  };
}
