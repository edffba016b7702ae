// What every backend offers. The node knows backends only by this.
//
// A backend is a pure function of the network config, the leases and the host: it says what the leases' data mean and
// what the host should look like. It makes nothing itself. What its configuration needs from outside (a key file, the
// output of a command) is fetched before it is built, and given to it.

import type { NetworkConfig } from '../config/network.ts';
import type { JsonValue } from '../config/json.ts';
import type { EngineConfig } from '../engine/engine.ts';
import type { Cidr } from '../net/cidr.ts';
import type { Family } from '../net/ip.ts';
import type { Lease } from '../store/lease.ts';
import type { DevicePlan, Plan } from './plan.ts';

/** What is true of this host, whatever the store says. */
export interface HostFacts {
  /** The interface of the underlay. */
  readonly iface: string;
  readonly ifaceMtu: number;
  /** Addresses that frames leave from, one for every enabled family. */
  readonly address4?: string;
  readonly address6?: string;
  /** Networks that this host is directly attached to, but for the overlays' own. */
  readonly attached: readonly AttachedNetwork[];
  /** Public addresses of peers that are on our own link: no gateway leads there. Filled in where a backend asks. */
  readonly onLink?: ReadonlySet<string>;
}

export interface AttachedNetwork {
  readonly cidr: Cidr;
  readonly device: string;
}

/** What the operator chose for the engine. */
export type EngineOptions = Pick<
  EngineConfig,
  'workers' | 'disable' | 'allowUnknownSources' | 'innerSourceCheck'
>;

/** Who carries the packets of a backend that both can serve. */
export type Dataplane = 'engine' | 'kernel';

/** Our address on the underlay, and what peers are told. */
export interface UnderlayAddress {
  readonly address: string;
  readonly publicAddress: string;
}

/** What a backend is made from, and made anew when it changes. */
export interface BackendContext {
  readonly config: NetworkConfig;
  readonly options: EngineOptions;
  readonly dataplane: Dataplane;
  readonly underlay: { readonly ipv4?: UnderlayAddress; readonly ipv6?: UnderlayAddress };
}

export interface PlanInput {
  readonly own: Lease;
  /** Every lease of the store; our own may be among them. */
  readonly leases: readonly Lease[];
  readonly host: HostFacts;
}

export interface Backend {
  /** BackendType in leases; undefined with those that leave it out, as flannel does. */
  readonly leaseType: string | undefined;
  /** Whether HostFacts.onLink is needed. */
  readonly needsOnLink: boolean;
  /** Names of all devices that it may make, so that nobody takes them for the host's. */
  readonly deviceNames: readonly string[];

  /**
   * What our lease shall hold for the family.
   * @param existing what it held so far, so that a VTEP keeps its MAC address
   */
  leaseData(family: Family, existing: JsonValue | undefined): JsonValue | undefined;

  /** Whether the data of our lease says what peers need. */
  isComplete(family: Family, data: JsonValue | undefined): boolean;

  /**
   * The device of the family as far as it is known before there is a lease: made first, so that no lease is written
   * when it cannot be. undefined when there is none, or when it needs the lease.
   * @throws KerseyError MTU_TOO_SMALL
   */
  device(family: Family, host: HostFacts, data: JsonValue | undefined): DevicePlan | undefined;

  /** @throws KerseyError MTU_TOO_SMALL */
  plan(input: PlanInput): Plan;
}
