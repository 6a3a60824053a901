/**
 * The journal: the allocation table in ConfigMaps, one object for 250 numbers. It makes what the ledger decided
 * survive us; while we run, the ledger is right and the table follows.
 *
 * Each block has one write in flight; what arrives meanwhile rides the next one.
 *
 *   idle ──add──► writing ──ok──► idle, or the next batch
 *                    ├──409, 404──► read again, compare with what we wrote last:
 *                    │                a stamp of our own  → somebody edited it: ours goes over it (a heal)
 *                    │                an older stamp      → a former leader was late: its reservations and releases stand,
 *                    │                                      ours on the same number are lost and decided again
 *                    │                any other stamp     → a Lease names us: stamp all blocks anew, above it;
 *                    │                                      else stop: another leader is at work
 *                    └──other error──► back off, read again, same batch
 *
 * A promise of `write` settles only after the write that contains its entries is answered. Blocks are created or
 * replaced at a known resourceVersion, never upserted. What cannot be read is copied aside before it is replaced.
 */
import { formatEntry, parseEntry } from '../allocation/entry.ts';
import type { Entry } from '../allocation/types.ts';
import { sleep } from '../kube/clock.ts';
import { isKubeError } from '../kube/errors.ts';
import { compareResourceVersions } from '../kube/store.ts';
import type { Port } from '../ports/portSet.ts';
import { backoffFor, type Batch, type Block, newBatch, newBlock } from './block.ts';
import { type HealKind, healOf, noteDamage } from './heals.ts';
import type { Journal, JournalOptions } from './journalTypes.ts';
import {
  type BlockView,
  blockNameOf,
  bytesOf,
  epochOf,
  isNewer,
  isReadable,
  merged,
  numbersOfBlock,
  readableEntries,
  sameData,
} from './table.ts';
import { createTableApi, type TableApi } from './tableApi.ts';

/** From one `load` to the next, unless nothing had to be dropped between them. */
interface Era {
  readonly api: TableApi;
  readonly ended: AbortController;
}

