import type { Client, WatchEvent } from '../e2e/cluster/client.ts';
import { type PortRange, portRangePath } from '../src/api/portRange.ts';
import { type RawService, type ServiceView, toServiceView } from '../src/api/service.ts';

/** What a watch of the demo's own shows of the cluster, so that every wait is for a condition and every time is measured. */
export interface World {
  /** By namespace/name. */
  readonly services: ReadonlyMap<string, ServiceView>;
  readonly ranges: ReadonlyMap<string, PortRange>;
  /**
   * Resolves when `missing` finds nothing missing any more, which it is asked after every change.
   * Throws with what it said last when 60 s were not enough, or when the watch broke.
   */
  until(missing: () => string | undefined): Promise<void>;
  /** Called after every change of a Service. */
  onService(listener: (service: ServiceView) => void): void;
}

const LONGEST_WAIT_MS = 60_000;

export async function watchWorld(client: Client, signal: AbortSignal): Promise<World> {
  const services = new Map<string, ServiceView>();
  const ranges = new Map<string, PortRange>();
  const listeners = new Set<() => void>();
  const onService = new Set<(service: ServiceView) => void>();
  let broken: string | undefined;
  const changed = (): void => listeners.forEach((listener) => listener());
  const failed = (error: unknown): void => {
    broken = error instanceof Error ? error.message : String(error);
    changed();
  };
  await follow(client, '/api/v1/services', signal, failed, (object, isGone) => {
    const service = toServiceView(object as RawService);
    if (isGone) services.delete(service.key);
    else services.set(service.key, service);
    if (!isGone) onService.forEach((listener) => listener(service));
    changed();
  });
  await follow(client, portRangePath, signal, failed, (object, isGone) => {
    const range = object as PortRange;
    if (isGone) ranges.delete(range.metadata.name);
    else ranges.set(range.metadata.name, range);
    changed();
  });
  return {
    services,
    ranges,
    onService: (listener) => void onService.add(listener),
    async until(missing) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const look = (): void => {
        if (broken !== undefined) reject(new Error(`the watch of the demo broke: ${broken}`));
        else if (missing() === undefined) resolve();
      };
      const tooLong = (): void => reject(new Error(`not within ${LONGEST_WAIT_MS / 1000} s: ${missing()}`));
      const timer = setTimeout(tooLong, LONGEST_WAIT_MS);
      listeners.add(look);
      look();
      await promise.finally(() => {
        clearTimeout(timer);
        listeners.delete(look);
      });
    },
  };
}

/** Lists, then watches from there. The apiserver ends a watch after half an hour or more: then it is begun again. */
async function follow(
  client: Client,
  path: string,
  signal: AbortSignal,
  failed: (error: unknown) => void,
  take: (object: unknown, isGone: boolean) => void,
): Promise<void> {
  const onEvent = ({ type, object }: WatchEvent): void => {
    if (type === 'ERROR') failed(object.message);
    else if (type !== 'BOOKMARK') take(object, type === 'DELETED');
  };
  const { items, resourceVersion } = await client.list<unknown>(path);
  for (const item of items) take(item, false);
  const { ended } = await client.watch(`${path}?resourceVersion=${resourceVersion}`, onEvent, signal);
  ended
    .then(() => (signal.aborted ? undefined : follow(client, path, signal, failed, take)))
    .catch((error: unknown) => (signal.aborted ? undefined : failed(error)));
}
