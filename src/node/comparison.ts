// One comparison of the host with what it should be, from the facts to the subnet file; and what is kept from one to the
// next. There is no other way in which anything of the host changes.
//
// A step that fails leaves what it made before in force, and the steps after it go on with that.

import type { Backend, HostFacts } from '../backend/backend.ts';
import { isOwn } from '../backend/peers.ts';
import type { Plan } from '../backend/plan.ts';
import { KerseyError } from '../errors.ts';
import type { Address } from '../netlink/address.ts';
import type { Link } from '../netlink/link.ts';
import type { Lease } from '../store/lease.ts';
import type { StoreEvent } from '../store/subnet-manager.ts';
import { chooseDataplane } from './dataplane.ts';
import type { DataplaneChoice, DataplaneWish } from './dataplane.ts';
import { factsKey, hostFacts, onLinkPeers } from './facts.ts';
import { findOverlaps } from './overlap.ts';
import { overlapInput } from './overlap-input.ts';
import { judgeOwnLease, movedError } from './own-lease.ts';
import type { PublicAddresses } from './own-lease.ts';
import { backendContext, claim } from './parts.ts';
import type { Parts } from './parts.ts';
import { logPeerChanges } from './peer-changes.ts';
import { Reclaim } from './reclaim.ts';
import type { NodeBrief, StoreState } from './status.ts';
import { subnetEnvOf, writeSubnetEnv } from './subnet-env.ts';

export interface Outcome {
  /** What could not be made as it should be. */
  readonly problems: readonly KerseyError[];
  /** Whether nothing is left to be tried again soon. */
  readonly settled: boolean;
}

export interface ComparisonCallbacks {
  /** Our subnet is another's. */
  readonly onMoved: (reason: KerseyError) => void;
  /** Something that was under way is done: compare again. */
  readonly onLater: () => void;
}

export class Comparison {
  readonly #parts: Parts;
  readonly #callbacks: ComparisonCallbacks;
  readonly #reclaim: Reclaim;
  readonly #relocation: Reclaim;
  /** The public addresses that our lease has had, the last one included. */
  readonly #addresses: PublicAddresses[] = [];
  #wish: DataplaneWish;
  #choice: DataplaneChoice;
  #backend: Backend;
  /** Our lease as the store last had it. */
  #own: Lease;
  #leases: readonly Lease[] = [];
  #store: StoreState = { kind: 'readable', since: new Date(), warnings: [] };
  #facts: HostFacts;
  #plan: Plan | undefined;
  /** What #plan was made from. */
  #basis: readonly [facts: string, leases: readonly Lease[], own: Lease, backend: Backend] | undefined;
  /** The MTU in the subnet file, once that is written. */
  #writtenMtu: number | undefined;
  /** A new claim came back with other subnets. */
  #moved: KerseyError | undefined;
  /** Why the kernel's events cannot be had. */
  deaf: KerseyError | undefined;

  constructor(parts: Parts, callbacks: ComparisonCallbacks) {
    this.#parts = parts;
    this.#callbacks = callbacks;
    this.#wish = parts.options.dataplane;
    this.#choice = parts.choice;
    this.#backend = parts.backend;
    this.#own = parts.own;
    this.#facts = parts.facts;
    const claimAs = (known: Parameters<typeof claim>[1]): Promise<Lease> =>
      claim({ ...parts, backend: this.#backend, facts: this.#facts }, known, parts.stop.signal);
    this.#reclaim = new Reclaim(
      ({ subnet, subnet6 }) =>
        claimAs({ previous: { ...(subnet && { subnet }), ...(subnet6 && { ipv6Subnet: subnet6 }) } }),
      'the lease could not be claimed again',
    );
    this.#relocation = new Reclaim(
      (held) => claimAs({ held }),
      'the lease could not be moved to our new public address',
    );
  }

