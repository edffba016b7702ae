// Network devices: struct ifinfomsg and its attributes.

import { formatMac, parseMac } from '../net/mac.ts';
import { AF, IFF, IFLA, IFLA_INFO, NLM_F, RTEXT_FILTER_SKIP_STATS, RTM } from './constants.ts';
import { decodeIpip, encodeIpip } from './ipip-link.ts';
import type { IpipCreate, IpipTunnel } from './ipip-link.ts';
import { decodeVxlan, encodeVxlan } from './vxlan-link.ts';
import type { VxlanCreate, VxlanTunnel } from './vxlan-link.ts';
import { attribute, Attributes, encodeMessage, Fields, type Message } from './wire.ts';

/** Which device is meant: the kernel goes by the index, people by the name. */
export interface DeviceRef {
  readonly index: number;
  readonly name: string;
}

export interface Link extends DeviceRef {
  /** Set up by the administrator (IFF_UP). */
  readonly up: boolean;
  /** Its carrier is there as well (IFF_LOWER_UP). */
  readonly lowerUp: boolean;
  readonly loopback: boolean;
  readonly mtu: number;
  readonly txQueueLen: number;
  /** `tun`, `veth`, `vxlan` ...; undefined for hardware. */
  readonly kind: string | undefined;
  /** Undefined when the device has no link-layer address of six bytes. */
  readonly mac: string | undefined;
  readonly gsoMaxSize: number | undefined;
  /** Linux 6.3 separated it from gsoMaxSize. */
  readonly gsoIpv4MaxSize: number | undefined;
  /** Index of the device that this one is made on, or of a veth's other end. */
  readonly parent: number | undefined;
  /** Index of the bridge and the like that this device is a port of. */
  readonly master: number | undefined;
  /** How it is configured, of the kinds that we know. */
  readonly tunnel: VxlanTunnel | IpipTunnel | undefined;
}

/** A device to be made; it is down at first. */
export interface LinkCreate {
  readonly name: string;
  readonly mtu: number;
  readonly mac?: string;
  readonly tunnel: VxlanCreate | IpipCreate;
}

export interface LinkChange {
  readonly up?: boolean;
  readonly mac?: string;
  readonly mtu?: number;
  readonly txQueueLen?: number;
  readonly gsoMaxSize?: number;
  readonly gsoIpv4MaxSize?: number;
}

const headerLength = 16;

export function decodeLink(message: Message): Link | undefined {
  if (message.type !== RTM.NEWLINK && message.type !== RTM.DELLINK) return undefined;
  if (message.payload.length < headerLength) return undefined;
  const head = new Fields(message.payload);
  // A bridge port announces itself a second time as AF_BRIDGE; that is not a device.
  if (head.u8(0) !== AF.UNSPEC) return undefined;
  const attributes = new Attributes(message.payload.subarray(headerLength));
  const flags = head.u32(8);
  const info = attributes.nested(IFLA.LINKINFO);
  const kind = info?.text(IFLA_INFO.KIND);
  return {
    index: head.i32(4),
    name: attributes.text(IFLA.IFNAME) ?? '',
    up: (flags & IFF.UP) !== 0,
    lowerUp: (flags & IFF.LOWER_UP) !== 0,
    loopback: (flags & IFF.LOOPBACK) !== 0,
    mtu: attributes.u32(IFLA.MTU) ?? 0,
    txQueueLen: attributes.u32(IFLA.TXQLEN) ?? 0,
    kind,
    mac: macText(attributes.bytes(IFLA.ADDRESS)),
    gsoMaxSize: attributes.u32(IFLA.GSO_MAX_SIZE),
    gsoIpv4MaxSize: attributes.u32(IFLA.GSO_IPV4_MAX_SIZE),
    parent: someIndex(attributes.u32(IFLA.LINK)),
    master: someIndex(attributes.u32(IFLA.MASTER)),
    tunnel: decodeTunnel(kind, info),
  };
}

function decodeTunnel(kind: string | undefined, info: Attributes | undefined): Link['tunnel'] {
  if (kind !== 'vxlan' && kind !== 'ipip') return undefined;
  const data = info?.nested(IFLA_INFO.DATA);
  if (data === undefined) return undefined;
  return kind === 'vxlan' ? decodeVxlan(data) : decodeIpip(data);
}

export function encodeLinkQuery(flags: number, by: { readonly name?: string }): Uint8Array {
  const attributes = [attribute.u32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS)];
  if (by.name !== undefined) attributes.push(attribute.text(IFLA.IFNAME, by.name));
  return encodeMessage(RTM.GETLINK, flags, header(0), attributes);
}

export function encodeLinkCreate({ name, mtu, mac, tunnel }: LinkCreate): Uint8Array {
  const data = tunnel.kind === 'vxlan' ? encodeVxlan(tunnel) : encodeIpip(tunnel);
  const attributes = [
    attribute.text(IFLA.IFNAME, name),
    attribute.u32(IFLA.MTU, mtu),
    attribute.nested(IFLA.LINKINFO, [
      attribute.text(IFLA_INFO.KIND, tunnel.kind),
      attribute.nested(IFLA_INFO.DATA, data),
    ]),
  ];
  if (mac !== undefined) attributes.push(attribute.bytes(IFLA.ADDRESS, parseMac(mac)));
  return encodeMessage(RTM.NEWLINK, NLM_F.CREATE | NLM_F.EXCL, header(0), attributes);
}

export function encodeLinkChange(index: number, change: LinkChange): Uint8Array {
  const attributes: Uint8Array[] = [];
  const put = (type: number, value: number | undefined): void => {
    if (value !== undefined) attributes.push(attribute.u32(type, value));
  };
  put(IFLA.MTU, change.mtu);
  put(IFLA.TXQLEN, change.txQueueLen);
  put(IFLA.GSO_MAX_SIZE, change.gsoMaxSize);
  put(IFLA.GSO_IPV4_MAX_SIZE, change.gsoIpv4MaxSize);
  if (change.mac !== undefined) attributes.push(attribute.bytes(IFLA.ADDRESS, parseMac(change.mac)));
  const head = new Fields(header(index));
  if (change.up !== undefined) head.setU32(8, change.up ? IFF.UP : 0).setU32(12, IFF.UP);
  return encodeMessage(RTM.NEWLINK, 0, head.bytes, attributes);
}

export function encodeLinkDelete(index: number): Uint8Array {
  return encodeMessage(RTM.DELLINK, 0, header(index), []);
}

function header(index: number): Uint8Array {
  return Fields.ofLength(headerLength).setI32(4, index).bytes;
}

/** The kernel's 0 is "none". */
function someIndex(index: number | undefined): number | undefined {
  return index === 0 ? undefined : index;
}

function macText(bytes: Uint8Array | undefined): string | undefined {
  if (bytes?.length !== 6) return undefined;
  return formatMac(bytes);
}
