// The life of a node: start, keep the host as the store says, stop.
//
//   start    config -> underlay -> control socket -> lease -> firewall -> leases -> devices, addresses, routes
//            -> subnet.env
//   run      whenever the store, the kernel or the clock says so: facts + leases -> desired state -> reconcile
//   stop     the engines, and with them devices, addresses and routes; the control socket. Lease and subnet.env stay,
//            so that the next start gets the same subnet; firewall rules stay for the containers that go on.
//
// What a start that fails had made is undone, last first.
//
// Once started, nothing ends the node but its signal. A store that cannot be read, a route that is refused, an MTU that
// has become too small: the last good state stays in force, the problem is logged once and shown in the status, and is
// gone from there when it is gone. The one exception is a subnet that a shared store has given to another host: then the
// node ends as 'moved', and whoever runs it (serve.ts) starts it again with a new one.
//
// Not handled: another underlay interface or address than at start, and changes of the network config (restart).

import type { NetworkConfig } from '../config/network.ts';
import { Engine } from '../engine/engine.ts';
import { KerseyError } from '../errors.ts';
import type { FirewallKeeper } from '../firewall/keeper.ts';
import type { Family } from '../net/ip.ts';
import { Netlink } from '../netlink/client.ts';
import { RT_TABLE } from '../netlink/constants.ts';
import { NetlinkEvents } from '../netlink/events.ts';
import type { NetlinkEvent } from '../netlink/events.ts';
import { ControlServer } from '../observe/control.ts';
import type { Log } from '../observe/log.ts';
import type { Status } from '../observe/status.ts';
import type { Lease } from '../store/lease.ts';
import type { StoreEvent, SubnetManager } from '../store/subnet-manager.ts';
import { claimLease } from './claim.ts';
import { assertNetworkFits, desiredState, deviceName, enabledFamilies, isOwn } from './desired.ts';
import type { Desired, EngineOptions, HostFacts } from './desired.ts';
import { factsKey, observeHost } from './facts.ts';
import { keepFirewall } from './firewall.ts';
import type { FirewallOptions } from './firewall.ts';
import { chooseUnderlay } from './iface.ts';
import type { Underlay, UnderlayWish } from './iface.ts';
import { Notices } from './notices.ts';
import { judgeOwnLease, movedError } from './own-lease.ts';
import { logPeerChanges } from './peer-changes.ts';
import { Reclaim } from './reclaim.ts';
import { Reconciler } from './reconcile.ts';
import { nodeStatus } from './status.ts';
import type { NodeBrief, StoreState } from './status.ts';
import { probeSubnetFile, readPreviousSubnets, subnetEnvOf, writeSubnetEnv } from './subnet-env.ts';
import type { PreviousSubnets } from './subnet-env.ts';
import { Undo } from './undo.ts';

export interface NodeOptions {
  readonly version: string;
  readonly store: SubnetManager;
  readonly wish: UnderlayWish;
  readonly engine: EngineOptions;
  readonly subnetFile: string;
  readonly firewall: FirewallOptions;
  readonly runDir: string;
  /** What the operator asked for and does not get: part of the status for as long as the node runs. */
  readonly warnings?: readonly string[];
  readonly log: Log;
  /** Why this node is started again with another subnet, in the same process. */
  readonly moved?: string | undefined;
}

export type NodeEnd =
  | { readonly kind: 'stopped' }
  /** Our subnet is another's; a new start gets a new one. */
  | { readonly kind: 'moved'; readonly reason: KerseyError };

/** How often the kernel's events are looked at, in milliseconds. */
const eventPeriod = 250;
/** After how long everything is compared anew without any event, in milliseconds. */
const fullPeriod = 30_000;
/** The same while the host is not as it should be, or our lease is missing, in milliseconds. */
const retryPeriod = 1000;
/** Of its time, how much a node may spend comparing when events never cease; but it never waits longer than this. */
const busyShare = 0.1;
const longestRest = 2000;

