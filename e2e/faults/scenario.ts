import { ANNOTATION } from '../../src/api/names.ts';
import { STEPS as SHARED, type Step } from '../../test/simulation/scenario.ts';

/**
 * The scenario of the simulation, for real time: no five minutes pass in it, so the end of a cooldown is seen on one
 * of a second, by somebody who waits for that very number.
 */
export interface RealStep extends Step {
  /** Just before the controller writes this Service's number, somebody else is given that very number. */
  readonly snatched?: string;
}

export const STEPS: readonly RealStep[] = [
  ...SHARED.filter(({ name }) => name !== 'cooldowns end'),
  {
    name: 'the apiserver refuses a number that was free a moment ago',
    snatched: 'c/refused',
    run: (on) => on.service('c/refused'),
  },
  {
    name: 'a short cooldown',
    run: (on) =>
      on.request('PATCH', '/apis/nodeport-manager.io/v1alpha1/portranges/shared', {
        spec: { cooldown: '1s' },
      }) as void,
  },
  {
    name: 'a number rests, somebody waits for it, and gets it when that is over',
    run(on) {
      on.service('c/waits', { annotations: { [ANNOTATION.ports]: '30044', [ANNOTATION.range]: 'shared' } });
      on.remove('b/exact');
    },
  },
  {
    name: 'a range comes back under its old name',
    run: (on) => on.range('team-b', 30_020, 30_039, { namespaces: ['b'] }),
  },
];
