import { defineConfig } from 'vitest/config';

/**
 * Two kinds of tests: `unit` needs nothing, `e2e` runs the bundle against a real kube-apiserver and etcd,
 * which its set-up obtains and builds once. Every e2e file starts a control plane of its own.
 */
export default defineConfig({
  test: {
    reporters: ['default', './test/support/plainLineReporter.ts'],
    projects: [
      { test: { name: 'unit', include: ['test/**/*.test.ts'], testTimeout: 20_000 } },
      {
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          globalSetup: ['e2e/setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
        },
      },
    ],
  },
});
