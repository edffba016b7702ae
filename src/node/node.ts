// The life of a node: start, keep the host as the store says, stop.
//
//   start    config -> underlay -> dataplane -> control socket -> lease -> firewall -> leases -> devices, addresses,
//            routes -> subnet.env                                                      (parts.ts)
//   run      whenever the store, the kernel or the clock says so: facts + leases -> plan -> reconcile   (comparison.ts)
//   stop     the engines, and with them their devices, addresses and routes; the control socket. What the kernel carries
//            alone stays, and so do lease, subnet.env and firewall rules: for the next start, and for the containers
//            that go on. `kersey cleanup` removes them.
//
// Once started, nothing ends the node but its signal. A store that cannot be read, a route that is refused, an MTU that
// has become too small: the last good state stays in force, the problem is logged once and shown in the status, and is
// gone from there when it is gone. The one exception is a subnet that a shared store has given to another host: then the
// node ends as 'moved', and whoever runs it (serve.ts) starts it again with a new one.
//
// Not handled: changes of the network config (restart).

import { KerseyError } from '../errors.ts';
import { RT_TABLE } from '../netlink/constants.ts';
import type { NetlinkEvent } from '../netlink/events.ts';
import type { Status } from '../observe/status.ts';
import type { StoreEvent } from '../store/subnet-manager.ts';
import { Comparison } from './comparison.ts';
import type { DataplaneWish } from './dataplane.ts';
import { Pacemaker } from './pacemaker.ts';
import { makeParts } from './parts.ts';
import type { NodeOptions, Parts } from './parts.ts';
import { nodeStatus } from './status.ts';
import type { NodeBrief } from './status.ts';
import { Undo } from './undo.ts';

export type { NodeOptions } from './parts.ts';

export type NodeEnd =
  | { readonly kind: 'stopped' }
  /** Our subnet is another's; a new start gets a new one. */
  | { readonly kind: 'moved'; readonly reason: KerseyError };

export class Node {
  readonly #parts: Parts;
  readonly #since = new Date();
  readonly #stored: AsyncIterator<StoreEvent>;
  readonly #comparison: Comparison;
  #end: NodeEnd = { kind: 'stopped' };
  readonly #pace: Pacemaker;
  /** What the last comparison could not make as it should be. */
  #left: readonly KerseyError[] = [];

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.#stored = parts.options.store.watch(parts.stop.signal)[Symbol.asyncIterator]();
    this.#pace = new Pacemaker(() => {
      const { problems, settled } = this.#comparison.run();
      this.#left = problems;
      return settled;
    });
    this.#comparison = new Comparison(parts, {
      onMoved: (reason) => {
        this.#end = { kind: 'moved', reason };
        parts.stop.abort();
      },
      onLater: () => {
        this.wake();
      },
    });
  }

  /** Resolves when the node forwards. @throws KerseyError, with everything undone */
  static async start(options: NodeOptions, signal: AbortSignal): Promise<Node> {
    const undo = new Undo();
    const ready: { node?: Node } = {};
    try {
      const callbacks = {
        status: () => ready.node?.status(),
        setDataplane: (wish: DataplaneWish) => ready.node?.setDataplane(wish),
        onChange: () => ready.node?.wake(),
        onKernelEvents: () => ready.node?.listen(),
      };
      const node = new Node(await makeParts(options, undo, callbacks, signal));
      await node.#begin(signal);
      node.#parts.reconciler.keep();
      ready.node = node;
      return node;
    } catch (error) {
      await undo.run();
      throw error;
    }
  }

  async #begin(signal: AbortSignal): Promise<void> {
    const release = this.#endWith(signal);
    const first = await this.#stored.next().finally(release);
    signal.throwIfAborted();
    if (first.done === true) throw new KerseyError('STORE_CLOSED', 'the store ended before it had begun');
    if (first.value.kind === 'unreadable') throw first.value.error;
    this.#comparison.take(first.value);
    this.#pace.beat();
    const [problem] = this.#left;
    if (problem !== undefined) throw problem;
  }

  /** Keeps the host as the store says until the signal aborts, or our subnet is lost for good. */
  async run(signal: AbortSignal): Promise<NodeEnd> {
    const release = this.#endWith(signal);
    this.#pace.start();
    // What came while nobody listened is told of no more.
    this.listen();
    try {
      for (;;) {
        const event = await this.#stored.next();
        if (event.done === true) break;
        this.#comparison.take(event.value);
        this.#pace.beat();
      }
      return signal.aborted ? { kind: 'stopped' } : this.#end;
    } finally {
      this.#pace.stop();
      release();
    }
  }

  /** Ends the watch when the signal aborts. @returns how to part from the signal */
  #endWith(signal: AbortSignal): () => void {
    const { stop } = this.#parts;
    const end = (): void => {
      stop.abort();
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    return () => {
      signal.removeEventListener('abort', end);
    };
  }

  /** Removes what cannot go on without this process, and the control socket. */
  async close(): Promise<void> {
    await this.#parts.undo.run();
  }

  status(): Status {
    return nodeStatus(this.#parts, this.#comparison, this.#since);
  }

  /**
   * Changes over to another dataplane, with the same lease, addresses and peers. What is asked for and cannot be had
   * leaves everything as it was.
   * @throws KerseyError USAGE, BACKEND_UNSUPPORTED and whatever keeps a device from being made
   */
  setDataplane(wish: DataplaneWish): Status {
    this.#comparison.setDataplane(wish);
    return this.status();
  }

  /** Something outside of it has changed: everything is compared as soon as may be. */
  wake(): void {
    this.#pace.wake();
  }

  /** Takes the kernel's events, and asks for the next ones. */
  listen(): void {
    if (this.#hasNews()) this.wake();
  }

  /** The status in short, cheap enough to be asked every second. */
  brief(): NodeBrief {
    return this.#comparison.brief();
  }

  #hasNews(): boolean {
    try {
      const devices = this.#comparison.deviceIndexes;
      return this.#parts.events.take().some((event) => isNews(event, devices));
    } catch (error) {
      // Without events there is still the clock.
      this.#comparison.deaf = KerseyError.from(error);
      return true;
    }
  }
}

/** Neighbours of other devices come and go with every ARP answer. */
function isNews(event: NetlinkEvent, devices: ReadonlySet<number>): boolean {
  if (event.kind === 'neighbour') return devices.has(event.device);
  return event.kind !== 'route' || event.route.table === RT_TABLE.MAIN;
}
