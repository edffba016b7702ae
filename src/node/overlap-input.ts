// What the host's networks are compared with the overlay network by (overlap.ts), as a node has it.

import type { Backend, HostFacts } from '../backend/backend.ts';
import type { NetworkConfig } from '../config/network.ts';
import { cidrEqual, parseCidr } from '../net/cidr.ts';
import type { Address } from '../netlink/address.ts';
import type { Netlink } from '../netlink/client.ts';
import { KERSEY_RTPROT, RTPROT } from '../netlink/constants.ts';
import type { Link } from '../netlink/link.ts';
import type { Route } from '../netlink/route.ts';
import type { Lease } from '../store/lease.ts';
import type { DataplaneChoice } from './dataplane.ts';
import type { OverlapInput } from './overlap.ts';

interface Known {
  readonly config: NetworkConfig;
  readonly choice: DataplaneChoice;
  readonly backend: Backend;
  readonly netlink: Pick<Netlink, 'routes'>;
  readonly facts: HostFacts;
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
}

/** @param leases undefined while they are not known: then what flannel's host-gw may have left counts as some peer's */
export function overlapInput(known: Known, own?: Lease, leases?: readonly Lease[]): OverlapInput {
  const { config, choice, backend, netlink, facts, links, addresses } = known;
  const toPeer = (route: Route): boolean => {
    if (leases === undefined) return route.protocol === RTPROT.BOOT && route.via !== undefined;
    const dst = parseCidr(route.dst);
    return leases.some(({ subnet, subnet6 }) => cidrEqual(route.family === 4 ? subnet : subnet6, dst));
  };
  return {
    config,
    own,
    underlay: facts,
    links,
    addresses,
    // Where others carry the packets, routes inside the network are theirs.
    routes: choice.mode === 'none' ? [] : ([4, 6] as const).flatMap((family) => netlink.routes(family)),
    ownDevices: backend.deviceNames,
    ownProtocol: KERSEY_RTPROT,
    adoptable: (route, device) => device === facts.iface && toPeer(route),
  };
}
