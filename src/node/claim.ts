// Claiming this node's lease, and opening its engines on the way.
//
// The store asks what the lease shall hold just before it writes it. By then the VtepMAC is known, and that is all of
// the lease that an engine needs: so the engine is opened there, and when it cannot be, nothing is written.

import type { NetworkConfig } from '../config/network.ts';
import type { JsonValue } from '../config/json.ts';
import type { EngineConfig } from '../engine/engine.ts';
import type { Family } from '../net/ip.ts';
import { randomMac } from '../net/mac.ts';
import type { Lease } from '../store/lease.ts';
import type { SubnetManager } from '../store/subnet-manager.ts';
import { engineConfig, vtepMacIn } from './desired.ts';
import type { EngineOptions, HostFacts } from './desired.ts';
import type { Underlay } from './iface.ts';
import type { PreviousSubnets } from './subnet-env.ts';

export interface Claim {
  readonly store: SubnetManager;
  readonly config: NetworkConfig;
  readonly underlay: Underlay;
  readonly facts: HostFacts;
  readonly options: EngineOptions;
  readonly previous: PreviousSubnets;
  readonly ensureEngine: (family: Family, config: EngineConfig) => void;
  /** The VtepMACs of this node so far, by family; filled in here. */
  readonly vtepMacs: Map<Family, string>;
}

export async function claimLease(claim: Claim, signal: AbortSignal): Promise<Lease> {
  const { store, config, underlay, previous } = claim;
  const data =
    (family: Family) =>
    (existing: JsonValue | undefined): JsonValue => {
      // The lease's own MAC, so that peers need not relearn it; else the one that an earlier try has drawn.
      const mac = vtepMacIn(existing) ?? claim.vtepMacs.get(family) ?? randomMac();
      claim.vtepMacs.set(family, mac);
      claim.ensureEngine(
        family,
        engineConfig(family, { config, host: claim.facts, options: claim.options }, mac),
      );
      return { VNI: config.backend.vni, VtepMAC: mac };
    };
  return store.acquire(
    {
      backendType: config.backend.type,
      ...(underlay.ipv4 && { publicIP: underlay.ipv4.publicAddress, backendData: data(4) }),
      ...(underlay.ipv6 && { publicIPv6: underlay.ipv6.publicAddress, backendV6Data: data(6) }),
      ...(previous.subnet && { previous: previous.subnet }),
      ...(previous.ipv6Subnet && { previous6: previous.ipv6Subnet }),
    },
    signal,
  );
}
