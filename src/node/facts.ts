// What is true of this host now, as far as the desired state depends on it.

import type { NetworkConfig } from '../config/network.ts';
import { cidrAround, compareCidr, formatCidr } from '../net/cidr.ts';
import { addressBits, parseIp } from '../net/ip.ts';
import type { Netlink } from '../netlink/client.ts';
import { deviceName } from './desired.ts';
import type { AttachedNetwork, HostFacts } from './desired.ts';
import type { Underlay } from './iface.ts';

export interface Observation {
  readonly facts: HostFacts;
  /** What is amiss with the underlay, in words. */
  readonly warnings: readonly string[];
}

/** `underlay` is the choice made at start; what has changed about it since is told. */
export function observeHost(
  netlink: Pick<Netlink, 'links' | 'addresses'>,
  underlay: Underlay,
  config: NetworkConfig,
): Observation {
  const links = netlink.links();
  const addresses = netlink.addresses();
  const own = new Set(([4, 6] as const).map((family) => deviceName(family, config.backend.vni)));
  const named = new Map(links.map((link) => [link.index, link]));
  const iface = links.find(({ name }) => name === underlay.link.name);
  const attached = addresses.flatMap(({ index, family, ip, prefixLength }): readonly AttachedNetwork[] => {
    const link = named.get(index);
    if (link === undefined || own.has(link.name) || prefixLength === addressBits(family)) return [];
    return [{ cidr: cidrAround(family, parseIp(ip).value, prefixLength), device: link.name }];
  });
  attached.sort((a, b) => compareCidr(a.cidr, b.cidr) || (a.device < b.device ? -1 : 1));

  const warnings: string[] = [];
  if (iface === undefined) {
    warnings.push(`the underlay interface ${underlay.link.name} is gone; frames wait for it to come back`);
  } else if (!iface.up || !iface.lowerUp) {
    warnings.push(`the underlay interface ${iface.name} is down`);
  }
  for (const chosen of [underlay.ipv4, underlay.ipv6]) {
    if (chosen === undefined || iface === undefined) continue;
    if (addresses.some(({ index, ip }) => index === iface.index && ip === chosen.address)) continue;
    warnings.push(
      `the underlay address ${chosen.address} is no longer on ${iface.name}; restart kersey to use another`,
    );
  }
  return {
    facts: {
      iface: underlay.link.name,
      ifaceMtu: iface?.mtu ?? underlay.link.mtu,
      ...(underlay.ipv4 && { address4: underlay.ipv4.address }),
      ...(underlay.ipv6 && { address6: underlay.ipv6.address }),
      attached,
    },
    warnings,
  };
}

/** Equal for equal facts. */
export function factsKey({ attached, ...rest }: HostFacts): string {
  return JSON.stringify([rest, attached.map(({ cidr, device }) => `${formatCidr(cidr)} ${device}`)]);
}