  get own(): Lease {
    return this.#own;
  }
  get leases(): readonly Lease[] {
    return this.#leases;
  }
  get store(): StoreState {
    return this.#store;
  }
  get facts(): HostFacts {
    return this.#facts;
  }
  get plan(): Plan | undefined {
    return this.#plan;
  }
  /** Of the devices that neighbours matter on. */
  get deviceIndexes(): ReadonlySet<number> {
    return this.#parts.reconciler.deviceIndexes;
  }
  get choice(): DataplaneChoice & { readonly wish: DataplaneWish } {
    return { ...this.#choice, wish: this.#wish };
  }

  brief(): NodeBrief {
    const { reconciler, notices } = this.#parts;
    const devices = this.#plan?.devices ?? [];
    const peers = this.#plan?.peers ?? [];
    const ipv6 = peers.filter(({ prefix }) => prefix.includes(':')).length;
    const forwards = devices.every(({ name }) => reconciler.state(name).kind === 'running');
    return {
      own: this.#own,
      peers: Math.max(ipv6, peers.length - ipv6),
      ready: this.#plan !== undefined && forwards && this.#writtenMtu !== undefined,
      problems: notices.problems,
    };
  }

  /** What the store says; the next run acts on it. */
  take(event: StoreEvent): void {
    const { kind, since: before } = this.#store;
    const same = (event.kind === 'leases') === (kind === 'readable');
    const since = same ? before : new Date();
    if (event.kind === 'unreadable') {
      this.#store = { kind: 'unreadable', since, error: event.error };
      return;
    }
    this.#store = { kind: 'readable', since, warnings: event.warnings };
    this.#leases = event.leases;
  }

  run(): Outcome {
    const problems: KerseyError[] = [];
    const others: KerseyError[] = this.deaf === undefined ? [] : [this.deaf];
    const { firewall, config, options, netlink, commands, notices } = this.#parts;
    others.push(...firewall.problems, ...commands.problems);
    const warnings = [...(options.warnings ?? []), ...firewall.warnings];
    const step = (action: () => void, into = problems): void => {
      try {
        action();
      } catch (error) {
        into.push(KerseyError.from(error));
      }
    };
    step(() => {
      const [links, addresses] = [netlink.links(), netlink.addresses()];
      this.#observe(links, addresses, warnings);
      const seen = { choice: this.#choice, backend: this.#backend, facts: this.#facts, links, addresses };
      const overlaps = findOverlaps(overlapInput({ config, netlink, ...seen }, this.#own, this.#leases));
      others.push(...overlaps.problems);
      warnings.push(...overlaps.warnings);
    });
    step(() => {
      this.#judgeStore(others, warnings);
    });
    step(() => {
      this.#makePlan();
    });
    if (options.moved !== undefined) warnings.push(options.moved);
    // When no plan could be made up, the last one stays in force.
    const plan = this.#plan;
    if (plan !== undefined) {
      step(() => problems.push(...this.#apply(plan)));
      commands.want(plan.commands ?? { peers: [] });
      // Containers are told of the network when it is there.
      if (problems.length === 0 || this.#writtenMtu !== undefined) {
        step(() => {
          this.#writeSubnetFile(plan);
        });
      }
      warnings.push(...plan.warnings);
      if (plan.devices.some(({ kind }) => kind === 'engine')) warnings.push(...riskyOptions(options));
    }
    notices.replace([...others, ...problems], warnings);
    const claiming = this.#reclaim.wanted || this.#relocation.wanted;
    return { problems, settled: problems.length === 0 && !(this.#store.kind === 'readable' && claiming) };
  }

  /** @throws KerseyError, with everything as it was */
  setDataplane(wish: DataplaneWish): void {
    const { config, netlink, reconciler, options } = this.#parts;
    const before = { wish: this.#wish, choice: this.#choice, backend: this.#backend };
    const choice = chooseDataplane(wish, config, netlink);
    this.#wish = wish;
    this.#choice = choice;
    if (choice.mode === before.choice.mode) return;
    options.log.info(`changing over from ${before.choice.mode} to ${choice.mode}: ${choice.why}`, {
      mode: choice.mode,
    });
    try {
      this.#backend = this.#makeBackend(choice);
      const plan = this.#backend.plan({ own: this.#own, leases: this.#leases, host: this.#facts });
      const [problem] = reconciler.apply(plan);
      if (problem !== undefined) throw problem;
      this.run();
    } catch (error) {
      this.#wish = before.wish;
      this.#choice = before.choice;
      this.#backend = before.backend;
      options.log.error(`changing back to ${before.choice.mode}: ${KerseyError.from(error).line}`);
      this.run();
      throw error;
    }
  }

  /** Where the choice is ours, a dataplane that cannot make its device gives way to the other one. */
  #apply(plan: Plan): readonly KerseyError[] {
    const { reconciler, config, netlink, options } = this.#parts;
    const problems = reconciler.apply(plan);
    const stands = plan.devices.every(({ name }) => reconciler.state(name).kind === 'running');
    const failed = problems.length > 0 && !stands;
    if (!failed || this.#wish !== 'auto' || config.backend.type !== 'vxlan') return problems;
    const choice = chooseDataplane('auto', config, netlink);
    if (choice.mode === this.#choice.mode) return problems;
    options.log.warn(`changing over from ${this.#choice.mode} to ${choice.mode}: ${choice.why}`, {
      mode: choice.mode,
    });
    this.#backend = this.#makeBackend(choice);
    this.#choice = choice;
    this.#makePlan();
    return this.#plan === undefined ? problems : reconciler.apply(this.#plan);
  }

  #makeBackend(choice: DataplaneChoice): Backend {
    const { options, config, underlay, makeBackend } = this.#parts;
    return makeBackend(backendContext(options, config, choice, underlay));
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
    const judged = judgeOwnLease(this.#own, this.#leases, this.#backend, this.#addresses);
    if (judged.kind === 'held') {
      this.#own = judged.lease;
      this.#moved = undefined;
      this.#reclaim.over();
      this.#relocate(problems, warnings);
    } else if (judged.kind === 'taken') {
      if (store.shared) this.#callbacks.onMoved(judged.problem);
      problems.push(judged.problem);
    } else if (this.#moved !== undefined) {
      problems.push(this.#moved);
    } else {
      warnings.push('our lease is missing from the store; claiming it again');
      if (this.#reclaim.failure !== undefined) problems.push(this.#reclaim.failure);
      this.#reclaim.attempt(this.#own, (now) => {
        // The store tells of the new entry, and that leads to the next comparison.
        if (!isOwn(now, this.#own)) this.#lose(now);
      });
    }
  }

  /** Our lease is there; peers must know it by the address that we have now. */
  #relocate(problems: KerseyError[], warnings: string[]): void {
    const { ipv4, ipv6 } = this.#parts.underlay.current;
    const { publicIP, publicIPv6 } = this.#own.attrs;
    const wanted = {
      publicIP: ipv4?.publicAddress ?? publicIP,
      publicIPv6: ipv6?.publicAddress ?? publicIPv6,
    };
    if (wanted.publicIP === publicIP && wanted.publicIPv6 === publicIPv6) {
      this.#relocation.over();
      return;
    }
    // The store may tell of it before the claim returns, and of the old entry after.
    for (const held of [{ publicIP, publicIPv6 }, wanted]) {
      if (!this.#addresses.some((known) => sameAddresses(known, held))) this.#addresses.push(held);
    }
    const text = [wanted.publicIP, wanted.publicIPv6].filter((ip) => ip !== null).join(' and ');
    warnings.push(`our public address is ${text} now; moving the lease there`);
    if (this.#relocation.failure !== undefined) problems.push(this.#relocation.failure);
    this.#relocation.attempt(this.#own, (now) => {
      if (isOwn(now, { ...this.#own, attrs: { ...this.#own.attrs, ...wanted } })) {
        this.#own = now;
        this.#callbacks.onLater();
      } else {
        this.#lose(now);
      }
    });
  }

  /** A claim came back with other subnets than the node was built for. */
  #lose(now: Lease): void {
    this.#moved = movedError(this.#own, now);
    if (this.#parts.options.store.shared) this.#callbacks.onMoved(this.#moved);
  }

  /** Brings underlay and facts up to date. */
  #observe(links: readonly Link[], addresses: readonly Address[], warnings: string[]): void {
    const { netlink, underlay, options } = this.#parts;
    const before = underlay.current;
    warnings.push(...underlay.follow(links, addresses));
    const { link, why, ipv4, ipv6 } = underlay.current;
    if (ipv4 !== before.ipv4 || ipv6 !== before.ipv6) {
      const ends = [ipv4, ipv6].flatMap((end) => (end === undefined ? [] : [end.address])).join(' and ');
      options.log.warn(`the underlay is now ${link.name} with ${ends} (${why})`, { iface: link.name });
      this.#backend = this.#makeBackend(this.#choice);
    }
    const facts = hostFacts(underlay.current, links, addresses, this.#backend.deviceNames);
    const onLink = this.#backend.needsOnLink ? onLinkPeers(netlink, this.#leases) : undefined;
    this.#facts = { ...facts, ...(onLink && { onLink }) };
  }

  /** Brings the plan up to date. */
  #makePlan(): void {
    const basis = [factsKey(this.#facts), this.#leases, this.#own, this.#backend] as const;
    if (this.#basis?.every((part, i) => part === basis[i]) === true) return;
    const old = this.#plan;
    this.#plan = this.#backend.plan({ own: this.#own, leases: this.#leases, host: this.#facts });
    this.#basis = basis;
    if (old !== undefined) logPeerChanges(old, this.#plan, this.#parts.options.log);
  }

  #writeSubnetFile({ mtu }: Plan): void {
    if (this.#writtenMtu === mtu) return;
    const { config, options } = this.#parts;
    writeSubnetEnv(options.subnetFile, subnetEnvOf(config, this.#own, mtu, options.firewall.masquerade));
    this.#writtenMtu = mtu;
  }
}

function sameAddresses(a: PublicAddresses, b: PublicAddresses): boolean {
  return a.publicIP === b.publicIP && a.publicIPv6 === b.publicIPv6;
}

/** Checks of the engine's that the operator has switched off, said as long as they are. */
function riskyOptions({ engine }: Parts['options']): readonly string[] {
  return [
    ...(engine.allowUnknownSources === true
      ? ['--allow-unknown-sources: frames from hosts without a lease are let in']
      : []),
    ...(engine.innerSourceCheck === false
      ? ['--no-inner-source-check: peers may send from addresses that are not theirs']
      : []),
  ];
}
