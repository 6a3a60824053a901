import type { Log } from './controller/audit.ts';
import type { ControllerObserver } from './controller/controller.ts';
import type { Metrics } from './observability/metrics.ts';

/** What the controller tells, on its way into the metrics and the log. */
export function observing(metrics: Metrics, log: Pick<Log, 'warn'>): ControllerObserver {
  return {
    audit: metrics,
    conflictSeen: metrics.conflictSeen,
    journal: { wrote: metrics.tableWrote, healed: metrics.tableHealed },
    workqueue: metrics.workqueue,
    reflector: {
      listed: metrics.listed,
      watched: metrics.watched,
      failed: ({ name, during, error, retryInMs }) =>
        log.warn(
          { name, during, retryInMs, error: error instanceof Error ? error.message : String(error) },
          'list or watch failed',
        ),
    },
  };
}
