import { compileRanges, type Range } from '../allocation/range.ts';
import type { Store } from '../kube/store.ts';
import type { PortSet } from '../ports/portSet.ts';
import type { PortRangeView } from './inputs.ts';

/** Compiles all PortRanges when they are asked for after a change: a list of hundreds is one compilation, not hundreds. */
export function compiledOnDemand(
  views: Store<PortRangeView>,
  nodePorts: () => PortSet | undefined,
  onChange: () => void,
): { get: () => ReadonlyMap<string, Range>; outdate: () => void } {
  let compiled: ReadonlyMap<string, Range> | undefined;
  let isAnnounced = false;
  return {
    get: () => (compiled ??= compileRanges(views.values(), nodePorts())),
    outdate() {
      compiled = undefined;
      if (isAnnounced) return;
      isAnnounced = true;
      queueMicrotask(() => {
        isAnnounced = false;
        onChange();
      });
    },
  };
}
