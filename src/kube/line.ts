/**
 * Who is next: those who are first of all, in their order; then one from each lane in turn, those who are first in it
 * before the others.
 * Every operation is constant time on average; tens of thousands may stand in line.
 */

/** Before the others of its lane, or before all lanes. */
export type First = 'in lane' | 'of all';

export interface Standing {
  readonly lane: string;
  first: First | undefined;
}

export interface Line<T extends Standing> {
  /** Nothing may stand in line twice. Lane and precedence are read now. */
  push(item: T): void;
  /** Gives what stands in line this precedence, behind those who have it. It never loses one. */
  promote(item: T, first: First): void;
  shift(): T | undefined;
  readonly depth: number;
  clear(): void;
}

/** A place in line. It is left behind, empty, when its item was promoted. */
interface Place<T> {
  item: T | undefined;
}

interface Fifo<T> {
  places: Place<T>[];
  head: number;
}

interface Lane<T> {
  readonly first: Fifo<T>;
  readonly others: Fifo<T>;
}

export function createLine<T extends Standing>(): Line<T> {
  let ofAll = fifo<T>();
  /** In the order of their turns: a lane that had its turn goes to the end. */
  const lanes = new Map<string, Lane<T>>();
  const places = new Map<T, Place<T>>();

  function push(item: T): void {
    const place: Place<T> = { item };
    places.set(item, place);
    fifoOf(item).places.push(place);
  }

  function fifoOf({ lane, first }: T): Fifo<T> {
    if (first === 'of all') return ofAll;
    return laneOf(lanes, lane)[first === 'in lane' ? 'first' : 'others'];
  }

  return {
    push,
    promote(item, first) {
      const place = places.get(item);
      if (place === undefined || foremost(item.first, first) === item.first) return;
      place.item = undefined;
      item.first = first;
      push(item);
    },
    shift() {
      const item = shiftFifo(ofAll) ?? shiftLanes(lanes);
      if (item !== undefined) places.delete(item);
      return item;
    },
    get depth() {
      return places.size;
    },
    clear() {
      ofAll = fifo();
      lanes.clear();
      places.clear();
    },
  };
}

/** The greater precedence of two. */
export function foremost(a: First | undefined, b: First | undefined): First | undefined {
  return a === 'of all' ? a : (b ?? a);
}

function fifo<T>(): Fifo<T> {
  return { places: [], head: 0 };
}

function laneOf<T>(lanes: Map<string, Lane<T>>, name: string): Lane<T> {
  const lane = lanes.get(name) ?? { first: fifo(), others: fifo() };
  lanes.set(name, lane);
  return lane;
}

/** From the lane whose turn it is, which then goes to the end. Lanes that turn out empty are forgotten. */
function shiftLanes<T>(lanes: Map<string, Lane<T>>): T | undefined {
  for (const [name, lane] of lanes) {
    const item = shiftFifo(lane.first) ?? shiftFifo(lane.others);
    lanes.delete(name);
    if (item === undefined) continue;
    lanes.set(name, lane);
    return item;
  }
  return undefined;
}

/** An index instead of Array.shift, which moves everything; what is behind it is cut off when it is the greater part. */
function shiftFifo<T>(fifo: Fifo<T>): T | undefined {
  while (fifo.head < fifo.places.length) {
    const { item } = fifo.places[fifo.head++] as Place<T>;
    if (fifo.head > 64 && fifo.head * 2 > fifo.places.length) {
      fifo.places = fifo.places.slice(fifo.head);
      fifo.head = 0;
    }
    if (item !== undefined) return item;
  }
  return undefined;
}
