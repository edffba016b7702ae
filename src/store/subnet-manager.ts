// What every store offers. The node knows stores only by this.

import type { NetworkConfig } from '../config/network.ts';
import type { KerseyError } from '../errors.ts';
import type { Cidr } from '../net/cidr.ts';
import type { JsonValue, Lease } from './lease.ts';

export interface SubnetManager {
  /** What the operator wrote, with the path made absolute: `file:/etc/kersey/network.json`. */
  readonly description: string;

  /**
   * Whether others act on it without asking this host. Then a configuration that is missing is waited for, and a subnet
   * that was given to another is gone: the node changes over to a new one. A file on this host is its operator's, whose
   * mistakes are reported instead.
   */
  readonly shared: boolean;

  /** The network configuration as it is now, validated. @throws KerseyError CONFIG_MISSING in a shared store */
  config(signal?: AbortSignal): Promise<NetworkConfig>;

  /**
   * Claims a subnet for this host, or finds the one it holds. Asking again is harmless: the same public address gets
   * the same subnet, and a lease that is already as it should be is not written again.
   */
  acquire(want: AcquireRequest, signal?: AbortSignal): Promise<Lease>;

  /**
   * The table of leases, own lease included: at once, and again after every change. Ends when the signal aborts or the
   * store is closed. Content never makes it throw; what cannot be read is an event, and so is recovery.
   */
  watch(signal: AbortSignal): AsyncIterable<StoreEvent>;

  /** How it stands with the lease that was acquired; asked again and again. */
  health(): StoreHealth;

  /** Ends all watches and everything that waits. */
  close(): Promise<void>;
}

export interface StoreHealth {
  /** What is wrong with the lease or with keeping it. */
  readonly problems: readonly KerseyError[];
  /** What is odd but does not stand in the way. */
  readonly warnings: readonly string[];
  /** Another daemon writes to our lease: what it says is not to be taken over. */
  readonly disputed: boolean;
  /** undefined when the lease does not expire (a reservation, a store without expiry), or when that is not known. */
  readonly term: LeaseTerm | undefined;
}

export interface LeaseTerm {
  readonly expires: Date;
  /** When the next renewal is due. */
  readonly renewal: Date;
}

export interface AcquireRequest {
  /** The addresses that peers send to. Needed for each family that the configuration enables. */
  readonly publicIP?: string | undefined;
  readonly publicIPv6?: string | undefined;
  /** The subnets that this host had before, as subnet.env tells. */
  readonly previous?: Cidr | undefined;
  readonly previous6?: Cidr | undefined;
  /**
   * The lease that this very store gave to this very process, when the host's public address is another by now: it is
   * published again under the new one. Entries of others that name the new address are left alone, unlike at a start.
   * When it is not ours any more, a subnet is claimed as if there had been none.
   */
  readonly held?: Lease | undefined;
  /** undefined with backends that flannel leaves without a name (udp, alloc). */
  readonly backendType?: string | undefined;
  readonly backendData?: BackendDataMaker | undefined;
  readonly backendV6Data?: BackendDataMaker | undefined;
}

/**
 * Given what the lease held so far, what it shall hold: so that a VTEP keeps its MAC address; undefined for nothing. May
 * be asked more than once for one claim, and only the last answer counts.
 */
export type BackendDataMaker = (existing: JsonValue | undefined) => JsonValue | undefined;

export type StoreEvent =
  | {
      readonly kind: 'leases';
      readonly leases: readonly Lease[];
      /** Entries that were left out, one line each. */
      readonly warnings: readonly string[];
    }
  | { readonly kind: 'unreadable'; readonly error: KerseyError };
