/**
 * A self-signed certificate, made at start where none is given. Nobody can know it before, so it proves nothing to who
 * scrapes; it keeps tokens and figures from being read on the way. Node.js can sign but writes no certificates: this is
 * the least of RFC 5280 that one needs, in DER.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { Certificate } from './certificate.ts';

const TAG = {
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  utf8: 0x0c,
  shortTime: 0x17,
  time: 0x18,
  sequence: 0x30,
  set: 0x31,
};
/** Context-specific: [0] and [3] of the certificate, [2] of a GeneralName. */
const [VERSION, EXTENSIONS, DNS_NAME] = [0xa0, 0xa3, 0x82];

/** Object identifiers, whole. */
const OID = {
  ecdsaWithSha256: Buffer.from('06082a8648ce3d040302', 'hex'),
  commonName: Buffer.from('0603550403', 'hex'),
  subjectAltName: Buffer.from('0603551d11', 'hex'),
};

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 24 * 60 * MINUTE_MS;
/** It ends with the process; that a long-lived one had an expired certificate would help nobody. */
const YEARS = 10;

/** @param names DNS names, the first of them as its subject */
export function selfSigned(names: readonly [string, ...string[]], now: number): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const algorithm = der(TAG.sequence, OID.ecdsaWithSha256);
  const name = der(
    TAG.sequence,
    der(TAG.set, der(TAG.sequence, OID.commonName, der(TAG.utf8, Buffer.from(names[0])))),
  );
  const alternatives = der(TAG.sequence, ...names.map((each) => der(DNS_NAME, Buffer.from(each))));
  const content = der(
    TAG.sequence,
    der(VERSION, der(TAG.integer, Buffer.of(2))),
    der(TAG.integer, serial()),
    algorithm,
    name,
    // A few minutes back, for clocks that are behind.
    der(TAG.sequence, time(now - 5 * MINUTE_MS), time(now + YEARS * YEAR_MS)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(EXTENSIONS, der(TAG.sequence, der(TAG.sequence, OID.subjectAltName, der(TAG.octets, alternatives)))),
  );
  const signature = der(TAG.bits, Buffer.of(0), sign('sha256', content, privateKey));
  return {
    cert: pem('CERTIFICATE', der(TAG.sequence, content, algorithm, signature)),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/** Tag, length, value. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(parts);
  const { length } = value;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), value]);
  const digits = length < 0x100 ? Buffer.of(length) : Buffer.of(length >>> 8, length & 0xff);
  return Buffer.concat([Buffer.of(tag, 0x80 | digits.length), digits, value]);
}

/** Positive, and not 0 at its begin. */
function serial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes;
}

/** `261121080000Z`, and from 2050 on with all digits of the year, as RFC 5280 has it. */
function time(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().replace(/\D/g, '').slice(0, 14)}Z`;
  return text < '2050' ? der(TAG.shortTime, Buffer.from(text.slice(2))) : der(TAG.time, Buffer.from(text));
}

function pem(what: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${what}-----`, ...lines, `-----END ${what}-----`, ''].join('\n');
}
