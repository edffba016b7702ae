// What is true of this host now, as far as the plan depends on it.

import type { AttachedNetwork, HostFacts } from '../backend/backend.ts';
import { cidrAround, compareCidr, formatCidr } from '../net/cidr.ts';
import { addressBits, parseIp } from '../net/ip.ts';
import type { Address } from '../netlink/address.ts';
import type { Netlink } from '../netlink/client.ts';
import type { Link } from '../netlink/link.ts';
import type { Lease } from '../store/lease.ts';
import type { Underlay } from './iface.ts';

export function hostFacts(
  { link, ipv4, ipv6 }: Underlay,
  links: readonly Link[],
  addresses: readonly Address[],
  /** Devices of ours, which are no networks of the host. */
  deviceNames: readonly string[],
): HostFacts {
  const byIndex = new Map(links.map((each) => [each.index, each]));
  const attached = addresses.flatMap(({ index, family, ip, prefixLength }): readonly AttachedNetwork[] => {
    const holder = byIndex.get(index);
    if (holder === undefined || deviceNames.includes(holder.name) || prefixLength === addressBits(family))
      return [];
    return [{ cidr: cidrAround(family, parseIp(ip).value, prefixLength), device: holder.name }];
  });
  attached.sort((a, b) => compareCidr(a.cidr, b.cidr) || (a.device < b.device ? -1 : 1));
  return {
    iface: link.name,
    ifaceMtu: link.mtu,
    ...(ipv4 && { address4: ipv4.address }),
    ...(ipv6 && { address6: ipv6.address }),
    attached,
  };
}

/** Which of the leases' public addresses the kernel reaches without a gateway. */
export function onLinkPeers(
  netlink: Pick<Netlink, 'routeGet'>,
  leases: readonly Lease[],
): ReadonlySet<string> {
  const publicIps = leases.flatMap(({ attrs: { publicIP, publicIPv6 } }) =>
    [publicIP, publicIPv6].filter((ip) => ip !== null),
  );
  return new Set(
    [...new Set(publicIps)].filter((ip) => {
      const route = netlink.routeGet(ip);
      return route !== undefined && !route.multipath && route.via === undefined;
    }),
  );
}

/** Equal for equal facts. */
export function factsKey({ attached, onLink, ...rest }: HostFacts): string {
  return JSON.stringify([
    rest,
    attached.map(({ cidr, device }) => `${formatCidr(cidr)} ${device}`),
    onLink === undefined ? null : [...onLink].sort(),
  ]);
}
