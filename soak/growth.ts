/** Does a series of samples grow? Told from its floors, because memory is a sawtooth: it rises until it is collected. */

export interface Point {
  /** s */
  readonly at: number;
  readonly value: number;
}

/**
 * Long enough to hold a collection of all of the heap, and one of the quiet times in which idle connections are closed;
 * short enough for several in half a run.
 */
const FLOOR_S = 120;

/** The lowest point of each window. */
export function floorsOf(points: readonly Point[], windowS = FLOOR_S): Point[] {
  const floors = new Map<number, Point>();
  for (const point of points) {
    const window = Math.floor(point.at / windowS);
    const lowest = floors.get(window);
    if (lowest === undefined || point.value < lowest.value) floors.set(window, point);
  }
  return [...floors.values()];
}

/**
 * Theil–Sen: the median of the slopes between all pairs, a second. Up to 29 % of the points may be anything at all (a
 * burst, a moment after a restart) without moving it far, where a least-squares line would follow a single one.
 */
function slopeOf(points: readonly Point[]): number {
  const slopes = points.flatMap((a, i) =>
    points.slice(i + 1).flatMap((b) => (b.at === a.at ? [] : [(b.value - a.value) / (b.at - a.at)])),
  );
  return slopes.length === 0 ? 0 : medianOf(slopes);
}

/** By how much the floors rise from the first point to the last. */
export function growthOf(points: readonly Point[]): number {
  const [first, last] = [points[0]?.at ?? 0, points.at(-1)?.at ?? 0];
  return slopeOf(floorsOf(points)) * (last - first);
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

/** By how much a series may grow over the time it is judged: the greater of the two. */
export interface Tolerance {
  readonly share: number;
  readonly amount: number;
}

/** A sentence when the series grows by more than is tolerated. */
export function complaintOf(
  name: string,
  points: readonly Point[],
  { share, amount }: Tolerance,
): string | undefined {
  const growth = growthOf(points);
  const tolerated = Math.max(amount, share * medianOf(points.map(({ value }) => value)));
  if (growth <= tolerated) return undefined;
  const seconds = Math.round((points.at(-1)?.at ?? 0) - (points[0]?.at ?? 0));
  return `${name} grows: by ${growth.toFixed(1)} in ${seconds} s, where ${tolerated.toFixed(1)} is tolerated`;
}
