import { build, type Plugin } from 'esbuild';
import packageJson from '../package.json' with { type: 'json' };

/**
 * What is never called need not be shipped, parsed and kept in memory: half of the bundle. Both packages import it at
 * their root, so that no bundler can tell.
 */
const unused: Plugin = {
  name: 'unused',
  setup({ onResolve, onLoad }) {
    // Fetch, WebSockets, caches and mocks hang on undici's root; ours is a Pool, and KubeConfig calls nothing of it
    // for the TLS options and headers that we ask it for.
    onResolve({ filter: /^undici$/ }, ({ resolveDir }) => ({ path: resolveDir, namespace: 'pool' }));
    onLoad({ filter: /.*/, namespace: 'pool' }, ({ path }) => ({
      resolveDir: path,
      contents: `
        const Dispatcher = require('undici/lib/dispatcher/dispatcher.js');
        Object.assign(Dispatcher.prototype, require('undici/lib/api/index.js'));
        exports.Pool = require('undici/lib/dispatcher/pool.js');`,
    }));
    // A client for each API of Kubernetes, made by KubeConfig.makeApiClient: we speak HTTP ourselves.
    onResolve({ filter: /^\.\/(gen\/index|middleware)\.js$/ }, ({ importer }) =>
      importer.endsWith('client-node/dist/config.js') ? { path: 'none', namespace: 'none' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'module.exports = {}' }));
  },
};

/** One minified file, so that an image needs nothing but Node: no node_modules, no install step. */
await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/nodeport-manager.js',
  bundle: true,
  minify: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [unused],
  define: { 'process.env.NODEPORT_MANAGER_BUILD_VERSION': JSON.stringify(packageJson.version) },
  // Some dependencies are CommonJS and call require() for Node's own modules.
  banner: {
    js: "#!/usr/bin/env node\nif (Number(process.versions.node.split('.')[0]) < 24) { console.error(`nodeport-manager needs Node.js 24 or newer, this is ${process.version}`); process.exit(2); }\nimport { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});
