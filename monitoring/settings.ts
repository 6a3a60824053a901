/**
 * What an admin may want to change about the alerts, in one place. It is written into the rules as recorded series
 * (`nodeport_manager:threshold`, `nodeport_manager:excluded_range`, `nodeport_manager:excluded_conflict`), so that the
 * place where it is installed can change it, too: docs/monitoring.md has an overlay that does.
 */

/** Where the alerts lead: `<RUNBOOKS>/<alert>.md`. The pages themselves are docs/runbooks. */
export const RUNBOOKS = 'https://nodeport-manager.io/docs/runbooks';

/** By alert, what its expression is compared with. */
export const THRESHOLDS = {
  /** Share of a PortRange that is used, 0 to 1. */
  NodePortRangeFillingUp: 0.75,
  NodePortRangeNearlyFull: 0.85,
  NodePortRangeAlmostExhausted: 0.95,
  /** Seconds: how far ahead an exhaustion is told. */
  NodePortRangeExhaustionForecast: 4 * 24 * 3600,
  /** Services that may wait for long. */
  NodePortServicesPending: 0,
  /** Mends of the table in an hour: a single edit by hand is healed and no reason to wake anybody. */
  NodePortTableDrift: 3,
  /** Seconds without a word from the apiserver; its watches say something about once a minute. */
  NodePortCacheStale: 180,
  /** Seconds since everything was last looked at; three times the default of --resync-period. */
  NodePortControllerStalled: 1800,
  /** Writes that failed in 10 minutes. */
  NodePortWritesFailing: 5,
  /** Share of the apiserver's own node port range that is used, 0 to 1. */
  NodePortSpaceNearlyFull: 0.85,
} as const;

/**
 * A forecast needs a trend. What one deploy or one Service takes is none, so that:
 * - the PortRange has so many ports at least: in a smaller one, every Service is a jump;
 */
export const FORECAST_CAPACITY = 20;
/** - so large a share of it is taken in a day; */
export const FORECAST_SHARE = 0.05;
// - and some of it in each half of the last day.

/** Regular expression: PortRanges that no alert about ranges speaks of. Empty: none is left out. */
export const EXCLUDED_RANGES = '';

/** Regular expression: kinds of conflicts that have an alert of their own (docs/metrics.md names all). */
export const EXCLUDED_CONFLICTS = 'port_taken|table_drift|duplicate';
