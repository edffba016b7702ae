// flannel's udp backend on the engine: bare IPv4 packets in UDP, one route for the whole network.

import type { UdpConfig } from '../config/backend.ts';
import { formatCidr } from '../net/cidr.ts';
import type { Family } from '../net/ip.ts';
import type { Backend, BackendContext, HostFacts, PlanInput } from './backend.ts';
import { innerMtu, overlayNetworks, underlayAddress, vtepAddress } from './overlay.ts';
import { barePeers } from './peers.ts';
import type { EngineDevicePlan, Plan } from './plan.ts';

/** flannel asks the kernel for `flannel%d`, and this is what it gets. */
const deviceName = 'flannel0';
/** IPv4 and UDP. */
const overhead = 28;
const txQueueLen = 2048;
/** As many full packets as one UDP_SEGMENT send takes; see vxlan.ts. */
const mostBytes = 65_507;
const tcpHeaders = 52;

export class UdpBackend implements Backend {
  // flannel's udp nodes leave the name out.
  readonly leaseType = undefined;
  readonly needsOnLink = false;
  readonly deviceNames = [deviceName];
  readonly #udp: UdpConfig;
  readonly #context: BackendContext;

  constructor(udp: UdpConfig, context: BackendContext) {
    this.#udp = udp;
    this.#context = context;
  }

  leaseData(): undefined {
    return undefined;
  }

  isComplete(): boolean {
    return true;
  }

  device(family: Family, host: HostFacts): EngineDevicePlan {
    const mtu = innerMtu(family, host, overhead, 'UDP');
    const { port } = this.#udp;
    const runs = Math.min(65_536, Math.min(64, Math.floor(mostBytes / mtu)) * (mtu - tcpHeaders) + 321);
    return {
      kind: 'engine',
      name: deviceName,
      family,
      mtu,
      addresses: [],
      routes: [],
      txQueueLen,
      engine: {
        ...{ wire: 'udp', device: deviceName, port, local: underlayAddress(host, family), mtu },
        ...this.#context.options,
      },
      gsoMaxSize: { whole: runs, runs },
      peers: [],
      local: [],
    };
  }

  plan(input: PlanInput): Plan {
    const warnings: string[] = [];
    const devices = overlayNetworks(this.#context.config, input.own).map((overlay): EngineDevicePlan => {
      const { family, network, subnet } = overlay;
      const peers = barePeers(input, overlay, this.leaseType, warnings);
      return {
        ...this.device(family, input.host),
        addresses: [vtepAddress(subnet)],
        routes: [{ dst: formatCidr(network), scope: 'global' }],
        peers: peers.map(({ prefix, outer }) => ({ prefix: formatCidr(prefix), outer })),
        local: [formatCidr(subnet)],
      };
    });
    return {
      devices,
      routes: [],
      peers: devices.flatMap(({ peers }) => peers),
      mtu: Math.min(...devices.map(({ mtu }) => mtu)),
      warnings: warnings.sort(),
    };
  }
}