/** What a start has made and chosen. */
interface Parts {
  readonly options: NodeOptions;
  readonly undo: Undo;
  readonly config: NetworkConfig;
  readonly underlay: Underlay;
  readonly netlink: Netlink;
  readonly events: NetlinkEvents;
  readonly reconciler: Reconciler;
  readonly notices: Notices;
  readonly stop: AbortController;
  readonly claim: Claimer;
  readonly firewall: FirewallKeeper;
}

type Claimer = (facts: HostFacts, previous: PreviousSubnets, signal: AbortSignal) => Promise<Lease>;

export class Node {
  readonly #parts: Parts;
  readonly #since = new Date();
  readonly #stored: AsyncIterator<StoreEvent>;
  readonly #notices: Notices;
  /** Our lease as the store last had it. */
  #own: Lease;
  #leases: readonly Lease[] = [];
  #store: StoreState = { kind: 'readable', since: new Date(), warnings: [] };
  #facts: HostFacts;
  #desired: Desired | undefined;
  /** What #desired was made from. */
  #basis: readonly [facts: string, leases: readonly Lease[], own: Lease] | undefined;
  /** The MTU in the subnet file, once that is written. */
  #writtenMtu: number | undefined;
  /** A new claim came back with other subnets. */
  #moved: KerseyError | undefined;
  /** Why the kernel's events cannot be had. */
  #deaf: KerseyError | undefined;
  readonly #reclaim: Reclaim;
  #end: NodeEnd = { kind: 'stopped' };
  /**
   * When the last comparison ended and how long it took, in milliseconds, whether something happened since, and whether
   * it left nothing to try again. A store that is away is not tried here: it tells by itself when it is back.
   */
  #last = { end: 0, cost: 0, dirty: false, settled: true };

  private constructor(parts: Parts, own: Lease, facts: HostFacts) {
    this.#parts = parts;
    this.#own = own;
    this.#facts = facts;
    this.#notices = parts.notices;
    this.#stored = parts.options.store.watch(parts.stop.signal)[Symbol.asyncIterator]();
    this.#reclaim = new Reclaim((previous) => parts.claim(this.#facts, previous, parts.stop.signal));
  }

