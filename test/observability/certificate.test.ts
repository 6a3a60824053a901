import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type PeerCertificate, rootCertificates, type TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { type Certificate, certificateIn } from '../../src/observability/certificate.ts';
import { serve } from '../../src/observability/health.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { selfSigned } from '../../src/observability/selfSigned.ts';
import { manualClock } from '../support/manualClock.ts';

const NOW = Date.parse('2026-11-21T08:00:00Z');
const NAMES = ['localhost', 'nodeport-manager-metrics.system.svc'] as const;
const log = createLogger({ level: 'error', format: 'json' });

test('a self-signed certificate says what it is for, and is its own authority', () => {
  const { cert, key } = selfSigned(NAMES, NOW);
  const read = new X509Certificate(cert);
  expect(read.subject).toBe('CN=localhost');
  expect(read.issuer).toBe(read.subject);
  expect(read.subjectAltName).toBe('DNS:localhost, DNS:nodeport-manager-metrics.system.svc');
  expect(read.verify(read.publicKey)).toBe(true);
  expect(read.validFromDate.toISOString()).toBe('2026-11-21T07:55:00.000Z');
  expect(read.validToDate.toISOString()).toBe('2036-11-18T08:00:00.000Z');
  expect(key).toContain('PRIVATE KEY');
});

test('two of them have nothing in common but what they say', () => {
  const [one, other] = [selfSigned(NAMES, NOW), selfSigned(NAMES, NOW)];
  expect(new X509Certificate(one.cert).serialNumber).not.toBe(new X509Certificate(other.cert).serialNumber);
  expect(one.key).not.toBe(other.key);
});

test('a long name, and a time after 2049, are written as they must be', () => {
  const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}`;
  const { cert } = selfSigned(
    [long, ...Array.from({ length: 20 }, (_, i) => `${i}.${long}`)],
    Date.UTC(2045),
  );
  const read = new X509Certificate(cert);
  expect(read.checkHost(`19.${long}`)).toBe(`19.${long}`);
  expect(read.validToDate.getUTCFullYear()).toBe(2054);
});

/** Serves with what `certificate` gives; `look`: the one that a new connection gets. */
async function served(certificate: () => Certificate) {
  const { port, close } = await serve('127.0.0.1:0', () => ({ status: 200, body: 'ok\n' }), certificate);
  onTestFinished(close);
  return {
    port,
    look: (options: object = {}): Promise<PeerCertificate> =>
      new Promise((resolve, reject) => {
        const socket: TLSSocket = connect({ port, host: '127.0.0.1', servername: 'localhost', ...options });
        socket.once('error', reject);
        socket.once('secureConnect', () => {
          resolve(socket.getPeerCertificate());
          socket.destroy();
        });
      }),
  };
}

test('a client that trusts the self-signed certificate verifies it; another refuses it', async () => {
  const made = selfSigned(NAMES, Date.now());
  const { look } = await served(() => made);
  expect((await look({ ca: made.cert })).subject.CN).toBe('localhost');
  await expect(look({ ca: [...rootCertificates] })).rejects.toThrow(/self.signed/i);
});

test('TLS before 1.2 is refused', async () => {
  const made = selfSigned(NAMES, Date.now());
  const { look } = await served(() => made);
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0', ca: made.cert };
  await expect(look(old)).rejects.toThrow(/protocol version|unsupported|alert/i);
  await expect(look({ maxVersion: 'TLSv1.2', ca: made.cert })).resolves.toBeDefined();
});

test('who speaks no TLS is cut off, and the server goes on', async () => {
  const made = selfSigned(NAMES, Date.now());
  const { port, look } = await served(() => made);
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  await expect(look({ ca: made.cert })).resolves.toBeDefined();
});

async function folderWith(certificate: Certificate) {
  const folder = await mkdtemp(join(tmpdir(), 'certificate-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const put = async ({ cert, key }: Partial<Certificate>): Promise<void> => {
    if (cert !== undefined) await writeFile(join(folder, 'tls.crt'), cert);
    if (key !== undefined) await writeFile(join(folder, 'tls.key'), key);
  };
  await put(certificate);
  return { folder, put };
}

test('a renewed certificate is served to the next connection, half of one is not', async () => {
  const [old, renewed] = [selfSigned(NAMES, Date.now()), selfSigned(NAMES, Date.now())];
  const { folder, put } = await folderWith(old);
  const clock = manualClock();
  const { look } = await served(certificateIn(folder, { clock, log }));
  const serial = async (trusted: Certificate): Promise<string> => {
    clock.advance(1_000);
    return (await look({ ca: trusted.cert })).serialNumber;
  };
  const numberOf = ({ cert }: Certificate): string => new X509Certificate(cert).serialNumber;
  expect(await serial(old)).toBe(numberOf(old));
  await put({ cert: renewed.cert });
  expect(await serial(old)).toBe(numberOf(old));
  await put({ key: renewed.key });
  expect(await serial(renewed)).toBe(numberOf(renewed));
  await rm(folder, { recursive: true });
  expect(await serial(renewed)).toBe(numberOf(renewed));
});

test('a folder is looked at once a second, however many connect', async () => {
  const { folder, put } = await folderWith(selfSigned(NAMES, Date.now()));
  const clock = manualClock();
  const certificate = certificateIn(folder, { clock, log });
  const before = certificate();
  await put(selfSigned(NAMES, Date.now()));
  clock.advance(999);
  expect(certificate()).toBe(before);
  clock.advance(1);
  const now = certificate();
  expect(now).not.toBe(before);
  expect(now.cert).toBe(await readFile(join(folder, 'tls.crt'), 'utf8'));
});

test('without a certificate to begin with, the folder and what is wrong are named', async () => {
  const parts = { clock: manualClock(), log };
  expect(() => certificateIn('/nowhere', parts)).toThrow(/'\/nowhere': ENOENT.*tls.crt/);
  const { folder, put } = await folderWith(selfSigned(NAMES, NOW));
  await put({ key: selfSigned(NAMES, NOW).key });
  expect(() => certificateIn(folder, parts)).toThrow(/tls.crt and tls.key of '.*': .*mismatch/);
  await put({ cert: 'no PEM' });
  expect(() => certificateIn(folder, parts)).toThrow(`of '${folder}'`);
});
