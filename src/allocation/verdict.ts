import { namedNumbers } from '../api/holdings.ts';
import { FIELD_MANAGER } from '../api/names.ts';
import type { Verdict } from '../api/reasons.ts';
import type { ServicePort } from '../api/service.ts';
import { quote } from '../api/text.ts';
import { format, has, type Port } from '../ports/portSet.ts';
import { admitsLabels, admitsNamespace, type Range } from './range.ts';
import type { Situation, Slot } from './situation.ts';
import type { PortGrant } from './types.ts';
import { temporarilyOn } from './words.ts';

/** A range may have thousands of spans' text; a sentence needs the first few. */
const SPANS_SHOWN = 120;

/** What a Service that is served shall show. Depends on the present alone, so that deciding again says the same. */
export function servedVerdict(situation: Situation, name: string, grants: readonly PortGrant[]): Verdict {
  const holds = `holds ${namedNumbers(pairsOf(grants))}`;
  for (const { number } of grants) {
    const why = whyOutside(situation, name, number);
    if (why !== undefined) return { reason: 'HeldOutOfRange', message: `${holds} outside ${name}: ${why}` };
  }
  return { reason: servedReason(situation, grants), message: `${holds} from ${name}` };
}

function pairsOf(held: readonly Pick<Slot, 'ports' | 'number'>[]): (readonly [ServicePort, Port])[] {
  const pairs: (readonly [ServicePort, Port])[] = [];
  for (const { ports, number } of held) for (const port of ports) pairs.push([port, number]);
  return pairs;
}

/** Adopted: nothing was written. `Assigned` stays once it is shown for these numbers; else our mark on one tells. */
function servedReason({ service, told }: Situation, grants: readonly PortGrant[]): 'Assigned' | 'Adopted' {
  const unchanged = grants.every(({ number, ports }) => ports.every(({ nodePort }) => nodePort === number));
  if (!unchanged) return 'Assigned';
  const isTold = grants.every(({ number }) => told.includes(number));
  if (isTold && service.condition?.reason === 'Assigned') return 'Assigned';
  return service.ports.some(({ owner }) => owner === FIELD_MANAGER) ? 'Assigned' : 'Adopted';
}

/** Why the range would not give this number now; undefined: it would. */
function whyOutside(situation: Situation, name: string, number: Port): string | undefined {
  const { service, namespace } = situation;
  const range = situation.ranges.get(name);
  if (range === undefined) return `PortRange ${quote(name)} does not exist`;
  if (!admitsNamespace(range, service.namespace, namespace))
    return `${name} does not admit namespace ${service.namespace}`;
  if (!admitsLabels(range, service)) return `${name} does not admit Services with these labels`;
  if (has(range.effective, number)) return undefined;
  const claim = situation.slots.find((slot) => slot.number === number)?.claim;
  return claim === undefined ? placeOf(range, number) : `${placeOf(range, number)}, ${claim}`;
}

/** Why a number is not among what the range can give. */
export function placeOf(range: Range, number: Port): string {
  if (!has(range.declared, number)) {
    const ports = format(range.declared);
    const shown = ports.length > SPANS_SHOWN ? `${ports.slice(0, SPANS_SHOWN)}…` : ports;
    return `${range.name} (${shown}) does not contain ${number}`;
  }
  if (range.beyondNodePorts !== undefined && has(range.beyondNodePorts, number)) {
    return `${number} lies outside the node port range of the apiserver`;
  }
  const older = range.losesTo.find(({ spans }) => has(spans, number));
  return older === undefined
    ? `${range.name} excludes ${number}`
    : `${number} belongs to the older PortRange ${older.name}`;
}

/** Who has a wanted number. */
export function holderOf({ ledger, service, owner }: Situation, port: Port): string {
  if (port === service.healthCheckNodePort) return `${port} is the healthCheckNodePort of the Service itself`;
  const holding = ledger.holding(port);
  switch (holding?.by) {
    case 'service':
      return holding.owner.uid === owner.uid
        ? `${port} stays with another port of the Service`
        : `${port} is held by ${holding.owner.key}`;
    case 'reservation':
      // As good as held, and a moment later it is: who waits is not told twice.
      return `${port} is held by ${holding.owner.key}`;
    case 'cooldown':
      return `${port} rests until ${new Date(holding.until).toISOString()} for its last owner ${holding.last.key}`;
    case 'refusal':
      return `${port} is allocated, says the apiserver, although no Service shows it`;
    case 'unreadable':
      return `${port} is in a block of the table that cannot be read`;
    case undefined:
      return `${port} goes first to a Service that asked for it before`;
  }
}

/** What a refused Service shows: what it holds all the same, what is missing and why, and where it is meanwhile. */
export function refusalMessage({ slots, grantedFrom, ranges }: Situation, objection: string): string {
  const held = slots.filter(({ state }) => state === 'held');
  const random = slots.flatMap(({ state, number, ports }) =>
    ports
      .map(({ nodePort }) => nodePort)
      .filter((port) => port !== 0 && (state === 'random' || port !== number)),
  );
  const list = (some: readonly Slot[]): string => namedNumbers(pairsOf(some));
  const isInside = ({ number }: Slot): boolean => {
    const range = ranges.get(grantedFrom ?? '');
    return range !== undefined && has(range.effective, number);
  };
  const holds = `holds ${list(held)} ${held.every(isInside) ? 'from' : 'outside'} ${grantedFrom ?? 'any'}; `;
  const meanwhile = random.length === 0 ? '' : `; ${temporarilyOn(new Set(random))}`;
  return `${held.length === 0 ? '' : holds}${objection}${meanwhile}`;
}
