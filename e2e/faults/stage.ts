import { ApiError, type Client } from '../cluster/client.ts';
import {
  service,
  servicesPath,
  portRange,
  RANGES,
  type RangeSpec,
  type Service,
} from '../support/objects.ts';
import type { Stage, Step } from '../../test/simulation/scenario.ts';

/** Carries out steps on a real cluster as the team that the simulation knows, one thing after the other. */
export interface Team {
  /** Resolves when all of the step is done. */
  run(step: Step): Promise<void>;
}

const AS_TEAM = '?fieldManager=team';

/**
 * @param isTolerant what cannot be done in this history (the object is there already, or is no more) is left out
 */
export function createTeam(client: Client, services: () => Service[], isTolerant: boolean): Team {
  let all = Promise.resolve();
  const then = (run: () => Promise<unknown>): void => {
    all = all.then(() => (isTolerant ? tolerant(run) : run())).then(() => undefined);
  };
  const stage: Stage = {
    namespace: (name, annotations = {}) =>
      then(() => client.patch(`/api/v1/namespaces/${name}`, 'merge', { metadata: { annotations } })),
    range: (name, from, to, spec = {}) =>
      then(() => client.create(RANGES + AS_TEAM, portRange(name, from, to, spec as Partial<RangeSpec>))),
    service: (key, options) =>
      then(() =>
        client.create(`/api/v1/namespaces/${key.split('/')[0]}/services${AS_TEAM}`, service(key, options)),
      ),
    edit: (key, patch) => then(() => client.patch(servicesPath(key), 'merge', patch, AS_TEAM.slice(1))),
    remove: (key) => then(() => client.delete(servicesPath(key))),
    request: (method, path, body) =>
      then(() =>
        method === 'DELETE' ? client.delete(path) : client.patch(path, 'merge', body, AS_TEAM.slice(1)),
      ),
    services,
    // Real time passes by itself.
    elapse: () => Promise.resolve(),
  };
  return {
    async run(step) {
      await step.run(stage);
      await all;
    },
  };
}

/** What is taken, gone, or there already is refused like anybody's; true: it was done. */
export async function tolerant(run: () => Promise<unknown>): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    if (!(error instanceof ApiError) || !isRefusal(error)) throw error;
    return false;
  }
}

/** The apiserver says 500 where the update of a Service names a number that it has given to another port of it. */
function isRefusal({ status, message }: ApiError): boolean {
  return [404, 409, 422].includes(status) || message.includes('duplicate nodePort');
}
