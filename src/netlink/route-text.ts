// A route as `ip route` prints it, so that what we say of one can be found there, and given to `ip route del`.
//
// Not handled: the ways of a multipath route, metrics other than the priority, the preference of an IPv6 router.

import { parseCidr } from '../net/cidr.ts';
import { addressBits } from '../net/ip.ts';
import { RT_SCOPE, RT_TABLE, RTN, RTPROT } from './constants.ts';
import type { Route } from './route.ts';

/** linux/rtnetlink.h and iproute2's etc/rt_protos; the kernel gives none of them a meaning. */
const protocolNames: Readonly<Record<number, string>> = {
  0: 'unspec',
  1: 'redirect',
  2: 'kernel',
  3: 'boot',
  4: 'static',
  8: 'gated',
  9: 'ra',
  10: 'mrt',
  11: 'zebra',
  12: 'bird',
  13: 'dnrouted',
  14: 'xorp',
  15: 'ntk',
  16: 'dhcp',
  18: 'keepalived',
  42: 'babel',
  99: 'openr',
  186: 'bgp',
  187: 'isis',
  188: 'ospf',
  189: 'rip',
  192: 'eigrp',
};

const typeNames: Readonly<Record<number, string>> = {
  2: 'local',
  3: 'broadcast',
  4: 'anycast',
  5: 'multicast',
  6: 'blackhole',
  7: 'unreachable',
  8: 'prohibit',
  9: 'throw',
  10: 'nat',
};

export function protocolName(protocol: number): string {
  return protocolNames[protocol] ?? String(protocol);
}

/** Type and destination: `10.5.1.0/24`, `default`, `10.5.1.7`, `blackhole 10.5.0.0/16`. */
function destination({ dst, type }: Route): string {
  const cidr = parseCidr(dst);
  const address = dst.slice(0, dst.indexOf('/'));
  const text = cidr.length === 0 ? 'default' : cidr.length === addressBits(cidr.family) ? address : dst;
  return type === RTN.UNICAST ? text : `${typeNames[type] ?? `type ${type}`} ${text}`;
}

/** @param device name of the route's device */
export function routeText(route: Route, device: string | undefined): string {
  const { via, protocol, scope, source, metric, onlink, table } = route;
  return [
    destination(route),
    via !== undefined && `via ${via}`,
    device !== undefined && `dev ${device}`,
    table !== RT_TABLE.MAIN && `table ${table}`,
    protocol !== RTPROT.BOOT && `proto ${protocolName(protocol)}`,
    scope !== RT_SCOPE.UNIVERSE && `scope ${scope === RT_SCOPE.LINK ? 'link' : scope}`,
    source !== undefined && `src ${source}`,
    metric !== 0 && `metric ${metric}`,
    onlink && 'onlink',
  ]
    .filter((word) => word !== false)
    .join(' ');
}

/** The command that removes exactly this route. */
export function routeRemoval({ dst, via, metric, type, family }: Route, device: string | undefined): string {
  return [
    family === 6 ? 'ip -6 route del' : 'ip route del',
    type === RTN.UNICAST ? dst : `${typeNames[type] ?? 'unicast'} ${dst}`,
    via !== undefined && `via ${via}`,
    device !== undefined && `dev ${device}`,
    metric !== 0 && `metric ${metric}`,
  ]
    .filter((word) => word !== false)
    .join(' ');
}
