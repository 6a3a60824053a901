import { FIELD_MANAGER } from '../api/names.ts';
import { isKubeError } from '../kube/errors.ts';
import type { KubeObject, Transport } from '../kube/transport.ts';
import { blockObject, type BlockView, toBlockView } from './table.ts';

/** Blocks of the table on the apiserver. All throw KubeErrors. */
export interface TableApi {
  /** undefined: there is none. */
  read(name: string): Promise<BlockView | undefined>;
  /** Replaces the block at this resourceVersion, or creates it: never both. Returns its new resourceVersion. */
  write(block: {
    name: string;
    stamp: string;
    resourceVersion: string | undefined;
    data: Readonly<Record<string, string>>;
  }): Promise<string>;
  /** Writes the raw text of a block that cannot be read beside the table, once. Returns the copy's name. */
  keepAside(unreadable: BlockView): Promise<string>;
}

export function createTableApi(options: {
  transport: Transport;
  namespace: string;
  signal: AbortSignal;
}): TableApi {
  const { transport, namespace, signal } = options;
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const query = { fieldManager: FIELD_MANAGER };
  return {
    async read(name) {
      try {
        return toBlockView(await transport.request({ method: 'GET', path: `${path}/${name}`, signal }));
      } catch (error) {
        if (isKubeError(error, 'NotFound')) return undefined;
        throw error;
      }
    },
    async write({ name, stamp, resourceVersion, data }) {
      const known = resourceVersion === undefined ? {} : { resourceVersion };
      const body = blockObject({ namespace, name, stamp, data, ...known });
      const request =
        resourceVersion === undefined
          ? ({ method: 'POST', path } as const)
          : ({ method: 'PUT', path: `${path}/${name}` } as const);
      const { metadata } = await transport.request<KubeObject>({ ...request, query, body, signal });
      return metadata.resourceVersion;
    },
    async keepAside(unreadable) {
      const name = `${unreadable.name}-corrupt-${unreadable.resourceVersion}`;
      const metadata = { namespace, name, labels: { 'app.kubernetes.io/managed-by': 'nodeport-manager' } };
      const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: unreadable.data };
      try {
        await transport.request({ method: 'POST', path, query, body, signal });
      } catch (error) {
        if (!isKubeError(error, 'AlreadyExists')) throw error;
      }
      return name;
    },
  };
}
