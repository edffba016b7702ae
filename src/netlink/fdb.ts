// Forwarding entries (FDB) of a vxlan device: behind which underlay address a MAC address is. struct ndmsg under the
// family AF_BRIDGE; kernel side: vxlan_fdb_add, vxlan_fdb_delete and vxlan_fdb_dump of drivers/net/vxlan.
//
// A unicast MAC address has one destination. A multicast address, or that of all zeros ("every other"), may have
// several; the kernel tells each in a message of its own, and each is an entry here.
// Not handled: entries by which a bridge goes (NTF_MASTER), and VLANs.

import { formatMac, parseMac } from '../net/mac.ts';
import { AF, NDA, NTF, NUD, RTM } from './constants.ts';
import { ipBytes, ipText } from './ip-bytes.ts';
import type { DeviceRef } from './link.ts';
import { decodeNeighbourHead, neighbourHeader, neighbourHeaderLength } from './neigh.ts';
import { attribute, Attributes, encodeMessage, type Message } from './wire.ts';

export interface ForwardingEntry {
  /** Index of the device. */
  readonly device: number;
  readonly mac: string;
  /** undefined where the entry names a nexthop object, and on devices without remote ends. */
  readonly dst: string | undefined;
  /** Where they differ from the device's own; `via` is an interface. */
  readonly port: number | undefined;
  readonly vni: number | undefined;
  readonly via: number | undefined;
  /** The kernel does not let it go by age. */
  readonly permanent: boolean;
}

/** A permanent entry to be set, or one to be deleted. */
export interface ForwardingChange {
  readonly device: DeviceRef;
  readonly mac: string;
  /** Without one every destination of the MAC address is deleted. */
  readonly dst?: string;
  /** Not given: the device's own. A deletion has to name what the entry names. */
  readonly port?: number;
  readonly vni?: number;
  readonly via?: number;
}

export interface ForwardingOperation {
  /** `append` gives a multicast MAC address one more destination. */
  readonly action: 'replace' | 'append' | 'delete';
  readonly entry: ForwardingChange;
}

/** As `bridge fdb` writes it. */
export function describeForwarding({ mac, device, dst }: ForwardingChange): string {
  return `${mac} dev ${device.name}${dst === undefined ? '' : ` dst ${dst}`}`;
}

export function decodeForwarding(message: Message): ForwardingEntry | undefined {
  const head = decodeNeighbourHead(message);
  if (head?.family !== AF.BRIDGE) return undefined;
  const attributes = new Attributes(message.payload.subarray(neighbourHeaderLength));
  const mac = attributes.bytes(NDA.LLADDR);
  // An entry of a bridge's own table says whose it is.
  if (mac?.length !== 6 || attributes.has(NDA.MASTER)) return undefined;
  const dst = attributes.bytes(NDA.DST);
  return {
    device: head.device,
    mac: formatMac(mac),
    dst: ipText(4, dst) ?? ipText(6, dst),
    port: attributes.u16be(NDA.PORT),
    vni: attributes.u32(NDA.VNI),
    via: attributes.u32(NDA.IFINDEX),
    permanent: (head.state & NUD.PERMANENT) !== 0,
  };
}

export function encodeForwardingDump(flags: number, device: number): Uint8Array {
  return encodeMessage(RTM.GETNEIGH, flags, neighbourHeader(AF.BRIDGE, device, 0, 0), []);
}

export function encodeForwardingChange(
  type: typeof RTM.NEWNEIGH | typeof RTM.DELNEIGH,
  flags: number,
  { device, mac, dst, port, vni, via }: ForwardingChange,
): Uint8Array {
  const attributes = [attribute.bytes(NDA.LLADDR, parseMac(mac))];
  if (dst !== undefined) attributes.push(attribute.bytes(NDA.DST, ipBytes(dst)));
  if (port !== undefined) attributes.push(attribute.u16be(NDA.PORT, port));
  if (vni !== undefined) attributes.push(attribute.u32(NDA.VNI, vni));
  if (via !== undefined) attributes.push(attribute.u32(NDA.IFINDEX, via));
  const state = type === RTM.NEWNEIGH ? NUD.PERMANENT : 0;
  return encodeMessage(type, flags, neighbourHeader(AF.BRIDGE, device.index, state, NTF.SELF), attributes);
}
