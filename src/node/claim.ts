// Claiming this node's lease, and making its devices on the way.
//
// The store asks what the lease shall hold just before it writes it. By then what the lease's data say (a VtepMAC) is
// known, and that is all of the lease that a device needs: so the device is made there, and when it cannot be, nothing
// is written.

import type { Backend, HostFacts } from '../backend/backend.ts';
import type { DevicePlan } from '../backend/plan.ts';
import type { JsonValue } from '../config/json.ts';
import type { Family } from '../net/ip.ts';
import type { Lease } from '../store/lease.ts';
import type { SubnetManager } from '../store/subnet-manager.ts';
import type { Underlay } from './iface.ts';
import type { PreviousSubnets } from './subnet-env.ts';

export interface Claim {
  readonly store: SubnetManager;
  readonly backend: Backend;
  readonly underlay: Underlay;
  readonly facts: HostFacts;
  /** The subnets that this host had before it was started. */
  readonly previous?: PreviousSubnets | undefined;
  /** The lease that this process has, to be moved to another public address. */
  readonly held?: Lease | undefined;
  /** At a start. While a node runs its devices are the comparison's, which knows more by the time that the store asks. */
  readonly ensureDevice?: (plan: DevicePlan) => void;
}

export async function claimLease(claim: Claim, signal: AbortSignal): Promise<Lease> {
  const { store, backend, underlay, previous, held } = claim;
  const data =
    (family: Family) =>
    (existing: JsonValue | undefined): JsonValue | undefined => {
      const wanted = backend.leaseData(family, existing);
      if (claim.ensureDevice !== undefined) {
        const device = backend.device(family, claim.facts, wanted);
        if (device !== undefined) claim.ensureDevice(device);
      }
      return wanted;
    };
  return store.acquire(
    {
      backendType: backend.leaseType,
      ...(underlay.ipv4 && { publicIP: underlay.ipv4.publicAddress, backendData: data(4) }),
      ...(underlay.ipv6 && { publicIPv6: underlay.ipv6.publicAddress, backendV6Data: data(6) }),
      previous: previous?.subnet,
      previous6: previous?.ipv6Subnet,
      held,
    },
    signal,
  );
}
