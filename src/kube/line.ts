/**
 * Who is next: urgent ones in their order, then one from each lane in turn.
 * Every operation is constant time on average; tens of thousands may stand in line.
 */

export interface Line<T extends { lane: string; urgent: boolean }> {
  /** Nothing may stand in line twice. Lane and urgency are read now. */
  push(item: T): void;
  /** Makes what stands in line urgent, behind those who are. */
  promote(item: T): void;
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

export function createLine<T extends { lane: string; urgent: boolean }>(): Line<T> {
  let urgent: Fifo<T> = { places: [], head: 0 };
  /** In the order of their turns: a lane that had its turn goes to the end. */
  const lanes = new Map<string, Fifo<T>>();
  const places = new Map<T, Place<T>>();

  const stand = (fifo: Fifo<T>, item: T): void => {
    const place: Place<T> = { item };
    places.set(item, place);
    fifo.places.push(place);
  };
  return {
    push: (item) => stand(item.urgent ? urgent : laneOf(lanes, item.lane), item),
    promote(item) {
      const place = places.get(item);
      if (place === undefined) return;
      place.item = undefined;
      item.urgent = true;
      stand(urgent, item);
    },
    shift() {
      const item = shiftFifo(urgent) ?? shiftLanes(lanes);
      if (item !== undefined) places.delete(item);
      return item;
    },
    get depth() {
      return places.size;
    },
    clear() {
      urgent = { places: [], head: 0 };
      lanes.clear();
      places.clear();
    },
  };
}

function laneOf<T>(lanes: Map<string, Fifo<T>>, name: string): Fifo<T> {
  const lane = lanes.get(name) ?? { places: [], head: 0 };
  lanes.set(name, lane);
  return lane;
}

/** From the lane whose turn it is, which then goes to the end. Lanes that turn out empty are forgotten. */
function shiftLanes<T>(lanes: Map<string, Fifo<T>>): T | undefined {
  for (const [name, lane] of lanes) {
    const item = shiftFifo(lane);
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
