import { explain } from '../allocation/decide.ts';
import { wordsOf } from '../allocation/explanation.ts';
import type { Decision, Entry, Millis, Snapshot } from '../allocation/types.ts';
import { REASONS } from '../api/reasons.ts';
import type { ServiceView } from '../api/service.ts';
import type { Clock } from '../kube/clock.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Store } from '../kube/store.ts';
import type { Port } from '../ports/portSet.ts';
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

/** Says what happened to whom: one log line for each grant, release and refusal, and the counters that go with it. */
export interface Audit {
  /** The Service was seen, served or not. */
  seen(service: ServiceView): void;
  gone(uid: string): void;
  decided(service: ServiceView, decision: Decision): void;
  settled(service: ServiceView, decision: Decision, outcome: Outcome): void;
  /** A number was released; its owner may live on without it. */
  released(port: Port, entry: Entry): void;
  /** The live Service could not be read; `service`: its key. */
  unseen(service: string, error: unknown): void;
  failed(service: ServiceView, error: unknown): void;
}

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
  /** By UID: the refusal that was told last, so that deciding again tells nothing new. */
  const refused = new Map<string, string>();

  function granted(
    service: ServiceView,
    decision: Extract<Decision, { do: 'assign' }>,
    wrotePorts: boolean,
  ): void {
    const outcome = wrotePorts ? 'assigned' : 'adopted';
    const since = waitingSince.get(service.uid);
    waitingSince.delete(service.uid);
    observer.allocated(decision.range, outcome);
    if (since !== undefined) observer.took((clock.monotonic() - since) / 1_000);
    const ports = decision.grants.map(({ number }) => number);
    const { reason } = decision.verdict;
    log.info(
      { service: service.key, uid: service.uid, range: decision.range, ports, reason },
      `ports ${outcome}`,
    );
  }

  return {
    seen({ uid, condition }) {
      if (condition?.status !== 'True' && !waitingSince.has(uid)) waitingSince.set(uid, clock.monotonic());
    },
    gone(uid) {
      waitingSince.delete(uid);
      refused.delete(uid);
    },
    decided(service, decision) {
      if (decision.do === 'ignore' || decision.do === 'keep') waitingSince.delete(service.uid);
      if (decision.do !== 'refuse') return void refused.delete(service.uid);
      const { reason, message } = decision.verdict;
      if (REASONS[reason].status !== 'False' || refused.get(service.uid) === message) return;
      refused.set(service.uid, message);
      // After a restart the condition says that this was told before.
      if (service.condition?.message === message) return;
      observer.allocated(decision.range, 'refused');
      log.info(
        { service: service.key, uid: service.uid, range: decision.range, reason, message },
        'request refused',
      );
    },
    settled(service, decision, outcome) {
      if (outcome.result === 'done') {
        if (decision.do === 'assign') granted(service, decision, outcome.wrotePorts);
        return;
      }
      const details = { service: service.key, uid: service.uid, error: outcome.error.message };
      if (outcome.result === 'refused')
        log.warn({ ...details, ports: outcome.ports }, 'apiserver refused the ports');
      else log.debug(details, 'service not written, deciding again');
    },
    released(port, { service, uid, range, until }) {
      observer.released(range);
      const rests = new Date(until ?? 0).toISOString();
      log.info({ service, uid, range, port, until: rests }, 'port released');
      if (services.get(service)?.uid !== uid) return;
      const [namespace = '', name = ''] = service.split('/');
      events.record({
        regarding: { apiVersion: 'v1', kind: 'Service', namespace, name, uid },
        type: 'Normal',
        reason: 'PortsReleased',
        action: 'Release',
        note: `released ${port} to ${range}; it rests until ${rests}`,
      });
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
