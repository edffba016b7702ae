// Networks of this host that share addresses with the overlay network: found before anything is made, and refused with
// the route or address named.
//
//   underlay address inside the Network        error: frames to peers would be routed into the overlay
//   other address whose network is inside it   error, but inside our own subnet: that is the containers' bridge
//   route inside the Network, or equal to it   error, but inside our own subnet: it would lead a peer's packets elsewhere
//   connected route around the Network         warning: of its hosts, those inside the Network cannot be reached
//   any other route around it, the default     fine: the overlay's routes are longer
//
// Before there is a lease our own subnet may be any; then only what is wider than a subnet is judged.
//
// Never judged: routes on devices of ours, routes that carry our protocol number, and what the caller adopts (a route to
// a peer's subnet that flannel's host-gw has left).
//
// Not handled: tables other than main, addresses that are a network of their own (/32, /128).

import type { NetworkConfig } from '../config/network.ts';
import { KerseyError } from '../errors.ts';
import { cidrAround, cidrContains, cidrEqual, compareCidr, formatCidr, parseCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { addressBits, formatIp, parseIp, tryParseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { Address } from '../netlink/address.ts';
import { RT_TABLE, RTN, RTPROT } from '../netlink/constants.ts';
import type { DeviceRef } from '../netlink/link.ts';
import { protocolName, routeRemoval, routeText } from '../netlink/route-text.ts';
import type { Route } from '../netlink/route.ts';
import type { LeaseSubnets } from '../store/lease.ts';

export interface OverlapInput {
  readonly config: NetworkConfig;
  /** undefined before there is a lease. */
  readonly own?: LeaseSubnets | undefined;
  readonly underlay: {
    readonly iface: string;
    readonly address4?: string | undefined;
    readonly address6?: string | undefined;
  };
  readonly links: readonly DeviceRef[];
  readonly addresses: readonly Pick<Address, 'index' | 'family' | 'ip' | 'prefixLength'>[];
  /** Of both families. */
  readonly routes: readonly Route[];
  /** Names. */
  readonly ownDevices: readonly string[];
  readonly ownProtocol: number;
  /** @param device its name; undefined for a route without one, or with several */
  readonly adoptable?: (route: Route, device: string | undefined) => boolean;
}

export interface Overlaps {
  /** SUBNET_OVERLAP, the gravest first. */
  readonly problems: readonly KerseyError[];
  readonly warnings: readonly string[];
}

/** What is judged of one family. */
interface Side {
  readonly family: Family;
  readonly network: Cidr;
  /** Prefix length of a host's subnet. */
  readonly subnetLen: number;
  readonly subnet: Cidr | undefined;
  readonly underlay: string | undefined;
}

/** @returns warnings @throws KerseyError SUBNET_OVERLAP */
export function assertNetworkFits(input: OverlapInput): readonly string[] {
  const { problems, warnings } = findOverlaps(input);
  if (problems[0] !== undefined) throw problems[0];
  return warnings;
}

export function findOverlaps(input: OverlapInput): Overlaps {
  const found = sidesOf(input).map((side) => {
    const own = inOwnSubnet(side);
    const nameOf = new Map(input.links.map(({ index, name }) => [index, name]));
    const attached = attachedInside(side, input, nameOf).filter(({ cidr }) => !own(cidr));
    const routes = foreignRoutes(side, input, nameOf);
    const inside = routes.filter(({ cidr }) => cidrContains(side.network, cidr) && !own(cidr));
    // The kernel's own route to a network that is attached goes with the address.
    const unexplained = inside.filter(
      ({ cidr, device, route }) =>
        route.protocol !== RTPROT.KERNEL ||
        !attached.some((one) => one.device === device && cidrEqual(one.cidr, cidr)),
    );
    const around = routes.filter(
      ({ cidr, route }) =>
        cidr.length > 0 &&
        cidr.length < side.network.length &&
        cidrContains(cidr, side.network) &&
        isConnected(route),
    );
    return {
      problems: [
        underlayProblem(side, input),
        attachedProblem(side, attached),
        routeProblem(side, unexplained),
      ],
      warnings: around.map(
        (one) =>
          `the network ${formatCidr(side.network)} lies inside ${textOf(one)}: hosts there with addresses of the network cannot be reached`,
      ),
    };
  });
  return {
    problems: found.flatMap(({ problems }) => problems.filter((problem) => problem !== undefined)),
    warnings: found.flatMap(({ warnings }) => warnings),
  };
}

function sidesOf({ config, own, underlay }: OverlapInput): readonly Side[] {
  const { network, subnetLen = 32, ipv6Network, ipv6SubnetLen = 128 } = config;
  const { address4, address6 } = underlay;
  return [
    ...(config.enableIPv4 && network
      ? [{ family: 4 as const, network, subnetLen, subnet: own?.subnet, underlay: address4 }]
      : []),
    ...(config.enableIPv6 && ipv6Network
      ? [
          {
            family: 6 as const,
            network: ipv6Network,
            subnetLen: ipv6SubnetLen,
            subnet: own?.subnet6,
            underlay: address6,
          },
        ]
      : []),
  ];
}

/** Whether a network is in our own subnet, or may be in what will be our own. */
function inOwnSubnet({ subnet, subnetLen }: Side): (cidr: Cidr) => boolean {
  return (cidr) => (subnet === undefined ? cidr.length >= subnetLen : cidrContains(subnet, cidr));
}

interface Attached {
  readonly cidr: Cidr;
  readonly device: string;
}

function attachedInside(
  { family, network }: Side,
  { addresses, ownDevices }: OverlapInput,
  nameOf: ReadonlyMap<number, string>,
): readonly Attached[] {
  return addresses
    .flatMap(({ index, ip, prefixLength, family: its }): readonly Attached[] => {
      const device = nameOf.get(index);
      if (its !== family || device === undefined || ownDevices.includes(device)) return [];
      if (prefixLength === addressBits(family)) return [];
      return [{ cidr: cidrAround(family, parseIp(ip).value, prefixLength), device }];
    })
    .filter(({ cidr }) => cidrContains(network, cidr))
    .sort((a, b) => compareCidr(a.cidr, b.cidr) || (a.device < b.device ? -1 : 1));
}

interface ForeignRoute {
  readonly route: Route;
  readonly cidr: Cidr;
  readonly device: string | undefined;
}

function foreignRoutes(
  { family }: Side,
  { routes, ownDevices, ownProtocol, adoptable }: OverlapInput,
  nameOf: ReadonlyMap<number, string>,
): readonly ForeignRoute[] {
  return (
    routes
      .filter((route) => route.family === family && route.table === RT_TABLE.MAIN)
      .map((route) => ({ route, device: route.device === undefined ? undefined : nameOf.get(route.device) }))
      .filter(({ route, device }) => {
        if (route.protocol === ownProtocol) return false;
        if (device !== undefined && ownDevices.includes(device)) return false;
        return adoptable?.(route, device) !== true;
      })
      // Only now: of a node with many peers nearly all routes are its own.
      .map(({ route, device }) => ({ route, device, cidr: parseCidr(route.dst) }))
      .sort((a, b) => compareCidr(a.cidr, b.cidr) || a.route.metric - b.route.metric)
  );
}

function isConnected({ via, device, type }: Route): boolean {
  return type === RTN.UNICAST && via === undefined && device !== undefined;
}

function underlayProblem({ network, underlay }: Side, input: OverlapInput): KerseyError | undefined {
  const address = tryParseIp(underlay ?? '');
  if (address === undefined || !cidrContains(network, address)) return undefined;
  const text = formatIp(address.family, address.value);
  return overlap(
    `the underlay address ${text} of ${input.underlay.iface} lies inside the overlay network ${formatCidr(network)}`,
    'choose another Network, or another interface with --iface',
  );
}

function attachedProblem(side: Side, [first]: readonly Attached[]): KerseyError | undefined {
  if (first === undefined) return undefined;
  return overlap(
    `${first.device} of this host is on ${formatCidr(first.cidr)}, ${whereIn(side)}`,
    `remove that address (ip address show dev ${first.device}), or choose another Network`,
  );
}

function routeProblem(side: Side, [first, ...more]: readonly ForeignRoute[]): KerseyError | undefined {
  if (first === undefined) return undefined;
  const others = more.length === 0 ? '' : ` (and ${more.length} more like it)`;
  const { network } = side;
  const where = cidrEqual(first.cidr, network)
    ? `which is the overlay network ${formatCidr(network)}`
    : whereIn(side);
  return overlap(`this host has the route '${textOf(first)}'${others}, ${where}`, routeRemedy(first));
}

function routeRemedy({ route, device }: ForeignRoute): string {
  const removal = routeRemoval(route, device);
  if (route.protocol === RTPROT.STATIC || route.protocol === RTPROT.BOOT) {
    return `remove it (${removal}), or choose another Network`;
  }
  return route.protocol === RTPROT.KERNEL
    ? `remove the address that it belongs to (ip address show dev ${device ?? ''}), or choose another Network`
    : `have it withdrawn by whoever makes it (proto ${protocolName(route.protocol)}), or choose another Network`;
}

function whereIn({ network, subnet }: Side): string {
  return `inside the overlay network ${formatCidr(network)}${subnet === undefined ? '' : ` but outside our subnet ${formatCidr(subnet)}`}`;
}

function textOf({ route, device }: ForeignRoute): string {
  return routeText(route, device);
}

function overlap(message: string, remedy: string): KerseyError {
  return new KerseyError('SUBNET_OVERLAP', message, { remedy });
}
