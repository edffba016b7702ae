// What this node should look like: a pure function of the network config, the leases and the host.
//
//   own lease   -> per address family one overlay: device, engine, VTEP address, prefixes that are let in
//   peer leases -> the overlay's peers, and one route a peer, as flannel's nodes have them
//
// An overlay of IPv4 runs on an IPv4 underlay, one of IPv6 on an IPv6 underlay, each with a device of its own
// (`flannel.<VNI>`, `flannel-v6.<VNI>`), as flannel does it.
//
// A lease that cannot be used is left out and explained by a warning; it never takes another down with it. The result
// depends on nothing but the arguments, not even on the order of the leases.
//
// Not handled: DirectRouting, and changes of the network config while running (flannel follows neither).

import { isJsonObject } from '../config/json.ts';
import type { JsonValue } from '../config/json.ts';
import type { NetworkConfig } from '../config/network.ts';
import type { EngineConfig, EnginePeer } from '../engine/engine.ts';
import { KerseyError } from '../errors.ts';
import { cidrContains, cidrEqual, cidrOverlaps, compareCidr, formatCidr } from '../net/cidr.ts';
import type { Cidr } from '../net/cidr.ts';
import { addressBits, formatIp, tryParseIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import { formatMac, tryParseMac } from '../net/mac.ts';
import type { Lease } from '../store/lease.ts';

/** What is true of this host, whatever the store says. */
export interface HostFacts {
  /** The interface of the underlay. */
  readonly iface: string;
  readonly ifaceMtu: number;
  /** Addresses that frames leave from, one for every enabled family. */
  readonly address4?: string;
  readonly address6?: string;
  /** Networks that this host is directly attached to, but for the overlays' own. */
  readonly attached: readonly AttachedNetwork[];
}

export interface AttachedNetwork {
  readonly cidr: Cidr;
  readonly device: string;
}

/** What the operator chose for the engine. */
export type EngineOptions = Pick<
  EngineConfig,
  'workers' | 'disable' | 'allowUnknownSources' | 'innerSourceCheck'
>;

export interface DesiredInput {
  readonly config: NetworkConfig;
  readonly own: Lease;
  /** Every lease of the store; our own may be among them. */
  readonly leases: readonly Lease[];
  readonly host: HostFacts;
  readonly options: EngineOptions;
}

export interface DesiredRoute {
  readonly dst: string;
  readonly via: string;
}

/** The largest superpacket that the TUN shall hand over, in the terms of `ip link set gso_max_size`. */
export interface GsoMaxSize {
  /** While tunnel-gso is on: superpackets leave whole. */
  readonly whole: number;
  /** Otherwise: superpackets leave as runs of frames. */
  readonly runs: number;
}

export interface DesiredOverlay {
  readonly family: Family;
  readonly engine: EngineConfig;
  /** The VTEP's own address: the subnet's base, /32 or /128. */
  readonly address: string;
  readonly subnet: Cidr;
  readonly network: Cidr;
  readonly txQueueLen: number;
  readonly gsoMaxSize: GsoMaxSize;
  readonly peers: readonly EnginePeer[];
  /** Prefixes of this node: inner destinations that are let in. */
  readonly local: readonly string[];
  readonly routes: readonly DesiredRoute[];
}

export interface Desired {
  readonly overlays: readonly DesiredOverlay[];
  /** What containers may use in either family. */
  readonly mtu: number;
  readonly warnings: readonly string[];
}

/** IP, UDP, VXLAN and the inner Ethernet header. */
const overhead: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };
/** What every host takes (RFC 791), and what IPv6 cannot do with less of (RFC 8200). */
const leastMtu: Readonly<Record<Family, number>> = { 4: 576, 6: 1280 };
/** The kernel's default of 500 packets overflows in one burst of a few TCP streams, without backpressure. */
const txQueueLen = 2048;

export function enabledFamilies(config: NetworkConfig): readonly Family[] {
  return [...(config.enableIPv4 ? [4 as const] : []), ...(config.enableIPv6 ? [6 as const] : [])];
}

export function deviceName(family: Family, vni: number): string {
  return `${family === 4 ? 'flannel' : 'flannel-v6'}.${vni}`;
}

/** @throws KerseyError MTU_TOO_SMALL, SUBNET_OVERLAP, INTERNAL */
export function desiredState(input: DesiredInput): Desired {
  const warnings: string[] = [];
  const overlays = enabledFamilies(input.config).map((family) => overlay(family, input, warnings));
  const mtu = Math.min(...overlays.map(({ engine }) => engine.mtu));
  return { overlays, mtu, warnings: [...new Set(warnings)].sort() };
}

