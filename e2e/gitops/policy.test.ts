import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { useWorld } from '../support/world.ts';
import { argocd, argocdReplace, argocdServerSide, flux, manifestOf, type Tool } from './tools.ts';

const POLICY = join(import.meta.dirname, '../../config/policy');

/** All numbers that the apiserver has belong to a PortRange, so that every random pick lies in it. */
const world = useWorld(
  async (w) => {
    await w.namespace('a-dev');
    await w.namespace('b-dev');
    await w.kubectl(`apply -k ${POLICY}`);
    await w.start();
    await w.range('team-a', 31_000, 31_400, { namespaces: ['a-dev'] });
    await w.rangeShows('team-a', { capacity: 401 });
    let tries = 0;
    await eventually(async () => {
      const named = syncs(argocd, `b-dev/tries-${(tries += 1)}`, 31_100 + tries);
      await expect(named).rejects.toThrow('belongs to the PortRange team-a');
    });
  },
  { nodePortRange: '31000-31400' },
);

function syncs(tool: Tool, key: string, nodePort?: number | null): Promise<void> {
  const named = nodePort === undefined ? {} : { nodePort };
  const ports = [{ name: 'http', port: 80, protocol: 'TCP', ...named }];
  return tool.sync(world(), manifestOf(key, { ports, range: null }));
}

const TOOLS = [argocd, argocdServerSide, argocdReplace, flux].map((tool) => [tool.name, tool] as const);

test.each(TOOLS)(
  'with the policy, %s applies a Service that names no number, again and again',
  async (name, tool) => {
    for (let i = 0; i < 3; i += 1) await syncs(tool, `b-dev/${name}`);
    expect(await world().port(`b-dev/${name}`)).toBeGreaterThan(0);
  },
);

test.each(TOOLS.filter(([, tool]) => tool !== argocdServerSide))(
  'with the policy, an empty nodePort applied by %s is no number that somebody named',
  async (name, tool) => {
    for (let i = 0; i < 3; i += 1) await syncs(tool, `b-dev/${name}-empty`, null);
    expect(await world().port(`b-dev/${name}-empty`)).toBeGreaterThan(0);
  },
);

test('with the policy, an empty nodePort applied server-side counts as named, whatever the apiserver picks', async () => {
  for (const nodePort of [null, 0]) {
    const refused = syncs(argocdServerSide, `b-dev/empty-${nodePort}`, nodePort);
    await expect(refused).rejects.toThrow('belongs to the PortRange team-a');
  }
});
