/**
 * Settles one Service: makes it show what was decided. Each write carries the resourceVersion it was decided from.
 *
 *   (Pending, when what it shows would be untrue) ──► nodePorts: JSON Patch ──► condition: strategic merge patch ──► event
 *
 * The verdict is desired state: what the Service shows already is not written again, so that a crash between two
 * steps mends itself when the Service is decided again.
 */
import type { Decision, PortGrant } from '../allocation/types.ts';
import { readHoldings } from '../api/holdings.ts';
import { CONDITION_TYPE, FIELD_MANAGER } from '../api/names.ts';
import { REASONS, type Verdict } from '../api/reasons.ts';
import { type RawService, type ServiceView, toServiceView } from '../api/service.ts';
import type { Clock } from '../kube/clock.ts';
import { isAmbiguous, isKubeError, type KubeError } from '../kube/errors.ts';
import type { EventRecorder } from '../kube/events.ts';
import { type JsonPatchOperation, jsonPatch } from '../kube/patch.ts';
import type { Transport } from '../kube/transport.ts';
import type { Port } from '../ports/portSet.ts';

export type Outcome =
  /** resourceVersion: of our last write; undefined when nothing had to be written. */
  | { readonly result: 'done'; readonly resourceVersion: string | undefined; readonly wrotePorts: boolean }
  /** It has changed since it was decided, or could not be written: decide again. */
  | { readonly result: 'again'; readonly resourceVersion: string | undefined; readonly error: KubeError }
  /** No answer: the write may have been done. Look at the live Service before deciding again. */
  | { readonly result: 'unknown'; readonly error: KubeError }
  /** The apiserver did not accept these numbers. taken: they are allocated to somebody else. */
  | {
      readonly result: 'refused';
      readonly ports: readonly Port[];
      readonly taken: boolean;
      readonly error: KubeError;
    };

export interface Settler {
  /** Rejects only for what is not the apiserver's doing. */
  settle(service: ServiceView, wish: Wish): Promise<Outcome>;
  /** The live Service, past every cache; undefined: there is none of this name. @throws KubeError */
  look(address: { namespace: string; name: string }): Promise<ServiceView | undefined>;
}

/** What a Service shall look like. */
export interface Wish {
  /** What it shall show; undefined: no condition of ours. */
  readonly verdict: Verdict | undefined;
  /** The numbers it shall have; those not named stay. */
  readonly grants: readonly PortGrant[];
  /** Numbers that it holds and leaves: it shows Pending before they go. */
  readonly leaves: readonly Port[];
}

/** What a decision means for the Service itself. */
export function wishOf(decision: Decision): Wish {
  switch (decision.do) {
    case 'assign':
      return decision;
    case 'keep':
    case 'refuse':
      return { verdict: decision.verdict, grants: [], leaves: [] };
    case 'ignore':
    case 'defer':
      return { verdict: undefined, grants: [], leaves: [] };
  }
}

type Written = Pick<ServiceView, 'resourceVersion' | 'condition'>;

