// What is particular to a vxlan device: the attributes IFLA_VXLAN_* (linux/if_link.h), kernel side
// drivers/net/vxlan/vxlan_core.c.
//
// A device is made as flannel makes its own: unicast only, what is not said is off. What flannel never sets (group,
// ageing, port range, checksum offload) is left to the kernel.

import { parseIp } from '../net/ip.ts';
import { IFLA_VXLAN } from './constants.ts';
import { ipBytes, ipText } from './ip-bytes.ts';
import { attribute, type Attributes } from './wire.ts';

export interface VxlanTunnel {
  readonly kind: 'vxlan';
  readonly vni: number;
  /** UDP port, ours and the peers'. */
  readonly port: number;
  /** Underlay address that frames leave from; undefined leaves it to the routes. */
  readonly local: string | undefined;
  /** Index of the underlay interface. */
  readonly underlay: number | undefined;
  /** Where frames of unknown destination go: a multicast group or one peer. */
  readonly group: string | undefined;
  readonly learning: boolean;
  readonly gbp: boolean;
  /** 0: that of the inner packet. */
  readonly ttl: number;
  /** 0: none; 1: that of the inner packet. */
  readonly tos: number;
  readonly proxy: boolean;
  readonly rsc: boolean;
  readonly l2miss: boolean;
  readonly l3miss: boolean;
  /** VNI and peer come with each packet (`external`), not from the forwarding entries. */
  readonly external: boolean;
  /** Another protocol: VXLAN-GPE. */
  readonly gpe: boolean;
  readonly zeroChecksum6: { readonly sent: boolean; readonly accepted: boolean };
}

export interface VxlanCreate {
  readonly kind: 'vxlan';
  readonly vni: number;
  readonly port: number;
  readonly local?: string;
  readonly underlay?: number;
  readonly learning?: boolean;
  readonly gbp?: boolean;
}

export function decodeVxlan(data: Attributes): VxlanTunnel {
  const on = (type: number): boolean => (data.u8(type) ?? 0) !== 0;
  const address = (type4: number, type6: number): string | undefined =>
    ipText(4, data.bytes(type4)) ?? ipText(6, data.bytes(type6));
  const underlay = data.u32(IFLA_VXLAN.LINK);
  return {
    kind: 'vxlan',
    vni: data.u32(IFLA_VXLAN.ID) ?? 0,
    port: data.u16be(IFLA_VXLAN.PORT) ?? 0,
    local: address(IFLA_VXLAN.LOCAL, IFLA_VXLAN.LOCAL6),
    underlay: underlay === 0 ? undefined : underlay,
    group: address(IFLA_VXLAN.GROUP, IFLA_VXLAN.GROUP6),
    learning: on(IFLA_VXLAN.LEARNING),
    gbp: data.has(IFLA_VXLAN.GBP),
    ttl: data.u8(IFLA_VXLAN.TTL) ?? 0,
    tos: data.u8(IFLA_VXLAN.TOS) ?? 0,
    proxy: on(IFLA_VXLAN.PROXY),
    rsc: on(IFLA_VXLAN.RSC),
    l2miss: on(IFLA_VXLAN.L2MISS),
    l3miss: on(IFLA_VXLAN.L3MISS),
    external: on(IFLA_VXLAN.COLLECT_METADATA),
    gpe: data.has(IFLA_VXLAN.GPE),
    zeroChecksum6: {
      sent: on(IFLA_VXLAN.UDP_ZERO_CSUM6_TX),
      accepted: on(IFLA_VXLAN.UDP_ZERO_CSUM6_RX),
    },
  };
}

export function encodeVxlan({ vni, port, local, underlay, learning, gbp }: VxlanCreate): Uint8Array[] {
  const attributes = [
    attribute.u32(IFLA_VXLAN.ID, vni),
    attribute.u16be(IFLA_VXLAN.PORT, port),
    attribute.u8(IFLA_VXLAN.LEARNING, learning === true ? 1 : 0),
    ...alwaysZero.map((type) => attribute.u8(type, 0)),
  ];
  if (underlay !== undefined) attributes.push(attribute.u32(IFLA_VXLAN.LINK, underlay));
  if (local !== undefined) {
    const type = parseIp(local).family === 4 ? IFLA_VXLAN.LOCAL : IFLA_VXLAN.LOCAL6;
    attributes.push(attribute.bytes(type, ipBytes(local)));
  }
  // A flag: that it is there means yes, whatever its value.
  if (gbp === true) attributes.push(attribute.flag(IFLA_VXLAN.GBP));
  return attributes;
}

const alwaysZero = [
  IFLA_VXLAN.TTL,
  IFLA_VXLAN.TOS,
  IFLA_VXLAN.PROXY,
  IFLA_VXLAN.RSC,
  IFLA_VXLAN.L2MISS,
  IFLA_VXLAN.L3MISS,
  IFLA_VXLAN.UDP_ZERO_CSUM6_TX,
  IFLA_VXLAN.UDP_ZERO_CSUM6_RX,
] as const;
