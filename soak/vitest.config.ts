import { defineConfig } from 'vitest/config';

/** One long run, for `make soak`: no part of the suite. */
export default defineConfig({
  test: {
    include: ['soak/soak.ts'],
    globalSetup: ['e2e/setup.ts'],
    reporters: ['verbose'],
    disableConsoleIntercept: true,
    hookTimeout: 600_000,
  },
});
