import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';

const MANIFEST = join(import.meta.dirname, '../config/manager/manager.yaml');

interface Container {
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly resources: { readonly limits: { readonly memory: string } };
}

/** Beside the old generation: the young one, code, buffers, stacks. */
const REST_MIB = 96;

test('the heap is bounded by the container’s memory, with room for what is not heap', () => {
  const objects = parseAllDocuments(readFileSync(MANIFEST, 'utf8')).map((document) => document.toJS());
  const deployment = objects.find(({ kind }) => kind === 'Deployment') as {
    spec: { template: { spec: { containers: readonly Container[] } } };
  };
  const [container] = deployment.spec.template.spec.containers;
  const options = container?.env.find(({ name }) => name === 'NODE_OPTIONS')?.value ?? '';
  const heap = Number(/--max-old-space-size=(\d+)/.exec(options)?.[1]);
  const limit = Number(/^(\d+)Mi$/.exec(container?.resources.limits.memory ?? '')?.[1]);
  expect(heap + REST_MIB).toBeLessThanOrEqual(limit);
});