/** All that the engine of a family needs; of the lease only the VtepMAC. */
export function engineConfig(
  family: Family,
  { config, host, options }: Pick<DesiredInput, 'config' | 'host' | 'options'>,
  vtepMac: string,
): EngineConfig {
  const local = family === 4 ? host.address4 : host.address6;
  if (local === undefined) throw new KerseyError('INTERNAL', `no IPv${family} underlay address was chosen`);
  return {
    device: deviceName(family, config.backend.vni),
    vni: config.backend.vni,
    port: config.backend.port,
    local,
    vtepMac,
    mtu: overlayMtu(family, config, host),
    ...options,
  };
}

function overlayMtu(family: Family, config: NetworkConfig, host: HostFacts): number {
  const underlay = config.backend.mtu ?? host.ifaceMtu;
  const mtu = underlay - overhead[family];
  if (mtu >= leastMtu[family]) return mtu;
  const where = config.backend.mtu === undefined ? `the interface ${host.iface}` : 'config.Backend.MTU';
  const message = `the MTU of ${where} is ${underlay}, which leaves ${mtu} bytes for packets inside VXLAN`;
  const needed = leastMtu[family] + overhead[family];
  throw new KerseyError('MTU_TOO_SMALL', message, {
    remedy: `IPv${family} needs ${leastMtu[family]} inside, so raise it to ${needed} or more`,
  });
}

function overlay(family: Family, input: DesiredInput, warnings: string[]): DesiredOverlay {
  const { config, own } = input;
  const subnet = family === 4 ? own.subnet : own.subnet6;
  const network = family === 4 ? config.network : config.ipv6Network;
  const vtepMac = vtepMacOf(own, family);
  if (subnet === undefined || network === undefined || vtepMac === undefined) {
    throw new KerseyError('INTERNAL', `our own lease is incomplete for IPv${family}`);
  }
  const engine = engineConfig(family, input, vtepMac);
  const peers = peersOf(family, input, { subnet, network, device: engine.device }, warnings);
  return {
    family,
    engine,
    subnet,
    network,
    address: `${formatIp(family, subnet.base)}/${addressBits(family)}`,
    txQueueLen,
    gsoMaxSize: { whole: gsoMaxSizeWhole(family), runs: gsoMaxSizeOfRuns(engine.mtu, family) },
    peers: peers.map(({ prefix, outer, vtepMac: mac }) => ({
      prefix: formatCidr(prefix),
      outer,
      vtepMac: mac,
    })),
    local: [formatCidr(subnet)],
    routes: peers.map(({ prefix }) => ({ dst: formatCidr(prefix), via: formatIp(family, prefix.base) })),
  };
}

interface Peer {
  readonly prefix: Cidr;
  readonly outer: string;
  readonly vtepMac: string;
}

interface Self {
  readonly subnet: Cidr;
  readonly network: Cidr;
  readonly device: string;
}

function peersOf(family: Family, input: DesiredInput, self: Self, warnings: string[]): readonly Peer[] {
  const usable: Peer[] = [];
  for (const lease of input.leases) {
    if (isOwn(lease, input.own)) continue;
    const peer = peerOf(family, lease, input, self);
    if (peer === undefined) continue;
    if (typeof peer === 'string') warnings.push(peer);
    else usable.push(peer);
  }
  usable.sort((a, b) => compareCidr(a.prefix, b.prefix) || compareText(a.outer, b.outer));
  const peers: Peer[] = [];
  // Blocks nest or are apart, and the wider comes first: what overlaps a peer is inside one of those that are open.
  const open: Peer[] = [];
  for (const peer of usable) {
    while (open.length > 0 && !within(open.at(-1), peer)) open.pop();
    const outside = open.at(-1);
    if (outside !== undefined && cidrEqual(outside.prefix, peer.prefix)) {
      warnings.push(
        `${describe(peer.prefix, peer.outer)} is ignored: ${outside.outer} holds the same subnet; remove one of the leases`,
      );
      continue;
    }
    if (outside !== undefined) {
      warnings.push(
        `${describe(peer.prefix, peer.outer)} overlaps ${formatCidr(outside.prefix)} of ${outside.outer}; ` +
          'the smaller subnet wins where they do',
      );
    }
    open.push(peer);
    peers.push(peer);
  }
  return peers;
}

