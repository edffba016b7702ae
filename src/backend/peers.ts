// Which leases are peers of this node, for any backend: the rules that keep one bad lease from harming others.
//
// A lease that cannot be used is left out and explained by a warning; it never takes another down with it. The result
// depends on nothing but the arguments, not even on the order of the leases.

import { cidrContains, cidrEqual, cidrOverlaps, compareCidr, formatCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { formatIp, tryParseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import type { Lease } from '../store/lease.ts';
import type { PlanInput } from './backend.ts';
import type { OverlayNetwork } from './overlay.ts';

export interface Peer<T> {
  readonly prefix: Cidr;
  /** Its public address: where frames for it go. */
  readonly outer: string;
  /** What its lease says for the backend. */
  readonly data: T;
}

export interface PeerRules<T> {
  readonly family: Family;
  readonly network: Cidr;
  /** Our own. */
  readonly subnet: Cidr;
  /** BackendType of leases that count; undefined: those that name none. */
  readonly leaseType: string | undefined;
  /** What the lease says for the backend, or in words what is wrong with that. */
  readonly read: (lease: Lease) => { readonly data: T } | string;
  readonly onWarning: (warning: string) => void;
}

/** The peers, by their prefixes. */
export function peersOf<T>(input: PlanInput, rules: PeerRules<T>): readonly Peer<T>[] {
  const usable: Peer<T>[] = [];
  for (const lease of input.leases) {
    if (isOwn(lease, input.own)) continue;
    const peer = peerOf(lease, input, rules);
    if (peer === undefined) continue;
    if (typeof peer === 'string') rules.onWarning(peer);
    else usable.push(peer);
  }
  usable.sort((a, b) => compareCidr(a.prefix, b.prefix) || compareText(a.outer, b.outer));
  const peers: Peer<T>[] = [];
  // Blocks nest or are apart, and the wider comes first: what overlaps a peer is inside one of those that are open.
  const open: Peer<T>[] = [];
  for (const peer of usable) {
    while (open.length > 0 && !within(open.at(-1), peer)) open.pop();
    const outside = open.at(-1);
    if (outside !== undefined && cidrEqual(outside.prefix, peer.prefix)) {
      rules.onWarning(
        `${describe(peer.prefix, peer.outer)} is ignored: ${outside.outer} holds the same subnet; remove one of the leases`,
      );
      continue;
    }
    if (outside !== undefined) {
      rules.onWarning(
        `${describe(peer.prefix, peer.outer)} overlaps ${formatCidr(outside.prefix)} of ${outside.outer}; ` +
          'the smaller subnet wins where they do',
      );
    }
    open.push(peer);
    peers.push(peer);
  }
  return peers;
}

/** For backends whose leases hold nothing but addresses. */
export function barePeers(
  input: PlanInput,
  overlay: OverlayNetwork,
  leaseType: string | undefined,
  warnings: string[],
): readonly Peer<undefined>[] {
  return peersOf(input, {
    ...overlay,
    leaseType,
    read: () => ({ data: undefined }),
    onWarning: (warning) => warnings.push(warning),
  });
}

/** The peer, or why there is none; undefined when the lease has no part in it. */
function peerOf<T>(lease: Lease, input: PlanInput, rules: PeerRules<T>): Peer<T> | string | undefined {
  const { family, network, subnet, leaseType } = rules;
  const prefix = family === 4 ? lease.subnet : lease.subnet6;
  const outerText = family === 4 ? lease.attrs.publicIP : lease.attrs.publicIPv6;
  if (prefix === undefined) return undefined;
  const ignored = (reason: string): string => `${describe(prefix, outerText)} is ignored: ${reason}`;

  const { backendType, backendData, backendV6Data } = lease.attrs;
  // A reservation that its host has not claimed yet says no more than whose it is.
  if (leaseType !== undefined && (backendType ?? backendData ?? backendV6Data) === undefined)
    return undefined;
  if (backendType !== leaseType) {
    const theirs = backendType === undefined ? 'not named' : `"${backendType}"`;
    return ignored(
      leaseType === undefined
        ? `its backend is ${theirs}, and this network's leases name none`
        : `its backend is ${theirs}, not "${leaseType}"`,
    );
  }
  const outer = outerText === null ? undefined : tryParseIp(outerText);
  if (outer?.family !== family) return ignored(`it has no IPv${family} public address`);
  const read = rules.read(lease);
  if (typeof read === 'string') return ignored(read);
  const outerIp = formatIp(family, outer.value);
  const ownIps =
    family === 4
      ? [input.own.attrs.publicIP, input.host.address4]
      : [input.own.attrs.publicIPv6, input.host.address6];
  if (ownIps.includes(outerIp))
    return ignored('its public address is our own; two hosts claim the same address');
  if (cidrOverlaps(prefix, subnet)) return ignored(`it overlaps our own subnet ${formatCidr(subnet)}`);
  if (!cidrContains(network, prefix)) return ignored(`it lies outside the network ${formatCidr(network)}`);
  if (cidrContains(network, outer)) {
    return ignored(
      `its public address lies inside the network ${formatCidr(network)}, so frames to it would loop`,
    );
  }
  const attached = input.host.attached.find(
    ({ cidr }) => cidrContains(prefix, cidr) || cidrEqual(prefix, cidr),
  );
  if (attached) {
    return ignored(`this host is attached to ${formatCidr(attached.cidr)} on ${attached.device}, inside it`);
  }
  return { prefix, outer: outerIp, data: read.data };
}

/** Own by the subnets and by whom they are leased to. What else the lease says may have been changed. */
export function isOwn(lease: Lease, own: Lease): boolean {
  return (
    cidrEqual(lease.subnet, own.subnet) &&
    cidrEqual(lease.subnet6, own.subnet6) &&
    lease.attrs.publicIP === own.attrs.publicIP &&
    lease.attrs.publicIPv6 === own.attrs.publicIPv6
  );
}

export function describeLease(prefix: Cidr, outer: string | null): string {
  return describe(prefix, outer);
}

function within(outer: Peer<unknown> | undefined, inner: Peer<unknown>): boolean {
  return outer !== undefined && cidrContains(outer.prefix, inner.prefix);
}

function describe(prefix: Cidr, outer: string | null): string {
  return `the lease ${formatCidr(prefix)} of ${outer ?? 'nobody'}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