  /** Resolves when the node forwards. @throws KerseyError, with everything undone */
  static async start(options: NodeOptions, signal: AbortSignal): Promise<Node> {
    const undo = new Undo();
    try {
      const { store, wish, log } = options;
      const config = await store.config(signal);
      const netlink = Netlink.open();
      undo.add(() => {
        netlink.close();
      });
      const underlay = chooseUnderlay(wish, enabledFamilies(config), netlink);
      const { facts } = observeHost(netlink, underlay, config);
      assertNetworkFits(config, facts);
      signal.throwIfAborted();

      const ready: { node?: Node } = {};
      const device = deviceName(config.enableIPv4 ? 4 : 6, config.backend.vni);
      const control = await ControlServer.open(options.runDir, device, () => ready.node?.status());
      undo.add(() => control.close());
      const events = NetlinkEvents.open();
      undo.add(() => {
        events.close();
      });
      const notices = new Notices(log);
      const reconciler = new Reconciler({
        netlink,
        openEngine: (engine) => Engine.open(engine),
        onRepair: notices.repaired.bind(notices),
      });
      undo.add(() => {
        reconciler.close();
      });

      const vtepMacs = new Map<Family, string>();
      const ensureEngine = reconciler.ensureEngine.bind(reconciler);
      const claim: Claimer = (now, previous, until) =>
        claimLease(
          { store, config, underlay, facts: now, options: options.engine, previous, ensureEngine, vtepMacs },
          until,
        );
      probeSubnetFile(options.subnetFile);
      const own = await claim(facts, readPreviousSubnets(options.subnetFile), signal);
      // After a change-over the containers' bridge still has its old address: that is a problem, not a refusal.
      if (options.moved === undefined) assertNetworkFits(config, facts, own);

      const stop = new AbortController();
      undo.add(() => {
        stop.abort();
      });
      const onFirewallChange = (): void => {
        ready.node?.wake();
      };
      const firewall = await keepFirewall(
        { options: options.firewall, config, own, notices, log, undo, onChange: onFirewallChange },
        signal,
      );
      const parts = {
        ...{ options, undo, config, underlay, netlink, events, reconciler, notices, stop, claim },
        firewall,
      };
      const node = new Node(parts, own, facts);
      await node.#begin(signal);
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
    this.#takeLeases(first.value.leases, first.value.warnings);
    const [problem] = this.#reconcile();
    if (problem !== undefined) throw problem;
  }

  /** Keeps the host as the store says until the signal aborts, or our subnet is lost for good. */
  async run(signal: AbortSignal): Promise<NodeEnd> {
    const release = this.#endWith(signal);
    const timer = setInterval(() => {
      this.#tick();
    }, eventPeriod);
    try {
      for (;;) {
        const event = await this.#stored.next();
        if (event.done === true) break;
        this.#takeEvent(event.value);
      }
      return signal.aborted ? { kind: 'stopped' } : this.#end;
    } finally {
      clearInterval(timer);
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

  /** Removes devices, addresses, routes and the control socket. */
  async close(): Promise<void> {
    await this.#parts.undo.run();
  }

  status(): Status {
    const { options, underlay, reconciler, firewall } = this.#parts;
    return nodeStatus({
      version: options.version,
      since: this.#since,
      storeDescription: options.store.description,
      store: this.#store,
      leases: this.#leases,
      own: this.#own,
      term: options.store.health().term,
      underlay,
      facts: this.#facts,
      desired: this.#desired ?? { overlays: [], mtu: 0, warnings: [] },
      reconciler,
      firewall,
      problems: this.#notices.problems,
      warnings: this.#notices.warnings,
    });
  }

  /** Something outside of it has changed: everything is compared at the next tick. */
  wake(): void {
    this.#last.dirty = true;
  }

  /** The status in short, cheap enough to be asked every second. */
  brief(): NodeBrief {
    const { reconciler } = this.#parts;
    const overlays = this.#desired?.overlays ?? [];
    const forwards = overlays.every(({ family }) => reconciler.engine(family)?.state().kind === 'running');
    return {
      own: this.#own,
      peers: Math.max(0, ...overlays.map(({ peers }) => peers.length)),
      ready: overlays.length > 0 && forwards && this.#writtenMtu !== undefined,
      problems: this.#notices.problems,
    };
  }

  #takeEvent(event: StoreEvent): void {
    if (event.kind === 'leases') {
      this.#takeLeases(event.leases, event.warnings);
    } else {
      const since = this.#store.kind === 'unreadable' ? this.#store.since : new Date();
      this.#store = { kind: 'unreadable', since, error: event.error };
    }
    this.#reconcile();
  }

  #takeLeases(leases: readonly Lease[], warnings: readonly string[]): void {
    const since = this.#store.kind === 'readable' ? this.#store.since : new Date();
    this.#store = { kind: 'readable', since, warnings };
    this.#leases = leases;
  }

  #tick(): void {
    this.#parts.firewall.tick();
    this.#last.dirty ||= this.#hasNews();
    const { end, cost, dirty, settled } = this.#last;
    const due = dirty ? 0 : settled ? fullPeriod : retryPeriod;
    if (performance.now() - end >= Math.max(due, Math.min(cost / busyShare, longestRest))) this.#reconcile();
  }

