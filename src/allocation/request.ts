import { ANNOTATION } from '../api/names.ts';
import type { ServiceView } from '../api/service.ts';
import { quote } from '../api/text.ts';
import type { Malformed, Request } from './types.ts';

/** DNS-1123 label, which a PortRange's name must be. */
const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Annotations that are reserved but not acted on yet: refusing them is kinder than ignoring them. */
const NOT_YET = [ANNOTATION.ports, ANNOTATION.contiguous, ANNOTATION.expose];

/** Reads what a Service asks for. null: it asks for nothing and is unmanaged. */
export function readRequest(service: ServiceView): Request | Malformed | null {
  const range = service.annotations[ANNOTATION.range];
  if (range?.trim() === 'none') return null;
  for (const name of NOT_YET) {
    const text = service.annotations[name];
    if (text !== undefined) {
      return { malformed: `this version does not act on ${name}: ${quote(text)}; remove the annotation` };
    }
  }
  return range === undefined ? null : readRange(range.trim());
}

function readRange(name: string): Request | Malformed {
  if (name === '') return { malformed: `${ANNOTATION.range} is empty: name a PortRange, or remove it` };
  if (name === 'auto' || name.includes(',')) {
    return { malformed: `${ANNOTATION.range}: ${quote(name)}: this version takes the name of one PortRange` };
  }
  if (!NAME.test(name)) {
    return {
      malformed: `${ANNOTATION.range}: ${quote(name)} is not the name of a PortRange (lowercase letters, digits and "-", at most 63)`,
    };
  }
  return { ranges: [name], text: `range=${name}` };
}
