import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the numbers that the system gives to outgoing connections (32768 and up on Linux, 49152 elsewhere): a client
 * that retries a closed loopback port of that range can be given the very same number and connect to itself.
 * Below 30000, so that it is never mistaken for a node port.
 */
const LOWEST = 20_000;
const HIGHEST = 29_999;
const TRIES = 100;

/** A loopback port that was free a moment ago: whoever binds it must be ready to try another. Throws when all are taken. */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < TRIES; tried += 1) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    if (await isFree(port)) return port;
  }
  throw new Error(
    `no free port on 127.0.0.1 among ${TRIES} tried from ${LOWEST} to ${HIGHEST}: end what uses them`,
  );
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen({ port, host: '127.0.0.1' });
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
