// What the operator's commands (`kersey config`, `kersey leases`) do to a store beyond what a node needs of it.

import type { LeaseAttrs, LeaseEntry, LeaseSubnets } from './lease.ts';

export interface StoreAdmin {
  /** What the operator wrote, as a node's SubnetManager says it. */
  readonly description: string;

  /** The text of the network configuration as it stands, valid or not; undefined when there is none. */
  configText(): Promise<string | undefined>;

  /**
   * Writes the configuration. The caller has validated it.
   *
   * @param expected what configText() gave; when it is something else by now nothing is written
   * @throws KerseyError STORE_CONFLICT
   */
  setConfig(text: string, expected: string | undefined): Promise<void>;

  leases(): Promise<AdminLeases>;

  /** The same again after every change, until the signal aborts. */
  watchLeases(signal: AbortSignal): AsyncIterable<AdminLeases>;

  /**
   * Keeps a subnet for a host, without an end: a reservation. A host with that public address gets it; nobody else
   * does. A lease that the host holds already becomes a reservation.
   *
   * @throws KerseyError SUBNET_OVERLAP when another host has it
   */
  reserve(subnets: LeaseSubnets, attrs: LeaseAttrs): Promise<void>;

  /** Removes an entry, whoever's it is. @returns whether it was there */
  release(subnets: LeaseSubnets): Promise<boolean>;

  close(): Promise<void>;
}

export interface AdminLeases {
  readonly entries: readonly AdminLease[];
  readonly warnings: readonly string[];
}

export interface AdminLease extends LeaseEntry {
  /** Seconds until it expires; undefined when it never does (a reservation, or a store without expiry). */
  readonly ttl: number | undefined;
}
