// host-gw: no tunnel, a route to every peer over the network that all hosts share. Its peers must be on our own link:
// a gateway between would not know where the overlay's subnets are.

import { KerseyError } from '../errors.ts';
import { formatCidr } from '../net/cidr.ts';
import type { Backend, BackendContext, PlanInput } from './backend.ts';
import { overlayNetworks } from './overlay.ts';
import { describeLease, barePeers } from './peers.ts';
import type { Plan, PlannedPeer, UnderlayRoute } from './plan.ts';

export class HostGwBackend implements Backend {
  readonly leaseType = 'host-gw';
  readonly needsOnLink = true;
  readonly deviceNames = [];
  readonly #context: BackendContext;

  /** @throws KerseyError BACKEND_UNSUPPORTED */
  constructor(context: BackendContext) {
    this.#context = context;
    for (const chosen of [context.underlay.ipv4, context.underlay.ipv6]) {
      if (chosen === undefined || chosen.address === chosen.publicAddress) continue;
      const { address, publicAddress } = chosen;
      const message = `host-gw: the public address ${publicAddress} is not our own ${address}, as behind a NAT, where no route can lead to`;
      throw new KerseyError('BACKEND_UNSUPPORTED', message, {
        remedy: 'leave out --public-ip, or use a backend that tunnels, such as vxlan',
      });
    }
  }

  leaseData(): undefined {
    return undefined;
  }

  isComplete(): boolean {
    return true;
  }

  device(): undefined {
    return undefined;
  }

  plan(input: PlanInput): Plan {
    const warnings: string[] = [];
    const routes: UnderlayRoute[] = [];
    const known: PlannedPeer[] = [];
    for (const overlay of overlayNetworks(this.#context.config, input.own)) {
      const peers = barePeers(input, overlay, this.leaseType, warnings);
      for (const { prefix, outer } of peers) {
        const dst = formatCidr(prefix);
        known.push({ prefix: dst, outer });
        if (input.host.onLink?.has(outer) === true) {
          routes.push({
            family: overlay.family,
            dst,
            via: outer,
            device: input.host.iface,
            onlink: false,
          });
        } else {
          warnings.push(
            `${describeLease(prefix, outer)} cannot be reached: host-gw needs all hosts on one link, and ` +
              `${outer} is not on that of ${input.host.iface}; use vxlan with DirectRouting instead`,
          );
        }
      }
    }
    return { devices: [], routes, peers: known, mtu: input.host.ifaceMtu, warnings: warnings.sort() };
  }
}
