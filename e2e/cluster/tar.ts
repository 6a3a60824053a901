const BLOCK = 512;

/**
 * The contents of the regular files in an uncompressed tar archive whose base name is in `wanted`, by base name.
 * Our own few lines, because not every machine that runs tests has a tar program, and all we read is envtest's.
 * Throws when the archive ends in the middle of a file.
 */
export function filesFromTar(archive: Uint8Array, wanted: readonly string[]): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const header = archive.subarray(at, at + BLOCK);
    const name = text(header, 0, 100);
    if (name === '') break;
    const size = Number.parseInt(text(header, 124, 12).trim() || '0', 8);
    const end = at + BLOCK + size;
    if (!(end <= archive.length)) throw new Error(`the archive ends in the middle of ${name}`);
    const type = text(header, 156, 1);
    const base = name.slice(name.lastIndexOf('/') + 1);
    if ((type === '0' || type === '') && wanted.includes(base))
      found.set(base, archive.subarray(at + BLOCK, end));
    at = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return found;
}

function text(header: Uint8Array, start: number, length: number): string {
  const field = Buffer.from(header.subarray(start, start + length)).toString('latin1');
  const end = field.indexOf('\0');
  return end === -1 ? field : field.slice(0, end);
}
