// Routes: struct rtmsg and its attributes.
//
// Not handled: multipath routes and nexthop objects beyond knowing that a route has more than one way out; metrics
// (MTU, window) of a route.

import { parseCidr } from '../net/cidr.ts';
import { formatIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { DeviceRef } from './link.ts';
import { LOOPBACK_INDEX, RT_SCOPE, RT_TABLE, RTA, RTM, RTM_F, RTN, RTNH_F, RTPROT } from './constants.ts';
import { familyNumber, familyOf, ipBytes, ipText } from './ip-bytes.ts';
import { attribute, Attributes, encodeMessage, Fields, type Message } from './wire.ts';

export interface Route {
  readonly family: Family;
  /** `10.5.2.0/24`; the default route is `0.0.0.0/0` or `::/0`. */
  readonly dst: string;
  readonly via: string | undefined;
  /** Index of the device; undefined for blackholes, multipath routes and the like. */
  readonly device: number | undefined;
  /** Preferred source address. */
  readonly source: string | undefined;
  readonly metric: number;
  readonly table: number;
  readonly protocol: number;
  readonly scope: number;
  readonly type: number;
  readonly onlink: boolean;
  readonly multipath: boolean;
}

/** A route of the main table, to be set or deleted. */
export type RouteChange = UnicastRoute | BlackholeRoute;

export interface UnicastRoute {
  readonly kind?: 'unicast';
  readonly dst: string;
  readonly via?: string;
  readonly device: DeviceRef;
  readonly onlink?: boolean;
  /** Of a route without `via`; the device's link unless told otherwise. */
  readonly scope?: number;
  /** `boot` unless told otherwise: what `ip route` shows without a word, and what flannel's routes carry. */
  readonly protocol?: number;
  readonly metric?: number;
}

/** Drops what is sent there. To replace one of the same metric is to replace any route, a unicast one too. */
export interface BlackholeRoute {
  readonly kind: 'blackhole';
  readonly dst: string;
  readonly via?: undefined;
  readonly device?: undefined;
  readonly onlink?: undefined;
  readonly protocol?: number;
  readonly metric?: number;
}

const headerLength = 12;

/** As `ip route` writes it. */
export function describeRoute(route: RouteChange): string {
  if (route.kind === 'blackhole') return `blackhole ${route.dst}`;
  const { dst, via, device, onlink } = route;
  return [
    dst,
    via === undefined ? '' : ` via ${via}`,
    ` dev ${device.name}`,
    onlink === true ? ' onlink' : '',
  ].join('');
}

export function decodeRoute(message: Message): Route | undefined {
  if (message.type !== RTM.NEWROUTE && message.type !== RTM.DELROUTE) return undefined;
  if (message.payload.length < headerLength) return undefined;
  const head = new Fields(message.payload);
  const family = familyOf(head.u8(0));
  if (family === undefined) return undefined;
  const attributes = new Attributes(message.payload.subarray(headerLength));
  const flags = head.u32(8);
  const base = ipText(family, attributes.bytes(RTA.DST)) ?? (family === 4 ? '0.0.0.0' : '::');
  return {
    family,
    dst: `${base}/${head.u8(1)}`,
    via: ipText(family, attributes.bytes(RTA.GATEWAY)),
    device: attributes.u32(RTA.OIF),
    source: ipText(family, attributes.bytes(RTA.PREFSRC)),
    metric: attributes.u32(RTA.PRIORITY) ?? 0,
    table: attributes.u32(RTA.TABLE) ?? head.u8(4),
    protocol: head.u8(5),
    scope: head.u8(6),
    type: head.u8(7),
    onlink: (flags & RTNH_F.ONLINK) !== 0,
    multipath: attributes.has(RTA.MULTIPATH),
  };
}

/** Whether the message tells of an entry of a cache, which no table holds. */
export function isCloned(message: Message): boolean {
  return message.payload.length >= headerLength && (new Fields(message.payload).u32(8) & RTM_F.CLONED) !== 0;
}

export function encodeRouteDump(
  flags: number,
  family: Family,
  device: number | undefined,
  protocol: number | undefined,
): Uint8Array {
  const head = Fields.ofLength(headerLength)
    .setU8(0, familyNumber(family))
    .setU8(4, RT_TABLE.MAIN)
    .setU8(5, protocol ?? RTPROT.UNSPEC);
  const attributes = device === undefined ? [] : [attribute.u32(RTA.OIF, device)];
  return encodeMessage(RTM.GETROUTE, flags, head.bytes, attributes);
}

export function encodeRouteGet(family: Family, dst: string): Uint8Array {
  const head = Fields.ofLength(headerLength)
    .setU8(0, familyNumber(family))
    .setU8(1, family === 4 ? 32 : 128);
  return encodeMessage(RTM.GETROUTE, 0, head.bytes, [attribute.bytes(RTA.DST, ipBytes(dst))]);
}

export function encodeRouteChange(
  type: typeof RTM.NEWROUTE | typeof RTM.DELROUTE,
  flags: number,
  change: RouteChange,
): Uint8Array {
  const { family, base, length } = parseCidr(change.dst);
  const adding = type === RTM.NEWROUTE;
  const blackhole = change.kind === 'blackhole';
  const addingType = blackhole ? RTN.BLACKHOLE : RTN.UNICAST;
  const head = Fields.ofLength(headerLength)
    .setU8(0, familyNumber(family))
    .setU8(1, length)
    .setU8(4, RT_TABLE.MAIN)
    // For a deletion 0 and NOWHERE mean "whichever".
    .setU8(5, change.protocol ?? (adding ? RTPROT.BOOT : RTPROT.UNSPEC))
    .setU8(6, adding ? scopeOf(change, family) : RT_SCOPE.NOWHERE)
    .setU8(7, adding || blackhole ? addingType : RTN.UNSPEC)
    .setU32(8, !blackhole && change.onlink === true ? RTNH_F.ONLINK : 0);
  const attributes = [attribute.bytes(RTA.DST, ipBytes(formatIp(family, base)))];
  if (!blackhole) {
    attributes.push(attribute.u32(RTA.OIF, change.device.index));
    if (change.via !== undefined) attributes.push(attribute.bytes(RTA.GATEWAY, ipBytes(change.via)));
  } else if (family === 6 && !adding) {
    // IPv6 looks past the type when it deletes, but keeps its blackholes on lo.
    attributes.push(attribute.u32(RTA.OIF, LOOPBACK_INDEX));
  }
  if (change.metric !== undefined) attributes.push(attribute.u32(RTA.PRIORITY, change.metric));
  return encodeMessage(type, flags, head.bytes, attributes);
}

function scopeOf(change: RouteChange, family: Family): number {
  if (change.kind !== 'blackhole' && change.scope !== undefined) return change.scope;
  const direct = change.kind !== 'blackhole' && change.via === undefined && family === 4;
  return direct ? RT_SCOPE.LINK : RT_SCOPE.UNIVERSE;
}
