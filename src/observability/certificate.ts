import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Logger } from 'pino';
import type { Clock, Millis } from '../kube/clock.ts';

/** PEM texts. */
export interface Certificate {
  /** The server's own, and after it those that lead to its authority. */
  readonly cert: string;
  readonly key: string;
}

/** Looking costs two small reads, and connections may come in any number. */
const LOOK_EVERY_MS: Millis = 1_000;

/**
 * The certificate in `tls.crt` and `tls.key` of a folder, as a Secret is mounted. Asked for each connection: what was
 * renewed is served from then on. Files that do not make a pair, because one of them is just being replaced, do not
 * replace one that works.
 * @throws Error that names the folder, when there is no certificate to begin with
 */
export function certificateIn(folder: string, parts: { clock: Clock; log: Logger }): () => Certificate {
  let current = read(folder);
  let lookedAt = parts.clock.monotonic();
  let complaint = '';
  return () => {
    const now = parts.clock.monotonic();
    if (now - lookedAt < LOOK_EVERY_MS) return current;
    lookedAt = now;
    try {
      const found = read(folder);
      complaint = '';
      if (found.cert !== current.cert || found.key !== current.key) {
        current = found;
        parts.log.info({ folder, validTo: validTo(found) }, 'certificate of /metrics renewed');
      }
    } catch (error) {
      const said = String(error);
      if (said !== complaint) parts.log.warn({ error: said }, 'certificate of /metrics not renewed');
      complaint = said;
    }
    return current;
  };
}

function read(folder: string): Certificate {
  try {
    const [cert, key] = ['tls.crt', 'tls.key'].map((name) => readFileSync(join(folder, name), 'utf8'));
    const found = { cert: cert ?? '', key: key ?? '' };
    // Throws when they are no PEM, or no pair.
    createSecureContext(found);
    return found;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`no certificate with its key in tls.crt and tls.key of '${folder}': ${why}`, { cause });
  }
}

function validTo({ cert }: Certificate): string {
  return new X509Certificate(cert).validToDate.toISOString();
}
