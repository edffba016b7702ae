// What every kind of device offers to the reconcile loop: to be there as planned, to know its peers, to tell how it is.
//
// A driver owns one device of ours, by name, for as long as the node runs. What all devices have in common (MTU, queue
// length, up, addresses, routes) is the loop's work, not the driver's.

import type { KerseyError } from '../../errors.ts';
import type { Link } from '../../netlink/link.ts';
import type { DevicePlan } from '../../backend/plan.ts';
import type { EngineStats } from '../../engine/engine.ts';

export type DeviceState =
  | { readonly kind: 'running' }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'closed' };

export interface DeviceDriver<P extends DevicePlan = DevicePlan> {
  readonly kind: P['kind'];

  /**
   * Has the device exist with exactly this configuration, by making it, adopting one that fits, or replacing one that
   * does not; cheap when nothing differs. It is then the caller's to set it up. Called at every comparison.
   * @throws KerseyError what stands in the way; tried again later
   */
  ensure(plan: P): Link;

  /** Makes the peers what the plan says, and tells what could not be done. */
  applyPeers(plan: P, link: Link): readonly KerseyError[];

  /** Says what it means that the device that ensure() returned could not be set up; else gives the error back. */
  explain?(plan: P, error: KerseyError): KerseyError;

  state(): DeviceState;

  /** undefined where nobody counts by peer or by reason. */
  stats(): EngineStats | undefined;

  /** Ends the driver. What the kernel can go on with alone stays (as flannel leaves it); a TUN device goes. */
  close(): void;

  /** Ends the driver and removes the device. */
  remove(): void;
}

/** Counted and logged: something that had been in order was put right. */
export type OnRepair = (kind: RepairKind, what: string, times?: number) => void;

export const repairKinds = ['device', 'link', 'address', 'route', 'neighbour', 'fdb', 'peer'] as const;
export type RepairKind = (typeof repairKinds)[number];
