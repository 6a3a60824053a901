/**
 * Who gets which port. The two chains of checks are the specification; each check is a few lines in this file.
 * Pure: the same snapshot gives the same decision, and a decision that was carried out gives `keep` next time.
 */
import type { Reason, Verdict } from '../api/reasons.ts';
import { quote } from '../api/text.ts';
import { has } from '../ports/portSet.ts';
import type { CheckName } from './checks.ts';
import { concerns } from './entry.ts';
import { type Plan, planFor } from './plan.ts';
import { admits, admitsNamespace, type Range } from './range.ts';
import { isMalformed, readRequest, rangesAsked } from './request.ts';
import { type Situation, type Slot, situationOf } from './situation.ts';
import type { Decision, Malformed, PortGrant, Request, Snapshot, WaitKey } from './types.ts';
import { holderOf, placeOf, refusalMessage, servedVerdict } from './verdict.ts';

/** Why a range does not serve the Service. */
interface Objection {
  readonly check: CheckName;
  readonly reason: Reason;
  readonly message: string;
  /** What must become free for another try. */
  readonly waitsFor?: readonly WaitKey[];
  /** The range that has too few, and how many it takes. */
  readonly need?: readonly [string, number];
}

/** In the order a person would ask. The first that decides ends it; a holder is settled before ranges are asked anything. */
const aboutTheService = [
  ['hasNodePorts', hasNodePorts],
  ['claimsAgreeWithTheRequest', claimsAgreeWithTheRequest],
  ['keepsWhatItHolds', keepsWhatItHolds],
] as const;

/** For each range asked for that exists, in order; the first without objection for which `findsPorts` does wins. */
const aboutARange = [
  ['admitsTheService', admitsTheService],
  ['isNotPaused', isNotPaused],
  ['allowsWantedNumbers', allowsWantedNumbers],
] as const;

/** What a request that can be read has passed. */
const FIRST = ['isManaged', 'requestIsWellFormed'] as const;

/** Objections quoted when many ranges object, and numbers when many are held. */
const SHOWN = 5;

export function decide(snapshot: Snapshot): Decision {
  return walk(snapshot, undefined);
}

/** What a check answered; `range`: about this one. */
export interface Answer {
  readonly check: CheckName;
  readonly range?: string;
  /** Undefined: it had nothing to say, and the next was asked. */
  readonly answer?: Decision | Verdict;
}

/** The same decision, and how it came about: every check that was asked, in order. */
export function explain(snapshot: Snapshot): { decision: Decision; answers: readonly Answer[] } {
  const answers: Answer[] = [];
  const decision = walk(snapshot, (answer) => answers.push(answer));
  return { decision, answers };
}

type Recorder = ((answer: Answer) => void) | undefined;

function walk(snapshot: Snapshot, record: Recorder): Decision {
  const request = readUnlessUnknown(snapshot);
  if ('do' in request || isMalformed(request)) {
    const decision = 'do' in request ? request : refuseMalformed(snapshot, request);
    record?.({ check: decision.check, answer: decision });
    return decision;
  }
  if (record !== undefined) for (const check of FIRST) record({ check });
  const situation = situationOf(snapshot, request);
  for (const [check, ask] of aboutTheService) {
    const decision = ask(situation);
    record?.(decision === undefined ? { check } : { check, answer: decision });
    if (decision !== undefined) return decision;
  }
  return askRanges(situation, record);
}

function readUnlessUnknown({ service, namespace, ranges }: Snapshot): Decision | Request | Malformed {
  if (namespace === undefined) return { do: 'defer', check: 'namespaceIsKnown' };
  return readRequest(service, namespace, ranges) ?? { do: 'ignore', check: 'isManaged' };
}

/** Bad input changes nothing: what the Service holds, it keeps. */
function refuseMalformed(snapshot: Snapshot, { malformed, since }: Malformed): Decision {
  const nothing = { source: 'service', ranges: [], wanted: new Map(), text: '', since } as const;
  const situation = situationOf(snapshot, nothing);
  const check = 'requestIsWellFormed';
  return refuse(situation, [{ check, reason: 'InvalidRequest', message: malformed }]);
}