export function createJournal(options: JournalOptions): Journal {
  const { transport, namespace, clock, observer, log } = options;
  const blocks = new Map<string, Block>();
  const newer = new Set<string>();
  let era = newEra();
  let isClosed = false;
  let stamp = '';
  /** The highest epoch of what was loaded. */
  let found = 0;
  let newestFound = '';
  /** Nothing was decided yet from what was loaded. */
  let isOpening = false;
  let raising = Promise.resolve();
  let whenIdle = Promise.withResolvers<void>();
  let working = 0;

  /** What began in one ends with it. */
  function newEra(): Era {
    const ended = new AbortController();
    return { ended, api: createTableApi({ transport, namespace, signal: ended.signal }) };
  }

  function endEra(why: string): void {
    const reason = new Error(why);
    era.ended.abort(reason);
    for (const { next } of blocks.values()) next?.done.reject(reason);
  }

  function blockNamed(name: string): Block {
    const known = blocks.get(name);
    if (known !== undefined) return known;
    const block = newBlock(name);
    blocks.set(name, block);
    return block;
  }

  /** Takes over what the server has, as the base of the next write. */
  function rebase(block: Block, view: BlockView | undefined): void {
    block.resourceVersion = view?.resourceVersion;
    if (view !== undefined && compareResourceVersions(view.resourceVersion, newestFound) > 0)
      newestFound = view.resourceVersion;
    if (view === undefined || isReadable(view)) return;
    block.unreadable = view;
    setDrift(block, true);
  }

  function setDrift(block: Block, drifts: boolean): void {
    if (block.drifts === drifts) return;
    block.drifts = drifts;
    options.onDrift();
  }

  async function flush(block: Block): Promise<void> {
    if (block.writing) return;
    block.writing = true;
    working += 1;
    const now = era;
    try {
      while ((block.next !== undefined || block.mustWrite) && !now.ended.signal.aborted)
        await writeBatch(block, now);
    } finally {
      block.writing = false;
      working -= 1;
      if (working === 0) {
        whenIdle.resolve();
        whenIdle = Promise.withResolvers();
      }
    }
    if (now === era) compare(block, options.blocks.get(`${namespace}/${block.name}`));
  }

  async function writeBatch(block: Block, { api, ended }: Era): Promise<void> {
    const batch = block.next;
    block.next = undefined;
    block.mustWrite = false;
    for (let tries = 1; !ended.signal.aborted; tries += 1) {
      const data = merged(block.expected, batch?.changes);
      try {
        await keepAside(block, api);
        await put(block, data, api);
        block.expected = data;
        tellHeal(block);
        setDrift(block, false);
        batch?.done.resolve();
        return;
      } catch (error) {
        const isConflict = isKubeError(error, 'Conflict', 'AlreadyExists', 'NotFound');
        observer.wrote(isConflict ? 'conflict' : 'error', 0);
        if (!isConflict || tries > 1) {
          log.warn({ block: block.name, error: String(error) }, 'table block not written, trying again');
          await sleep(clock, backoffFor(tries) * (0.5 + options.random()), ended.signal);
        }
        if (!ended.signal.aborted) await readAgain(block, batch, api);
      }
    }
    batch?.done.reject(ended.signal.reason);
  }

  function tellHeal(block: Block): void {
    const heal = healOf(block, block.expected);
    block.damage = undefined;
    if (heal !== undefined) options.onHealed(heal);
  }

  async function put(block: Block, data: Record<string, string>, api: TableApi): Promise<void> {
    const { name, resourceVersion } = block;
    const startedAt = clock.monotonic();
    block.resourceVersion = await api.write({ name, stamp, resourceVersion, data });
    observer.wrote('ok', (clock.monotonic() - startedAt) / 1_000);
  }

  /** The raw text of a block that cannot be read is evidence: it is kept beside the table. */
  async function keepAside(block: Block, api: TableApi): Promise<void> {
    if (block.unreadable === undefined) return;
    const copy = await api.keepAside(block.unreadable);
    block.unreadable = undefined;
    observer.healed('corrupt', block.name);
    log.warn({ block: block.name, copy }, 'table block could not be read: copied aside and rebuilt');
  }

  async function readAgain(block: Block, batch: Batch | undefined, api: TableApi): Promise<void> {
    let view: BlockView | undefined;
    try {
      view = await api.read(block.name);
    } catch (error) {
      return log.warn({ block: block.name, error: String(error) }, 'table block not read, trying again');
    }
    if (view !== undefined && isAnothers(view) && !(await prevails(view))) return fence(view);
    if (view !== undefined && view.stamp !== stamp) takeOver(block, view, batch);
    else noteFound(block, view, batch);
    rebase(block, view);
  }

  /** Somebody was faster than our write, which goes over it now. */
  function noteFound(block: Block, view: BlockView | undefined, batch: Batch | undefined): void {
    if (block.resourceVersion === undefined) return;
    const isDamaged = noteDamage(block, view, block.expected, merged(block.expected, batch?.changes));
    if (isDamaged && block.damage?.kind !== 'corrupt')
      observer.healed(view === undefined ? 'deleted' : 'edited', block.name);
  }

  /**
   * A former leader's late write. Before anything was decided from what was loaded, all that it says stands; later, what
   * it reserved and we did not know.
   */
  function takeOver(block: Block, view: BlockView, batch: Batch | undefined): void {
    for (const [port, entry] of readableEntries(view)) {
      const text = formatEntry(entry);
      if (text === block.expected[port]) continue;
      const ours = batch?.changes.get(port) ?? block.next?.changes.get(port);
      const known = [parseEntry(block.expected[port] ?? '')?.uid, ours?.uid];
      if (!isOpening && (entry.state !== 'Held' || known.includes(entry.uid))) continue;
      block.expected[port] = text;
      for (const each of [batch, block.next]) each?.changes.delete(port);
      options.onFound(port, entry);
    }
  }

  /** A newer leader, or a newer version of us, has the block: it is not ours to write. */
  function isAnothers(view: BlockView): boolean {
    return isNewer(view) || (view.stamp !== stamp && epochOf(view.stamp) >= epochOf(stamp));
  }

  /**
   * Another's stamp, and who is the leader? A Lease that still names us is stronger than a stamp: then our epoch goes
   * above it, and every block is stamped anew. Otherwise it is the other.
   */
  function prevails(view: BlockView): Promise<boolean> {
    if (isNewer(view) || !options.mandate().isElected) return Promise.resolve(false);
    raising = raising.then(() => raiseAbove(view));
    return raising.then(
      () => true,
      () => false,
    );
  }

  async function raiseAbove(view: BlockView): Promise<void> {
    const epoch = epochOf(view.stamp);
    if (epochOf(stamp) > epoch) return;
    stamp = `${await options.mandate().claimEpoch(epoch)}/${options.identity}`;
    log.warn({ block: view.name, found: view.stamp, stamp }, 'a stamp of who has no lease: stamped anew');
    void stampAll();
  }

  function stampAll(): Promise<unknown> {
    for (const block of blocks.values()) block.mustWrite = true;
    return Promise.all([...blocks.values()].map(flush));
  }

  async function contest(view: BlockView): Promise<void> {
    if (!(await prevails(view))) fence(view);
  }

  function fence(view: BlockView): void {
    close();
    options.onFenced(view.stamp, view.name);
  }

  /** Mends a block that differs from what we wrote, unless a write of ours is about to tell. */
  function compare(block: Block, view: BlockView | undefined): void {
    if (block.writing || isClosed || stamp === '' || newer.has(block.name)) return;
    if (view === undefined) {
      if (block.resourceVersion === undefined) return;
      if (compareResourceVersions(block.goneAt, block.resourceVersion) < 0) return;
      block.resourceVersion = undefined;
      noteDamage(block, undefined, block.expected);
      return heal(block, 'deleted');
    }
    if (compareResourceVersions(view.resourceVersion, block.resourceVersion ?? '') <= 0) return;
    if (isAnothers(view)) return void contest(view);
    const isSame = view.stamp === stamp && sameData(view.data, block.expected);
    if (view.stamp !== stamp) takeOver(block, view, block.next);
    if (!isSame) noteDamage(block, view, block.expected);
    rebase(block, view);
    if (!isSame) heal(block, 'edited');
  }

  function heal(block: Block, kind: HealKind): void {
    log.warn({ block: block.name, kind }, 'table block differs from what was written: written again');
    if (block.unreadable === undefined) observer.healed(kind, block.name);
    setDrift(block, true);
    block.mustWrite = true;
    void flush(block);
  }

  function close(): void {
    isClosed = true;
    endEra('the journal is closed');
  }

  options.blocks.subscribe(({ before, after }) => {
    const block = blocks.get((after ?? before)?.name ?? '');
    if (block !== undefined) {
      if (after === undefined) block.goneAt = before?.resourceVersion ?? '';
      compare(block, after);
    } else if (after !== undefined && stamp !== '' && numbersOfBlock(after.name) !== undefined)
      compare(blockNamed(after.name), after);
  });

  return {
    load() {
      const entries: [Port, Entry][] = [];
      const unreadable: Port[] = [];
      found = Math.max(found, epochOf(stamp));
      // Until `open`, what the watch shows is no edit of what was loaded: it may be a later write of our own.
      stamp = '';
      newestFound = '';
      blocks.clear();
      newer.clear();
      for (const view of options.blocks.values()) {
        const numbers = numbersOfBlock(view.name);
        if (numbers === undefined) continue;
        found = Math.max(found, epochOf(view.stamp));
        if (isNewer(view)) {
          newer.add(view.name);
          unreadable.push(...numbers);
          continue;
        }
        const block = blockNamed(view.name);
        rebase(block, view);
        for (const [port, entry] of readableEntries(view)) {
          block.expected[port] = formatEntry(entry);
          entries.push([port, entry]);
        }
        if (!isReadable(view)) noteDamage(block, view, block.expected);
      }
      return { entries, unreadable };
    },
    async open() {
      isOpening = true;
      stamp = `${await options.mandate().claimEpoch(found)}/${options.identity}`;
      // One that came since `load` is stamped, too: our first write meets it.
      for (const { name } of options.blocks.values())
        if (!newer.has(name) && numbersOfBlock(name) !== undefined) blockNamed(name);
      await stampAll();
      isOpening = false;
    },
    write(changes) {
      const batches = new Map<string, Batch>();
      for (const [port, entry] of changes) {
        const block = blockNamed(blockNameOf(port));
        if (newer.has(block.name)) continue;
        block.next ??= newBatch(isClosed);
        block.next.changes.set(port, entry);
        batches.set(block.name, block.next);
      }
      for (const name of batches.keys()) void flush(blockNamed(name));
      const done = (names: Iterable<string>): Promise<unknown> =>
        Promise.all(Array.from(names, (name) => batches.get(name)?.done.promise ?? Promise.resolve()));
      return { all: done(batches.keys()), of: (ports) => done(new Set(Array.from(ports, blockNameOf))) };
    },
    abandon() {
      if (isClosed) return;
      endEra('decided from what never was');
      era = newEra();
      found = Math.max(found, epochOf(stamp));
      stamp = '';
      blocks.clear();
    },
    newestFound: () => newestFound,
    idle: () => (working === 0 ? Promise.resolve() : whenIdle.promise),
    check() {
      for (const block of blocks.values()) {
        const view = options.blocks.get(`${namespace}/${block.name}`);
        // Not shown for so long: also a deletion that fell into a gap of the watch comes to light.
        if (view === undefined) block.goneAt = block.resourceVersion ?? '';
        compare(block, view);
      }
    },
    drifting: () => [...blocks.values()].filter(({ drifts }) => drifts).map(({ name }) => name),
    newerBlocks: () => [...newer],
    sizes: () => new Map([...blocks].map(([name, { expected }]) => [name, bytesOf(expected)])),
    close,
  };
}
