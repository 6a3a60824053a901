/**
 * Who gets which port. The two chains of checks are the specification; each check is a few lines in this file.
 * Pure: the same snapshot gives the same decision, and a decision that was carried out gives `keep` next time.
 */
import type { Reason } from '../api/reasons.ts';
import { quote } from '../api/text.ts';
import { planFor } from './plan.ts';
import { admits, needsLabels, type Range } from './range.ts';
import { readRequest } from './request.ts';
import { type Situation, type Slot, situationOf } from './situation.ts';
import type { Decision, Malformed, PortGrant, Request, Snapshot } from './types.ts';
import { refusalMessage, servedVerdict } from './verdict.ts';

/** Why a range does not serve the Service. */
interface Objection {
  readonly reason: Reason;
  readonly message: string;
  /** Set when free numbers of this range would help. */
  readonly waitsFor?: string;
  readonly need?: number;
}

/** In the order a person would ask. The first that decides ends it; a holder is settled before ranges are asked anything. */
const aboutTheService = [hasNodePorts, keepsWhatItHolds];

/** For each range asked for, in order; the first without objection that finds ports wins. */
const aboutARange = [admitsTheNamespace, isNotPaused];

export function decide(snapshot: Snapshot): Decision {
  const request = readRequest(snapshot.service);
  if (request === null) return { do: 'ignore' };
  if (isMalformed(request)) return refuseMalformed(snapshot, request);
  const situation = situationOf(snapshot, request);
  for (const check of aboutTheService) {
    const decision = check(situation);
    if (decision !== undefined) return decision;
  }
  return askRanges(situation);
}

export function isMalformed(request: Request | Malformed): request is Malformed {
  return 'malformed' in request;
}

/** Bad input changes nothing: what the Service holds, it keeps. */
function refuseMalformed(snapshot: Snapshot, { malformed }: Malformed): Decision {
  const situation = situationOf(snapshot, { ranges: [], text: '' });
  return refuse(situation, { reason: 'InvalidRequest', message: malformed });
}

function hasNodePorts(situation: Situation): Decision | undefined {
  const { service, slots } = situation;
  const may = service.type === 'NodePort' || service.type === 'LoadBalancer';
  if (may && slots.length > 0) return undefined;
  const message = may
    ? 'allocateLoadBalancerNodePorts is false, and no port names a nodePort'
    : `a Service of type ${quote(service.type)} has no node ports`;
  return refuse(situation, { reason: 'NoNodePorts', message });
}

function keepsWhatItHolds(situation: Situation): Decision | undefined {
  const { slots, requestChanged, request, grantedFrom } = situation;
  const settled = slots.every(
    ({ state, ports, number }) => state === 'held' && ports.every((p) => p.nodePort === number),
  );
  if (requestChanged || !settled) return undefined;
  const range = grantedFrom ?? request.ranges[0] ?? '';
  const grants = slots.map(grantOf);
  return {
    do: 'keep',
    range,
    request: request.text,
    grants,
    verdict: servedVerdict(situation, range, grants),
  };
}

function askRanges(situation: Situation): Decision {
  const objections: Objection[] = [];
  for (const name of situation.request.ranges) {
    const answer = askRange(situation, name);
    if ('do' in answer) return answer;
    objections.push(answer);
  }
  const [first = { reason: 'RangeNotFound', message: 'no PortRange to ask' } satisfies Objection] =
    objections;
  return refuse(situation, { ...first, message: objections.map(({ message }) => message).join('; ') });
}

function askRange(situation: Situation, name: string): Decision | Objection {
  const range = situation.ranges.get(name);
  if (range === undefined)
    return { reason: 'RangeNotFound', message: `PortRange ${quote(name)} does not exist` };
  for (const check of aboutARange) {
    const objection = check(situation, range);
    if (objection !== undefined) return objection;
  }
  const plan = planFor(situation, range);
  if ('lacks' in plan) {
    const { need, lacks } = plan;
    const message = `${name} has too few free ports: ${lacks} needed`;
    return { reason: 'RangeExhausted', message, waitsFor: name, need };
  }
  const { grants, leaves } = plan;
  return {
    do: 'assign',
    range: name,
    request: situation.request.text,
    grants,
    leaves,
    verdict: servedVerdict(situation, name, grants),
  };
}

function admitsTheNamespace({ service, namespace }: Situation, range: Range): Objection | undefined {
  if (admits(range, service.namespace, namespace)) return undefined;
  if (namespace === undefined && needsLabels(range, service.namespace)) {
    return { reason: 'Pending', message: `waits for the labels of namespace ${service.namespace}` };
  }
  return {
    reason: 'NotAdmitted',
    message: `PortRange ${range.name} does not admit namespace ${service.namespace}`,
  };
}

function isNotPaused(_: Situation, range: Range): Objection | undefined {
  return range.paused ? { reason: 'RangePaused', message: `PortRange ${range.name} is paused` } : undefined;
}

function refuse(situation: Situation, { reason, message, waitsFor, need = 0 }: Objection): Decision {
  const { slots, request, grantedFrom: range = '', honoured = request.text } = situation;
  const grants = slots.filter(({ state }) => state === 'held').map(grantOf);
  return {
    do: 'refuse',
    range: request.ranges[0] ?? '',
    verdict: { reason, message: refusalMessage(situation, message) },
    waitsFor: waitsFor === undefined ? [] : [`range/${waitsFor}`],
    need,
    ...(grants.length === 0 ? {} : { holds: { range, request: honoured, grants } }),
  };
}

function grantOf({ number, ports }: Slot): PortGrant {
  return { number, ports: ports.filter(({ nodePort }) => nodePort === number) };
}