function hasNodePorts(situation: Situation): Decision | undefined {
  const { service, slots } = situation;
  const may = service.type === 'NodePort' || service.type === 'LoadBalancer';
  if (may && slots.length > 0) return undefined;
  const message = may
    ? 'allocateLoadBalancerNodePorts is false, and no port names a nodePort'
    : `a Service of type ${quote(service.type)} has no node ports`;
  return refuse(situation, [{ check: 'hasNodePorts', reason: 'NoNodePorts', message }]);
}

function claimsAgreeWithTheRequest(situation: Situation): Decision | undefined {
  const slot = situation.slots.find(
    ({ claim, wanted, number }) => claim !== undefined && wanted !== undefined && wanted !== number,
  );
  if (slot === undefined) return undefined;
  const { number, wanted, claim } = slot;
  const message = `asks for ${wanted}, but ${number} is ${claim}`;
  return refuse(situation, [{ check: 'claimsAgreeWithTheRequest', reason: 'InvalidRequest', message }]);
}

function keepsWhatItHolds(situation: Situation): Decision | undefined {
  const { slots, requestChanged, request, grantedFrom } = situation;
  const isSettled = slots.every(
    ({ state, ports, number, wanted }) =>
      state === 'held' &&
      (wanted === undefined || wanted === number) &&
      ports.every((p) => p.nodePort === number),
  );
  if (requestChanged || !isSettled) return undefined;
  const range = grantedFrom ?? candidatesOf(situation)[0] ?? '';
  const grants = slots.map(grantOf);
  return {
    do: 'keep',
    check: 'keepsWhatItHolds',
    range,
    request: request.text,
    grants,
    verdict: servedVerdict(situation, range, grants),
  };
}

/** The ranges to ask, in order. */
function candidatesOf({ request, ranges, service, namespace }: Situation): readonly string[] {
  return rangesAsked(request, service, namespace, ranges);
}

/** The same, a reservation's first: who was killed before the Service was written goes on where it was. */
function candidatesInTurn(situation: Situation): readonly string[] {
  const names = candidatesOf(situation);
  const { entries, request, service } = situation;
  if (entries.size === 0) return names;
  for (const [number, entry] of entries) {
    const missing = service.ports.filter(({ nodePort }) => nodePort !== number);
    const isReserved = missing.length === service.ports.length && concerns(entry.ports, missing);
    if (isReserved && entry.request === request.text && names.includes(entry.range))
      return [entry.range, ...names.filter((name) => name !== entry.range)];
  }
  return names;
}

function askRanges(situation: Situation, record: Recorder): Decision {
  const objections: Objection[] = [];
  let outside: Decision | undefined;
  for (const name of candidatesInTurn(situation)) {
    const answer = askRange(situation, name, record);
    if (!('do' in answer)) objections.push(answer);
    // A claim may lie in a later range of the list, which then would be the one to adopt it.
    else if (answer.do === 'assign' && answer.verdict.reason === 'HeldOutOfRange') outside ??= answer;
    else return answer;
  }
  if (outside !== undefined) return outside;
  const [first, ...others] = objections;
  if (first !== undefined) return refuse(situation, [first, ...others]);
  const nobody = refuse(situation, [
    { check: 'admitsTheService', reason: 'NotAdmitted', message: 'no PortRange admits this Service' },
  ]);
  record?.({ check: nobody.check, answer: nobody });
  return nobody;
}

function askRange(situation: Situation, name: string, record: Recorder): Decision | Objection {
  const range = situation.ranges.get(name);
  if (range === undefined) {
    const message = `PortRange ${quote(name)} does not exist`;
    const answer: Objection = { check: 'rangeExists', reason: 'RangeNotFound', message };
    record?.({ check: 'rangeExists', range: name, answer });
    return answer;
  }
  record?.({ check: 'rangeExists', range: name });
  for (const [check, ask] of aboutARange) {
    const objection = ask(situation, range);
    record?.(objection === undefined ? { check, range: name } : { check, range: name, answer: objection });
    if (objection !== undefined) return objection;
  }
  const answer = findsPorts(situation, range);
  record?.({ check: 'findsPorts', range: name, answer });
  return answer;
}