export function createSettler(parts: { transport: Transport; events: EventRecorder; clock: Clock }): Settler {
  const { transport, events, clock } = parts;
  const query = { fieldManager: FIELD_MANAGER };

  async function writePorts(
    service: ServiceView,
    now: Written,
    numbers: ReadonlyMap<string, Port>,
  ): Promise<Written> {
    const operations: JsonPatchOperation[] = service.ports.flatMap((port, i) => {
      const value = numbers.get(`${port.name}:${port.port}/${port.protocol}`);
      return value === undefined || value === port.nodePort
        ? []
        : { op: 'add', path: `/spec/ports/${i}/nodePort`, value };
    });
    const body = jsonPatch(now.resourceVersion, operations);
    const path = pathOf(service);
    return toServiceView(
      await transport.request<RawService>({
        method: 'PATCH',
        path,
        query,
        body,
        contentType: 'application/json-patch+json',
      }),
    );
  }

  async function writeCondition(
    service: ServiceView,
    now: Written,
    verdict: Verdict | undefined,
  ): Promise<Written> {
    const condition =
      verdict === undefined
        ? { type: CONDITION_TYPE, $patch: 'delete' }
        : { type: CONDITION_TYPE, ...conditionOf(verdict, now.condition, clock.now()) };
    const body = { metadata: { resourceVersion: now.resourceVersion }, status: { conditions: [condition] } };
    const path = `${pathOf(service)}/status`;
    const contentType = 'application/strategic-merge-patch+json';
    const written = toServiceView(
      await transport.request<RawService>({ method: 'PATCH', path, query, body, contentType }),
    );
    if (verdict !== undefined) tell(service, verdict);
    return written;
  }

  function tell(service: ServiceView, { reason, message }: Verdict): void {
    if (reason === 'Pending') return;
    events.record({
      regarding: {
        apiVersion: 'v1',
        kind: 'Service',
        namespace: service.namespace,
        name: service.name,
        uid: service.uid,
      },
      type: REASONS[reason].status === 'True' ? 'Normal' : 'Warning',
      reason,
      action: 'Allocate',
      note: message,
    });
  }

  async function settle(service: ServiceView, { verdict, grants, leaves }: Wish): Promise<Outcome> {
    let now: Written = service;
    const numbers = numbersToWrite(service, grants);
    try {
      const left = leaves.length > 0 || numbers.size === 0 ? leaves : numbersGone(service, grants);
      // Who was refused shows False already, and is not to show something new at each try.
      const pending: Verdict = { reason: 'Pending', message: `moves from ${left.join(', ')}` };
      if (left.length > 0 && service.condition?.reason !== 'RefusedByApiserver' && !shows(now, pending))
        now = await writeCondition(service, now, pending);
      if (numbers.size > 0) now = await writePorts(service, now, numbers);
      if (!shows(now, verdict)) now = await writeCondition(service, now, verdict);
    } catch (error) {
      return failed(service, now, [...new Set(numbers.values())], error);
    }
    const changed = now.resourceVersion !== service.resourceVersion;
    return {
      result: 'done',
      resourceVersion: changed ? now.resourceVersion : undefined,
      wrotePorts: numbers.size > 0,
    };
  }

  function failed(service: ServiceView, now: Written, ports: readonly Port[], error: unknown): Outcome {
    if (!isKubeError(error)) throw error;
    if (isKubeError(error, 'Invalid', 'Forbidden', 'BadRequest') && ports.length > 0)
      return refusalOf(ports, error);
    if (isAmbiguous(error)) return { result: 'unknown', error };
    const changed = now.resourceVersion !== service.resourceVersion;
    return { result: 'again', resourceVersion: changed ? now.resourceVersion : undefined, error };
  }

  return {
    settle,
    async look(address) {
      try {
        return toServiceView(await transport.request<RawService>({ method: 'GET', path: pathOf(address) }));
      } catch (error) {
        if (isKubeError(error, 'NotFound')) return undefined;
        throw error;
      }
    },
  };
}

/** Whether the Service shows this verdict already; undefined: no condition of ours. */
export function shows({ condition }: Pick<ServiceView, 'condition'>, verdict: Verdict | undefined): boolean {
  if (verdict === undefined || condition === undefined)
    return verdict === undefined && condition === undefined;
  const { reason, message } = verdict;
  return (
    condition.reason === reason &&
    condition.message === message &&
    condition.status === REASONS[reason].status
  );
}

function pathOf({ namespace, name }: { namespace: string; name: string }): string {
  return `/api/v1/namespaces/${namespace}/services/${name}`;
}

function conditionOf({ reason, message }: Verdict, before: ServiceView['condition'], now: number): object {
  const { status } = REASONS[reason];
  const at = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
  return {
    status,
    reason,
    message,
    lastTransitionTime: before?.status === status ? before.lastTransitionTime : at,
  };
}

/** Numbers that the condition says it holds, but which are gone with a port that another one replaces. */
function numbersGone({ condition, ports }: ServiceView, grants: readonly PortGrant[]): readonly Port[] {
  if (condition?.status !== 'True') return [];
  const stays = new Set([...ports.map(({ nodePort }) => nodePort), ...grants.map(({ number }) => number)]);
  return readHoldings(condition.message)?.numbers.filter((number) => !stays.has(number)) ?? [];
}

/** By port identity, where the number differs from what the Service has. */
function numbersToWrite(service: ServiceView, grants: readonly PortGrant[]): ReadonlyMap<string, Port> {
  const numbers = new Map<string, Port>();
  for (const { number, ports } of grants) {
    for (const { name, port, protocol } of ports) {
      const now = service.ports.find((p) => p.name === name && p.port === port && p.protocol === protocol);
      if (now?.nodePort !== number) numbers.set(`${name}:${port}/${protocol}`, number);
    }
  }
  return numbers;
}

/**
 * Which numbers the apiserver refused: its text is `Invalid value: 30100: provided port is already allocated`. None,
 * when it objects to something else, as an admission policy may.
 */
function refusalOf(written: readonly Port[], error: KubeError): Outcome {
  const about = error.causes.filter(({ field }) => /^spec\.ports\[\d+\]\.nodePort$/.test(field));
  const taken = about.some(({ message }) => message.includes('already allocated'));
  const named = new Set(about.map(({ message }) => Number(/Invalid value: (\d+)/.exec(message)?.[1])));
  return { result: 'refused', ports: written.filter((port) => named.has(port)), taken, error };
}
