/** Small builders, so that a test shows only what it is about. */
import { decide } from '../../src/allocation/decide.ts';
import { createLedger, type Ledger } from '../../src/allocation/ledger.ts';
import { compileRanges, type RangeSource } from '../../src/allocation/range.ts';
import type { Decision, Entry, NamespaceView, Snapshot } from '../../src/allocation/types.ts';
import { type PortRange, type PortRangeSpec, portRangeApiVersion } from '../../src/api/portRange.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import { REASONS, type Verdict } from '../../src/api/reasons.ts';
import type { ServicePort, ServiceView } from '../../src/api/service.ts';

export const NOW = Date.UTC(2026, 0, 1);
export const MINUTE = 60_000;

/** `http:80/TCP 30100 kubectl`: name, port, protocol (TCP), nodePort (none), owner (nobody). */
export function port(text: string): ServicePort {
  const [identity = '', nodePort = '0', owner] = text.split(' ');
  const [, name = '', number = '', protocol = 'TCP'] = /^([^:]*):(\d+)(?:\/(\w+))?$/.exec(identity) ?? [];
  const rest = { name, port: Number(number), protocol, nodePort: Number(nodePort) };
  return owner === undefined ? rest : { ...rest, owner };
}

/** A NodePort Service in namespace `a` that asks for range `r`. */
export function service(
  ports: readonly string[],
  change: Partial<ServiceView> & { range?: string | undefined } = {},
): ServiceView {
  const { range = 'r', ...rest } = { name: 'web', ...change };
  const asks = 'range' in change && change.range === undefined ? {} : { [ANNOTATION.range]: range };
  return {
    key: `a/${rest.name}`,
    namespace: 'a',
    uid: `uid-${rest.name}`,
    resourceVersion: '1',
    createdAt: NOW,
    type: 'NodePort',
    ports: ports.map(port),
    healthCheckNodePort: 0,
    allocatesNodePorts: true,
    annotations: asks,
    labels: {},
    ...rest,
  };
}

/** The Service as it is once the decision was carried out, condition and all. */
export function carriedOut(before: ServiceView, decision: Decision): ServiceView {
  const grants = decision.do === 'assign' || decision.do === 'keep' ? decision.grants : [];
  const numberOf = (p: ServicePort): number =>
    grants.find(({ ports }) => ports.some((q) => q.port === p.port && q.protocol === p.protocol))?.number ??
    p.nodePort;
  const ports = before.ports.map((p) => {
    const nodePort = numberOf(p);
    return nodePort === p.nodePort ? p : { ...p, nodePort, owner: 'nodeport-manager' };
  });
  const { condition: _, ...bare } = before;
  return decision.do === 'ignore' || decision.do === 'defer'
    ? { ...bare, ports }
    : { ...bare, ports, condition: showing(decision.verdict) };
}

export function showing({ reason, message }: Verdict): NonNullable<ServiceView['condition']> {
  return { status: REASONS[reason].status, reason, message, lastTransitionTime: '' };
}

/** As the cache keeps them; by default it is not known since when they are automatic. */
export function sources(objects: Iterable<PortRange>, assignmentSince = 0): RangeSource[] {
  return Array.from(objects, (object) => ({ object, assignmentSince }));
}

/** Ranges by name; the first is the oldest. */
export function ranges(specs: Readonly<Record<string, Partial<PortRangeSpec>>>): PortRange[] {
  return Object.entries(specs).map(([name, spec], i) => ({
    apiVersion: portRangeApiVersion,
    kind: 'PortRange',
    metadata: {
      name,
      uid: `uid-${name}`,
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: new Date(NOW + i * 1_000).toISOString(),
    },
    spec: { ranges: [{ from: 30_100, to: 30_109 }], ...spec },
  }));
}

/** A ledger, the ranges, and what the controller does with one Service at a time. */
export function desk(specs: Readonly<Record<string, Partial<PortRangeSpec>>> = { r: {} }) {
  let compiled = compileRanges(sources(ranges(specs)));
  const ledger: Ledger = createLedger({ cooldownOf: (name) => compiled.get(name)?.cooldown ?? 0 });
  const seen = new Map<string, ServiceView>();
  const labels = new Map<string, string>();
  const self = {
    ledger,
    now: NOW,
    labels,
    /** The Namespace's own `range` annotation, and since when. */
    rangeDefault: undefined as NamespaceView['rangeDefault'],
    setRanges(next: Readonly<Record<string, Partial<PortRangeSpec>>>, automaticSince = 0): void {
      compiled = compileRanges(sources(ranges(next), automaticSince));
    },
    /** The watch shows the Service. */
    see(view: ServiceView): ServiceView {
      ledger.observe(seen.get(view.key), view, self.now);
      seen.set(view.key, view);
      return view;
    },
    vanish(view: ServiceView): void {
      ledger.observe(seen.get(view.key), undefined, self.now);
      seen.delete(view.key);
      ledger.gone(view.uid, self.now);
    },
    ask: (view: ServiceView): Decision => decide(self.snapshot(view)),
    snapshot(view: ServiceView): Snapshot {
      const { rangeDefault } = self;
      const namespace = {
        key: 'a',
        uid: 'a',
        resourceVersion: '1',
        labels: Object.fromEntries(labels),
        ...(rangeDefault === undefined ? {} : { rangeDefault }),
      };
      return { now: self.now, seed: '', service: view, namespace, ranges: compiled, ledger };
    },
    /** Decides and reserves. */
    fold(view: ServiceView): Decision {
      const decision = self.ask(view);
      ledger.fold(view, decision, self.now);
      return decision;
    },
    /** Seen, decided, reserved, written, seen again, decided again. */
    serve(view: ServiceView): ServiceView {
      const after = self.see(carriedOut(view, self.fold(self.see(view))));
      const again = self.fold(after);
      return self.see(carriedOut(after, again));
    },
    pass(ms: number): void {
      self.now += ms;
      ledger.advance(self.now);
    },
    wake: (): readonly string[] => ledger.drain(compiled).wake,
    drain: () => ledger.drain(compiled),
    restore: (number: number, entry: Entry): void => ledger.restore(number, entry, self.now),
  };
  return self;
}

export function numbers({ ports }: ServiceView): number[] {
  return ports.map(({ nodePort }) => nodePort);
}

export function says({ condition }: ServiceView): string {
  return `${condition?.reason}: ${condition?.message}`;
}