/** The peer, or why there is none; undefined when the lease has no part in the family. */
function peerOf(family: Family, lease: Lease, input: DesiredInput, self: Self): Peer | string | undefined {
  const prefix = family === 4 ? lease.subnet : lease.subnet6;
  const outerText = family === 4 ? lease.attrs.publicIP : lease.attrs.publicIPv6;
  if (prefix === undefined) return undefined;
  const ignored = (reason: string): string => `${describe(prefix, outerText)} is ignored: ${reason}`;

  const { backendType, backendData, backendV6Data } = lease.attrs;
  // A reservation that its host has not claimed yet says no more than whose it is.
  if ((backendType ?? backendData ?? backendV6Data) === undefined) return undefined;
  if (backendType !== 'vxlan') {
    return ignored(
      `its backend is ${backendType === undefined ? 'not named' : `"${backendType}"`}, not "vxlan"`,
    );
  }
  const outer = outerText === null ? undefined : tryParseIp(outerText);
  if (outer?.family !== family) return ignored(`it has no IPv${family} public address`);
  const vtepMac = vtepMacOf(lease, family);
  if (vtepMac === undefined) {
    return ignored(
      `${family === 4 ? 'BackendData' : 'BackendV6Data'}.VtepMAC is missing or not a unicast MAC address`,
    );
  }
  const outerIp = formatIp(family, outer.value);
  const ownIps =
    family === 4
      ? [input.own.attrs.publicIP, input.host.address4]
      : [input.own.attrs.publicIPv6, input.host.address6];
  if (ownIps.includes(outerIp))
    return ignored('its public address is our own; two hosts claim the same address');
  if (cidrOverlaps(prefix, self.subnet))
    return ignored(`it overlaps our own subnet ${formatCidr(self.subnet)}`);
  if (!cidrContains(self.network, prefix)) {
    return ignored(`it lies outside the network ${formatCidr(self.network)}`);
  }
  if (cidrContains(self.network, outer)) {
    return ignored(
      `its public address lies inside the network ${formatCidr(self.network)}, so frames to it would loop`,
    );
  }
  const attached = input.host.attached.find(
    ({ cidr }) => cidrContains(prefix, cidr) || cidrEqual(prefix, cidr),
  );
  if (attached) {
    return ignored(`this host is attached to ${formatCidr(attached.cidr)} on ${attached.device}, inside it`);
  }
  return { prefix, outer: outerIp, vtepMac };
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

/**
 * Why the overlay network cannot live on this host, found before anything is made.
 * @throws KerseyError SUBNET_OVERLAP
 */
export function assertNetworkFits(config: NetworkConfig, host: HostFacts, own?: Lease): void {
  for (const family of enabledFamilies(config)) {
    const network = family === 4 ? config.network : config.ipv6Network;
    const subnet = family === 4 ? own?.subnet : own?.subnet6;
    const address = tryParseIp((family === 4 ? host.address4 : host.address6) ?? '');
    if (network === undefined) continue;
    if (address !== undefined && cidrContains(network, address)) {
      const text = formatIp(address.family, address.value);
      throw new KerseyError(
        'SUBNET_OVERLAP',
        `the underlay address ${text} of ${host.iface} lies inside the overlay network ${formatCidr(network)}`,
        { remedy: 'choose another Network, or another interface with --iface' },
      );
    }
    const clash = host.attached.find(
      ({ cidr }) => cidrContains(network, cidr) && subnet !== undefined && !cidrContains(subnet, cidr),
    );
    if (clash && subnet) {
      throw new KerseyError(
        'SUBNET_OVERLAP',
        `${clash.device} of this host is on ${formatCidr(clash.cidr)}, inside the overlay network ${formatCidr(network)} but outside our subnet ${formatCidr(subnet)}`,
        { remedy: `remove that address (ip address show dev ${clash.device}), or choose another Network` },
      );
    }
  }
}

export function vtepMacOf(lease: Lease, family: Family): string | undefined {
  return vtepMacIn(family === 4 ? lease.attrs.backendData : lease.attrs.backendV6Data);
}

/** flannel's `{"VNI":1,"VtepMAC":"…"}`; only a unicast address that is not all zero can be a VTEP's. */
export function vtepMacIn(data: JsonValue | undefined): string | undefined {
  const text = isJsonObject(data) ? data['VtepMAC'] : undefined;
  const mac = typeof text === 'string' ? tryParseMac(text) : undefined;
  if (mac === undefined || ((mac[0] ?? 1) & 1) === 1 || mac.every((byte) => byte === 0)) return undefined;
  return formatMac(mac);
}

/**
 * The largest superpacket that one UDP_SEGMENT send can carry away: as many frames as fit the 65507 bytes of a UDP
 * datagram. The kernel takes the room for headers (MAX_TCP_HEADER + 1 = 321) off it again (sk_setup_caps).
 */
function gsoMaxSizeOfRuns(mtu: number, family: Family): number {
  const frame = mtu + overhead[family] - (family === 4 ? 28 : 48);
  const tcpHeaders = family === 4 ? 52 : 72;
  const frames = Math.min(64, Math.floor(65_507 / frame));
  return Math.min(65_536, frames * (mtu - tcpHeaders) + 321);
}

/** What fits a datagram as a whole: the length fields of outer IPv4, IPv6 and UDP headers end at 65535. */
function gsoMaxSizeWhole(family: Family): number {
  return 65_535 - (family === 4 ? overhead[4] : overhead[6] - 40);
}

function within(outer: Peer | undefined, inner: Peer): boolean {
  return outer !== undefined && cidrContains(outer.prefix, inner.prefix);
}

function describe(prefix: Cidr, outer: string | null): string {
  return `the lease ${formatCidr(prefix)} of ${outer ?? 'nobody'}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