  #hasNews(): boolean {
    try {
      return this.#parts.events.take().some(isNews);
    } catch (error) {
      // Without events there is still the clock.
      this.#deaf = KerseyError.from(error);
      return false;
    }
  }

  /** The one way in which anything changes, whatever happened. @returns what could not be made as it should be */
  #reconcile(): readonly KerseyError[] {
    const start = performance.now();
    const problems: KerseyError[] = [];
    const others: KerseyError[] = this.#deaf === undefined ? [] : [this.#deaf];
    const { firewall } = this.#parts;
    others.push(...firewall.problems);
    const warnings = [...(this.#parts.options.warnings ?? []), ...firewall.warnings];
    const step = (action: () => void, into = problems): void => {
      try {
        action();
      } catch (error) {
        into.push(KerseyError.from(error));
      }
    };
    step(() => {
      this.#judgeStore(others, warnings);
    });
    step(() => {
      this.#want(warnings);
    });
    const { config, options } = this.#parts;
    if (options.moved !== undefined) {
      warnings.push(options.moved);
      step(() => {
        assertNetworkFits(config, this.#facts, this.#own);
      }, others);
    }
    // When the wish could not be made up, the last one stays in force.
    const desired = this.#desired;
    if (desired !== undefined) {
      step(() => problems.push(...this.#parts.reconciler.apply(desired)));
      // Containers are told of the network when it is there.
      if (problems.length === 0 || this.#writtenMtu !== undefined) {
        step(() => {
          this.#writeSubnetFile(desired);
        });
      }
      warnings.push(...desired.warnings);
    }
    this.#notices.replace([...others, ...problems], warnings);
    const end = performance.now();
    const claiming = this.#store.kind === 'readable' && this.#reclaim.wanted;
    this.#last = { end, cost: end - start, dirty: false, settled: problems.length === 0 && !claiming };
    return problems;
  }

  #judgeStore(problems: KerseyError[], warnings: string[]): void {
    const { store } = this.#parts.options;
    const health = store.health();
    problems.push(...health.problems);
    warnings.push(...health.warnings);
    if (this.#store.kind === 'unreadable') {
      problems.push(this.#store.error);
      warnings.push('the store cannot be read: forwarding goes on with the leases that were last read');
      return;
    }
    warnings.push(...this.#store.warnings);
    // What another daemon writes in our name is neither taken over nor fought.
    if (health.disputed) return;
    const judged = judgeOwnLease(this.#own, this.#leases);
    if (judged.kind === 'held') {
      this.#own = judged.lease;
      this.#moved = undefined;
      this.#reclaim.over();
    } else if (judged.kind === 'taken') {
      if (store.shared) this.#leave(judged.problem);
      problems.push(judged.problem);
    } else if (this.#moved !== undefined) {
      problems.push(this.#moved);
    } else {
      warnings.push('our lease is missing from the store; claiming it again');
      if (this.#reclaim.failure !== undefined) problems.push(this.#reclaim.failure);
      this.#reclaim.attempt(this.#own, (now) => {
        // The store tells of the new entry, and that leads to the next comparison.
        if (isOwn(now, this.#own)) return;
        this.#moved = movedError(this.#own, now);
        if (store.shared) this.#leave(this.#moved);
      });
    }
  }

  /** Ends run(): the subnet that this node was built for is not ours any more. */
  #leave(reason: KerseyError): void {
    this.#end = { kind: 'moved', reason };
    this.#parts.stop.abort();
  }

  /** Brings #facts and #desired up to date. */
  #want(warnings: string[]): void {
    const { netlink, underlay, config, options } = this.#parts;
    const { engine } = options;
    if (engine.allowUnknownSources === true) {
      warnings.push('--allow-unknown-sources: frames from hosts without a lease are let in');
    }
    if (engine.innerSourceCheck === false) {
      warnings.push('--no-inner-source-check: peers may send from addresses that are not theirs');
    }
    const seen = observeHost(netlink, underlay, config);
    warnings.push(...seen.warnings);
    this.#facts = seen.facts;
    const basis = [factsKey(seen.facts), this.#leases, this.#own] as const;
    if (this.#basis?.every((part, i) => part === basis[i]) === true) return;
    const before = this.#desired;
    this.#desired = desiredState({
      config,
      own: this.#own,
      leases: this.#leases,
      host: seen.facts,
      options: engine,
    });
    this.#basis = basis;
    if (before !== undefined) logPeerChanges(before, this.#desired, options.log);
  }

  #writeSubnetFile({ mtu }: Desired): void {
    if (this.#writtenMtu === mtu) return;
    const { config, options } = this.#parts;
    writeSubnetEnv(options.subnetFile, subnetEnvOf(config, this.#own, mtu, options.firewall.masquerade));
    this.#writtenMtu = mtu;
  }
}

function isNews(event: NetlinkEvent): boolean {
  return event.kind !== 'route' || event.route.table === RT_TABLE.MAIN;
}
