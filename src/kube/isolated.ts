/**
 * Runs a callback of somebody else (an observer, a log) whose failure must not become ours. What it throws is
 * dropped: the one who would be told is the one who threw.
 */
export function isolated(run: () => void): void {
  try {
    run();
  } catch {
    // See above.
  }
}
