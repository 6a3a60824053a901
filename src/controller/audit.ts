import { explain } from '../allocation/decide.ts';
import { wordsOf } from '../allocation/explanation.ts';
import type { Decision, LedgerView, Millis, PortGrant, Snapshot, Transition } from '../allocation/types.ts';
import { REASONS } from '../api/reasons.ts';
import { portIdentity, type ServiceView } from '../api/service.ts';
import { told } from '../api/text.ts';
import type { Clock } from '../kube/clock.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Store } from '../kube/store.ts';
import type { AUDIT_FIELDS, Audited } from './audited.ts';
import type { Heal } from './heals.ts';
import { createKnownServices, type Gain } from './known.ts';
import type { Outcome } from './settle.ts';

/** Structured log lines, as pino takes them. */
export interface Log {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

export interface AuditObserver {
  allocated(range: string, outcome: 'assigned' | 'adopted' | 'refused'): void;
  /** Seconds from "needs ports" to "has them". */
  took(seconds: number): void;
  released(range: string): void;
}

/** Says what happened to whom: one log line for each transition of a number, and the counters and events that go with it. */
export interface Audit {
  /** The Service was seen, served or not. */
  seen(service: ServiceView): void;
  gone(uid: string): void;
  /** Before the decision is folded into the ledger. */
  decided(service: ServiceView, decision: Decision, ledger: LedgerView): void;
  /** The Service shows what was decided, without any write. */
  shown(service: ServiceView, decision: Decision): void;
  settled(service: ServiceView, decision: Decision, outcome: Outcome): void;
  /** The table says so now. */
  recorded(transition: Transition): void;
  healed(heal: Heal): void;
  /** The live Service could not be read; `service`: its key. */
  unseen(service: string, error: unknown): void;
  failed(service: ServiceView, error: unknown): void;
}

type Line = { readonly [field in keyof typeof AUDIT_FIELDS]?: unknown };

export function createAudit(parts: {
  clock: Clock;
  log: Log;
  observer: AuditObserver;
  events: EventRecorder;
  services: Store<ServiceView>;
}): Audit {
  const { clock, log, observer, events, services } = parts;
  /** By UID: since when it waits to be served. */
  const waitingSince = new Map<string, Millis>();
  const known = createKnownServices();

  function say(audit: Audited, line: Line, message: string): void {
    log.info({ audit, ...line }, message);
  }

  function shown(service: ServiceView, decision: Decision, byUs: boolean): void {
    const { gains, isRefused } = known.shows(service, decision, byUs);
    if (isRefused && decision.do === 'refuse') return refused(service, decision);
    if (gains.length === 0 || (decision.do !== 'assign' && decision.do !== 'keep')) return;
    const since = waitingSince.get(service.uid);
    waitingSince.delete(service.uid);
    const isAdopted = gains.every(({ outcome }) => outcome === 'adopted');
    observer.allocated(decision.range, isAdopted ? 'adopted' : 'assigned');
    if (since !== undefined) observer.took((clock.monotonic() - since) / 1_000);
    for (const gain of gains) gained(service, decision, gain);
  }

  function gained(
    { key, uid }: ServiceView,
    { range, request, verdict, check }: Extract<Decision, { do: 'assign' | 'keep' }>,
    { outcome, grant, from }: Gain,
  ): void {
    const why = { request, check, ...verdict };
    const [port, names] = [grant.number, namesOf(grant)];
    say(
      outcome,
      { service: key, uid, port, names, ...(from === undefined ? {} : { from }), to: port, range, ...why },
      `port ${outcome}`,
    );
  }

  function refused(
    service: ServiceView,
    { range, names, verdict, check }: Extract<Decision, { do: 'refuse' }>,
  ): void {
    const { reason, message } = verdict;
    if (REASONS[reason].status !== 'False') return;
    observer.allocated(range, 'refused');
    const { key, uid } = service;
    const wanted = names.length === 0 ? {} : { wanted: names };
    say('refused', { service: key, uid, ...wanted, range, reason, message, check }, 'request refused');
  }

  /** By the apiserver. One that is not about who has the numbers is tried again and again, and told once. */
  function turnedDown(
    service: ServiceView,
    decision: Decision,
    { ports, taken, error }: Extract<Outcome, { result: 'refused' }>,
  ): void {
    const message = told(error.message);
    const reason = 'RefusedByApiserver';
    if (!taken && !known.isNewRefusal(service, `${reason}: ${message}`)) return;
    const grants = decision.do === 'assign' ? decision.grants : [];
    const range = decision.do === 'assign' ? decision.range : '';
    const those = taken ? grants.filter(({ number }) => ports.includes(number)) : grants;
    for (const grant of those) {
      const why = { range, reason, message, check: 'apiserverAccepts' } as const;
      const what = { service: service.key, uid: service.uid, port: grant.number, names: namesOf(grant) };
      const line: Line = { audit: 'refused', ...what, ...why };
      log.warn(line, 'apiserver refused the port');
    }
  }

  function released({ port, entry, until, to, check }: Transition): void {
    const { service, uid, range, ports: names, request } = entry;
    const rests = until === undefined ? {} : { until: new Date(until).toISOString() };
    const where = { from: port, ...(to === undefined ? {} : { to }), range };
    say('released', { service, uid, port, names, ...where, request, ...rests, check }, 'port released');
    if (until === undefined) return;
    observer.released(range);
    if (services.get(service)?.uid !== uid) return;
    const [namespace = '', name = ''] = service.split('/');
    events.record({
      regarding: { apiVersion: 'v1', kind: 'Service', namespace, name, uid },
      type: 'Normal',
      reason: 'PortsReleased',
      action: 'Release',
      note: `released ${port} to ${range}; it rests until ${rests.until}`,
    });
  }

  return {
    seen({ uid, condition }) {
      if (condition?.status !== 'True' && !waitingSince.has(uid)) waitingSince.set(uid, clock.monotonic());
    },
    gone(uid) {
      waitingSince.delete(uid);
      known.forget(uid);
    },
    decided(service, decision, ledger) {
      if (decision.do === 'ignore' || decision.do === 'keep') waitingSince.delete(service.uid);
      known.decided(service, decision, ledger.entriesOf);
    },
    shown: (service, decision) => shown(service, decision, false),
    settled(service, decision, outcome) {
      if (outcome.result === 'done') return shown(service, decision, outcome.resourceVersion !== undefined);
      if (outcome.result === 'refused') return turnedDown(service, decision, outcome);
      if (outcome.result === 'unknown') known.unanswered(service);
      const details = { service: service.key, uid: service.uid, error: outcome.error.message };
      log.debug(details, 'service not written, deciding again');
    },
    recorded(transition) {
      if (transition.kind === 'released') return released(transition);
      const { kind, port, entry, check } = transition;
      const { service, uid, ports: names, range, request } = entry;
      const line = { service, uid, port, names, range, request, check };
      if (kind === 'reserved') say('reserved', { ...line, to: port }, 'port reserved');
      else say('healed', { ...line, kind, from: 'no entry', to: entry.state }, 'table entry healed');
    },
    healed({ block, kind, by, ports }) {
      const who = by === undefined ? {} : { by };
      for (const { port, found, entry } of ports) {
        const { service = '', uid = '', range = '', ports: names = [] } = entry ?? {};
        const line = { service, uid, port, names, range, kind, block, ...who };
        say('healed', { ...line, from: found, to: entry?.state ?? 'no entry' }, 'table entry healed');
      }
    },
    unseen(service, error) {
      log.warn({ service, error: String(error) }, 'service not read, trying again');
    },
    failed(service, error) {
      log.error(
        { service: service.key, uid: service.uid, error: String(error) },
        'unexpected error, trying again',
      );
    },
  };
}

function namesOf({ ports }: PortGrant): string[] {
  return ports.map(portIdentity);
}

/** Says how a decision came about, by making it once more. */
export function explainTo(log: Pick<Log, 'debug'>): (snapshot: Snapshot) => void {
  return (snapshot) => {
    const { decision, answers } = explain(snapshot);
    const { key, uid } = snapshot.service;
    log.debug(
      { service: key, uid, decision: decision.do, check: decision.check, checks: wordsOf(answers) },
      'decided',
    );
  };
}
