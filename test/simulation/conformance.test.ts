import { describe, test } from 'vitest';
import { createApiserver } from './apiserver.ts';
import { type Call, CASES } from './conformance.ts';

describe('the simulated apiserver', () => {
  let picks = 0;
  const server = createApiserver({
    nodePorts: [30_000, 30_299],
    now: () => Date.UTC(2026, 0, 1),
    random: () => ((picks += 7) % 100) / 100,
  });
  const call: Call = (method, path, body, contentType) => {
    const request = { method, path, contentType: contentType ?? 'application/json' };
    return Promise.resolve(
      server.handle(body === undefined ? request : { ...request, body: JSON.stringify(body) }),
    );
  };

  test.each(Object.entries(CASES))('%s', (_, run) => run(call));
});
