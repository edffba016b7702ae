// ipip: IPv4 in IPv4 by the kernel's ipip device, a route per peer with the peer itself as the gateway.

import type { IpipConfig } from '../config/backend.ts';
import { formatCidr } from '../net/cidr.ts';
import type { Family } from '../net/ip.ts';
import type { Backend, BackendContext, HostFacts, PlanInput } from './backend.ts';
import { innerMtu, overlayNetworks, underlayAddress, vtepAddress } from './overlay.ts';
import { barePeers } from './peers.ts';
import type { IpipDevicePlan, Plan, PlannedPeer, UnderlayRoute } from './plan.ts';

const deviceName = 'flannel.ipip';
/** The outer IPv4 header. */
const overhead = 20;

export class IpipBackend implements Backend {
  readonly leaseType = 'ipip';
  readonly needsOnLink: boolean;
  readonly deviceNames = [deviceName];
  readonly #ipip: IpipConfig;
  readonly #context: BackendContext;

  constructor(ipip: IpipConfig, context: BackendContext) {
    this.#ipip = ipip;
    this.#context = context;
    this.needsOnLink = ipip.directRouting;
  }

  leaseData(): undefined {
    return undefined;
  }

  isComplete(): boolean {
    return true;
  }

  device(family: Family, host: HostFacts): IpipDevicePlan {
    const mtu = innerMtu(family, host, overhead, 'IPIP');
    const local = underlayAddress(host, family);
    const name = deviceName;
    return { kind: 'ipip', name, family, mtu, addresses: [], routes: [], local, underlay: host.iface };
  }

  plan(input: PlanInput): Plan {
    const warnings: string[] = [];
    const direct: UnderlayRoute[] = [];
    const known: PlannedPeer[] = [];
    const devices = overlayNetworks(this.#context.config, input.own).map((overlay): IpipDevicePlan => {
      const { family, subnet } = overlay;
      const peers = barePeers(input, overlay, this.leaseType, warnings);
      const near = (outer: string): boolean =>
        this.#ipip.directRouting && input.host.onLink?.has(outer) === true;
      for (const { prefix, outer } of peers) {
        const dst = formatCidr(prefix);
        known.push({ prefix: dst, outer });
        if (near(outer)) direct.push({ family, dst, via: outer, device: input.host.iface, onlink: true });
      }
      return {
        ...this.device(family, input.host),
        addresses: [vtepAddress(subnet)],
        routes: peers
          .filter(({ outer }) => !near(outer))
          .map(({ prefix, outer }) => ({ dst: formatCidr(prefix), via: outer })),
      };
    });
    const mtu = Math.min(...devices.map((device) => device.mtu));
    return { devices, routes: direct, peers: known, mtu, warnings: warnings.sort() };
  }
}
