/** What must hold whenever everything has come to rest. */
import { readHoldings } from '../../src/api/holdings.ts';
import { numbersOf, type ServicePort, type ServiceView } from '../../src/api/service.ts';
import { shows, wishOf as shownFor } from '../../src/controller/settle.ts';
import type { ControllerModel, Sees } from './controllerModel.ts';
import { isPinned, ownWish } from './declared.ts';
import { check, type Facts, same } from './facts.ts';

/** What the laws remember of the way here. */
interface Memory {
  readonly granted: ReadonlyMap<string, { readonly request: string | undefined }>;
  /** UIDs of Services with numbers that others named, or that were there before a default. */
  readonly keepsForGood: ReadonlySet<string>;
}

export function createRest(facts: Facts, { granted, keepsForGood }: Memory) {
  const { cluster, objects, entryAt, heldBy, wishOf } = facts;

  function holdsWhatItShows(view: ServiceView): void {
    const held = heldBy(view.uid);
    const shown = view.condition;
    const detail = { view, held, ranges: specs() };
    const isManaged = wishOf(view).by !== 'nobody';
    check(isManaged === (shown !== undefined), 'managed Services show a condition, others do not', detail);
    const told = readHoldings(shown?.message ?? '')?.numbers ?? [];
    check(same(told, held), 'the condition names exactly what the table gives', detail);
    const numbers = view.ports.map(({ nodePort }) => nodePort);
    check(
      told.every((n) => numbers.includes(n)),
      'table = reality',
      detail,
    );
    if (shown?.status !== 'True') return;
    const all = numbers.filter((n) => n !== 0);
    check(same(told, all), 'served: it holds all that it has', detail);
    const range = / (?:from|outside) ([a-z0-9-]+)(?=[;:]|$)/.exec(shown.message)?.[1] ?? '';
    const isGiven = facts.isAdmitted(range, view) && told.every((n) => facts.givable(range).includes(n));
    check(isGiven === (shown.reason !== 'HeldOutOfRange'), 'in segment, or HeldOutOfRange', detail);
    for (const p of view.ports)
      for (const q of view.ports) {
        const isOne = p.nodePort === q.nodePort || p.nodePort === 0 || q.nodePort === 0;
        const isFine = p.port !== q.port || isOne || keepsForGood.has(view.uid);
        check(isFine, 'kubernetes #39188: one port, one number', detail);
      }
    const wish = wishOf(view);
    for (const { port, nodePort } of view.ports) {
      const wanted = 'numbers' in wish ? wish.numbers.get(port) : undefined;
      check(wanted === undefined || wanted === nodePort || nodePort === 0, 'served: what it names', detail);
    }
  }

  /** Whoever is told that there is nothing for it could not be served. */
  function waitsForAReason(view: ServiceView, sees: Sees): void {
    const wish = wishOf(view);
    const reason = view.condition?.reason;
    if (!('numbers' in wish) || view.ports.some(isPinned)) return;
    const open = facts
      .candidates(wish, view)
      .filter((name) => facts.isAdmitted(name, view) && !facts.isPaused(name));
    const free = (name: string): number[] => facts.pickable(name).filter((n) => facts.isFree(n, sees));
    const spoken = new Set(cluster.keys().flatMap(numbersWaitedFor));
    const detail = { view, wish, open, ranges: specs() };
    if (reason === 'RangeExhausted' && wish.numbers.size === 0)
      for (const name of open) {
        const left = free(name).filter((n) => !spoken.has(n));
        check(left.length < needOf(view, name), 'who can be served is served', { ...detail, left });
      }
    const isAllNamed = view.ports.every(({ port }) => wish.numbers.has(port));
    if (reason !== 'PortTaken' || !isAllNamed) return;
    const isOwnToHave = (number: number, port: number): boolean =>
      number !== view.healthCheckNodePort &&
      !sees.isRefused(number) &&
      facts.othersClaim(
        number,
        view,
        view.ports.filter((p) => p.port === port),
        sees,
      ) === undefined;
    for (const name of open) {
      const canGive = [...wish.numbers.values()].every((n) => facts.givable(name).includes(n));
      const canHave = [...wish.numbers].every(([port, n]) => isOwnToHave(n, port));
      check(!canGive || !canHave, 'who can have the numbers that it names has them', { ...detail, name });
    }
  }

  function numbersWaitedFor(key: string): number[] {
    const view = cluster.view(key);
    const wish = view && wishOf(view);
    if (view?.condition?.reason !== 'PortTaken' || wish === undefined || !('numbers' in wish)) return [];
    return [...wish.numbers.values()];
  }

  /** How many of its ports have no number that they would keep. */
  function needOf(view: ServiceView, range: string): number {
    const own = ownWish(wishOf(view));
    const held = heldBy(view.uid);
    const isHonoured = own === undefined || granted.get(view.uid)?.request === own;
    const keeps = ({ nodePort }: ServicePort): boolean =>
      (held.includes(nodePort) && isHonoured) ||
      (facts.pickable(range).includes(nodePort) && !facts.isResting(nodePort));
    const kept = new Set(view.ports.filter(keeps).map(({ port }) => port));
    return new Set(view.ports.map(({ port }) => port).filter((port) => !kept.has(port))).size;
  }

  function nothingLeftToDo(view: ServiceView, controller: ControllerModel): void {
    const decision = controller.decisionFor(view);
    const detail = { view, decision, ranges: specs() };
    check(decision.do !== 'assign' && decision.do !== 'defer', 'at rest nothing is written', detail);
    check(shows(view, shownFor(decision).verdict), 'deciding again says the same', detail);
  }

  function specs(): unknown {
    return [...objects.values()].map(({ metadata, spec }) => ({ name: metadata.name, ...spec }));
  }

  return {
    settled(controller: ControllerModel): void {
      const views = cluster.keys().flatMap((key) => cluster.view(key) ?? []);
      const owners = new Map(views.map((view) => [view.uid, view]));
      for (const [number] of facts.table) {
        const held = entryAt(number);
        if (held?.state !== 'Held') continue;
        const owner = owners.get(held.uid);
        const hasIt = owner !== undefined && numbersOf(owner).includes(number);
        check(hasIt, 'table = reality: whom it names has the number', { number, held, owner });
      }
      for (const view of views) {
        holdsWhatItShows(view);
        waitsForAReason(view, controller.sees);
        nothingLeftToDo(view, controller);
      }
      for (const name of objects.keys())
        for (const number of facts.givable(name)) {
          const holding = controller.ledger.holding(number);
          const isFree = facts.isFree(number, controller.sees);
          const detail = { number, holding, entry: entryAt(number) };
          check((holding === undefined) === isFree, 'no leak: free is what nobody has', detail);
        }
      for (const view of views) controller.ledger.fold(view, controller.decisionFor(view), facts.now());
      const { entries } = controller.ledger.drain(new Map());
      check(entries.size === 0, 'at rest the table is not written', [...facts.table, ...entries]);
    },
  };
}