function findsPorts(situation: Situation, range: Range): Decision | Objection {
  const { name } = range;
  const check = 'findsPorts';
  const plan = planFor(situation, range);
  if ('lacks' in plan) {
    const { need, lacks } = plan;
    const message = `${name} has too few free ports: ${lacks} needed`;
    return { check, reason: 'RangeExhausted', message, waitsFor: [`range/${name}`], need: [name, need] };
  }
  if ('taken' in plan) {
    // Whose number it is, where the request does not say.
    const { ranges } = situation.request;
    const prefix = ranges !== 'auto' && ranges.length === 1 ? '' : `${name}: `;
    const message = listed(
      plan.taken.map((port) => holderOf(situation, port)),
      'more',
    );
    return {
      check,
      reason: 'PortTaken',
      message: `${prefix}${message}`,
      waitsFor: plan.taken.map((port): WaitKey => `port/${port}`),
    };
  }
  return assign(situation, name, plan);
}

function assign(situation: Situation, range: string, { grants, leaves }: Plan): Decision {
  const verdict = servedVerdict(situation, range, grants);
  return {
    do: 'assign',
    check: 'findsPorts',
    range,
    request: situation.request.text,
    grants,
    leaves,
    verdict,
  };
}

function admitsTheService({ service, namespace }: Situation, range: Range): Objection | undefined {
  if (admits(range, service, namespace)) return undefined;
  const what = admitsNamespace(range, service.namespace, namespace)
    ? 'Services with these labels'
    : `namespace ${service.namespace}`;
  const message = `PortRange ${range.name} does not admit ${what}`;
  return { check: 'admitsTheService', reason: 'NotAdmitted', message };
}

function isNotPaused(_: Situation, range: Range): Objection | undefined {
  return range.paused
    ? { check: 'isNotPaused', reason: 'RangePaused', message: `PortRange ${range.name} is paused` }
    : undefined;
}

function allowsWantedNumbers({ slots }: Situation, range: Range): Objection | undefined {
  for (const { wanted } of slots) {
    if (wanted === undefined || has(range.effective, wanted)) continue;
    const isExcluded = has(range.declared, wanted) && !range.losesTo.some(({ spans }) => has(spans, wanted));
    const reason = isExcluded && !isBeyond(range, wanted) ? 'PortExcluded' : 'RequestOutOfRange';
    return { check: 'allowsWantedNumbers', reason, message: placeOf(range, wanted) };
  }
  return undefined;
}

function isBeyond({ beyondNodePorts }: Range, port: number): boolean {
  return beyondNodePorts !== undefined && has(beyondNodePorts, port);
}

/** The reason of the first, a message that names each. What is held all the same stays recorded. */
function refuse(situation: Situation, objections: readonly [Objection, ...Objection[]]): Decision {
  const { slots, request, grantedFrom: range = '', honoured = request.text } = situation;
  const grants = slots.filter(({ state }) => state === 'held').map(grantOf);
  const message = listed(
    objections.map(({ message }) => message),
    'more PortRanges',
  );
  const [{ reason, check }] = objections;
  return {
    do: 'refuse',
    check,
    range: candidatesOf(situation)[0] ?? '',
    verdict: { reason, message: refusalMessage(situation, message) },
    names: slots.flatMap(({ wanted = [] }) => wanted),
    waitsFor: objections.flatMap(({ waitsFor = [] }) => waitsFor),
    needs: new Map(objections.flatMap(({ need }) => (need === undefined ? [] : [need]))),
    ...(grants.length === 0 ? {} : { holds: { range, request: honoured, grants } }),
  };
}

/** The first few, and how many there are besides: somebody may ask for hundreds. */
function listed(texts: readonly string[], rest: string): string {
  const more = texts.length > SHOWN ? [`and ${texts.length - SHOWN} ${rest}`] : [];
  return [...texts.slice(0, SHOWN), ...more].join('; ');
}

function grantOf({ number, ports }: Slot): PortGrant {
  return { number, ports: ports.filter(({ nodePort }) => nodePort === number) };
}
