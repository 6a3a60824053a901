import { build } from 'esbuild';
import packageJson from '../package.json' with { type: 'json' };

/** One minified file, so that an image needs nothing but Node: no node_modules, no install step. */
await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/nodeport-manager.js',
  bundle: true,
  minify: true,
  keepNames: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  legalComments: 'none',
  logLevel: 'warning',
  define: { 'process.env.NODEPORT_MANAGER_BUILD_VERSION': JSON.stringify(packageJson.version) },
  // Some dependencies are CommonJS and call require() for Node's own modules.
  banner: {
    js: "#!/usr/bin/env node\nif (Number(process.versions.node.split('.')[0]) < 24) { console.error(`nodeport-manager needs Node.js 24 or newer, this is ${process.version}`); process.exit(2); }\nimport { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});
