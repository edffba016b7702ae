// What is particular to an ipip device: the attributes IFLA_IPTUN_* (linux/if_tunnel.h), kernel side net/ipv4/ipip.c.
//
// A device is made as flannel makes its own: only the local address is given, so one device serves every peer and the
// route says which. Path MTU discovery is off, which means that an outer packet may be fragmented when the inner one
// may be.

import { IFLA_IPTUN } from './constants.ts';
import { ipBytes, ipText } from './ip-bytes.ts';
import { attribute, type Attributes } from './wire.ts';

export interface IpipTunnel {
  readonly kind: 'ipip';
  /** undefined: any. */
  readonly local: string | undefined;
  /** undefined: any; the route's gateway then is the peer. */
  readonly remote: string | undefined;
  /** Index of the interface that packets are bound to. */
  readonly underlay: number | undefined;
  /** 0: that of the inner packet. */
  readonly ttl: number;
  /** 0: none; 1: that of the inner packet. */
  readonly tos: number;
  readonly pathMtuDiscovery: boolean;
  /** The peer comes with each packet (`external`), not from the routes. */
  readonly external: boolean;
  /** Wrapped in UDP (FOU, GUE) besides. */
  readonly encapsulated: boolean;
}

export interface IpipCreate {
  readonly kind: 'ipip';
  readonly local: string;
  readonly underlay?: number;
}

export function decodeIpip(data: Attributes): IpipTunnel {
  const underlay = data.u32(IFLA_IPTUN.LINK);
  return {
    kind: 'ipip',
    local: someAddress(data.bytes(IFLA_IPTUN.LOCAL)),
    remote: someAddress(data.bytes(IFLA_IPTUN.REMOTE)),
    underlay: underlay === 0 ? undefined : underlay,
    ttl: data.u8(IFLA_IPTUN.TTL) ?? 0,
    tos: data.u8(IFLA_IPTUN.TOS) ?? 0,
    pathMtuDiscovery: (data.u8(IFLA_IPTUN.PMTUDISC) ?? 0) !== 0,
    external: data.has(IFLA_IPTUN.COLLECT_METADATA),
    encapsulated: data.bytes(IFLA_IPTUN.ENCAP_TYPE)?.some((byte) => byte !== 0) === true,
  };
}

export function encodeIpip({ local, underlay }: IpipCreate): Uint8Array[] {
  const attributes = [
    attribute.bytes(IFLA_IPTUN.LOCAL, ipBytes(local)),
    attribute.u8(IFLA_IPTUN.TTL, 0),
    attribute.u8(IFLA_IPTUN.TOS, 0),
    attribute.u8(IFLA_IPTUN.PMTUDISC, 0),
  ];
  if (underlay !== undefined) attributes.push(attribute.u32(IFLA_IPTUN.LINK, underlay));
  return attributes;
}

/** The kernel tells an address that was not given as 0.0.0.0. */
function someAddress(bytes: Uint8Array | undefined): string | undefined {
  return bytes?.some((byte) => byte !== 0) === true ? ipText(4, bytes) : undefined;
}
