// Neighbours: which link-layer address an IP address has on a device. struct ndmsg and its attributes.
//
// Forwarding entries of bridges and vxlan devices use the same messages under the family AF_BRIDGE; see fdb.ts.
// Not handled: proxy entries (NTF_PROXY), which the kernel keeps in a table of their own.

import { parseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import { formatMac, parseMac } from '../net/mac.ts';
import { NDA, NUD, RTM } from './constants.ts';
import { familyNumber, familyOf, ipBytes, ipText } from './ip-bytes.ts';
import type { DeviceRef } from './link.ts';
import { attribute, Attributes, encodeMessage, Fields, type Message } from './wire.ts';

export interface Neighbour {
  readonly family: Family;
  /** Index of the device. */
  readonly device: number;
  readonly ip: string;
  /** undefined where it is not known, or is not of six bytes. */
  readonly mac: string | undefined;
  /** The kernel neither asks for it nor lets it go. */
  readonly permanent: boolean;
}

/** A permanent neighbour, to be set or deleted. */
export interface NeighbourChange {
  readonly device: DeviceRef;
  readonly ip: string;
  /** Of no meaning for a deletion. */
  readonly mac: string;
}

export interface NeighbourOperation {
  readonly action: 'replace' | 'delete';
  readonly neighbour: NeighbourChange;
}

export const neighbourHeaderLength = 12;

/** As `ip neigh` writes it. */
export function describeNeighbour({ ip, mac, device }: NeighbourChange): string {
  return `${ip} lladdr ${mac} dev ${device.name}`;
}

/** Family, device and state of any entry, a forwarding entry too: enough to know whether it matters. */
export function decodeNeighbourHead(
  message: Message,
): { readonly family: number; readonly device: number; readonly state: number } | undefined {
  if (message.type !== RTM.NEWNEIGH && message.type !== RTM.DELNEIGH) return undefined;
  if (message.payload.length < neighbourHeaderLength) return undefined;
  const head = new Fields(message.payload);
  return { family: head.u8(0), device: head.i32(4), state: head.u16(8) };
}

export function decodeNeighbour(message: Message): Neighbour | undefined {
  const head = decodeNeighbourHead(message);
  const family = head === undefined ? undefined : familyOf(head.family);
  if (head === undefined || family === undefined) return undefined;
  const attributes = new Attributes(message.payload.subarray(neighbourHeaderLength));
  const ip = ipText(family, attributes.bytes(NDA.DST));
  if (ip === undefined) return undefined;
  const mac = attributes.bytes(NDA.LLADDR);
  return {
    family,
    device: head.device,
    ip,
    mac: mac?.length === 6 ? formatMac(mac) : undefined,
    permanent: (head.state & NUD.PERMANENT) !== 0,
  };
}

export function encodeNeighbourDump(flags: number, family: Family, device: number): Uint8Array {
  // Unlike with forwarding entries, the kernel wants no index in the header here (neigh_valid_dump_req).
  return encodeMessage(RTM.GETNEIGH, flags, neighbourHeader(familyNumber(family), 0, 0, 0), [
    attribute.u32(NDA.IFINDEX, device),
  ]);
}

export function encodeNeighbourChange(
  type: typeof RTM.NEWNEIGH | typeof RTM.DELNEIGH,
  flags: number,
  { device, ip, mac }: NeighbourChange,
): Uint8Array {
  const adding = type === RTM.NEWNEIGH;
  const family = familyNumber(parseIp(ip).family);
  const attributes = [attribute.bytes(NDA.DST, ipBytes(ip))];
  if (adding) attributes.push(attribute.bytes(NDA.LLADDR, parseMac(mac)));
  const head = neighbourHeader(family, device.index, adding ? NUD.PERMANENT : 0, 0);
  return encodeMessage(type, flags, head, attributes);
}

export function neighbourHeader(family: number, device: number, state: number, flags: number): Uint8Array {
  return Fields.ofLength(neighbourHeaderLength)
    .setU8(0, family)
    .setI32(4, device)
    .setU16(8, state)
    .setU8(10, flags).bytes;
}
