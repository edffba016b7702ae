// WireGuard: encrypted tunnels between the hosts, made by the kernel or by wireguard-go.
//
// A device knows its peers by their public keys, which the leases tell. What it sends goes to the peer whose allowed
// addresses hold the destination, so one route for the whole network leads to the device.
//
//   Mode separate          a device and a tunnel for each family: `flannel-wg` over IPv4, `flannel-wg-v6` over IPv6
//   Mode auto, ipv4, ipv6  one device for both; its tunnels run over whichever of the public addresses the mode says
//
// Where flannel errs, this does not: there are routes for enabled families only (flannel 0.28 fails, or takes the
// default route away), and a device for both families publishes the port that it listens on, ListenPort, for both
// (flannel publishes ListenPortV6 for IPv6).
//
// Two leases with one public key are one peer with both subnets: a host that was given another subnet while its old
// lease lives on.

import type { WireguardConfig } from '../../config/backend.ts';
import { isJsonObject } from '../../config/json.ts';
import type { JsonValue } from '../../config/json.ts';
import { formatCidr, cidrContains, parseCidr } from '../../net/cidr.ts';
import { tryParseIp } from '../../net/ip.ts';
import type { Family } from '../../net/ip.ts';
import type { Lease } from '../../store/lease.ts';
import type { Backend, BackendContext, HostFacts, PlanInput } from '../backend.ts';
import { enabledFamilies, innerMtu, overlayNetworks, vtepAddress } from '../overlay.ts';
import type { OverlayNetwork } from '../overlay.ts';
import { peersOf } from '../peers.ts';
import type { Plan, PlannedPeer, WireguardDevicePlan, WireguardPeer } from '../plan.ts';
import { decodeKey } from './key.ts';
import type { KeyPair } from './key.ts';

/** Outer IPv6 and UDP, WireGuard's header, padding and tag. */
const overhead = 80;
const deviceNames = { 4: 'flannel-wg', 6: 'flannel-wg-v6' } as const;
/** 0 would have the kernel draw a port that no peer knows. */
const defaultPorts = { 4: 51820, 6: 51821 } as const;

/** Go's IsPrivate: addresses that no host elsewhere can reach. */
const privateNetworks = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'].map(parseCidr);

/** One lease as far as it may be used. */
interface Remote {
  readonly lease: Lease;
  readonly publicKey: string;
  /** Where it is, by the families that were found good. */
  readonly outer: Partial<Record<Family, string>>;
  readonly prefixes: readonly string[];
}

export class WireguardBackend implements Backend {
  readonly leaseType = 'wireguard';
  readonly needsOnLink = false;
  readonly deviceNames: readonly string[];
  readonly #wireguard: WireguardConfig;
  readonly #context: BackendContext;
  readonly #key: KeyPair;

  constructor(wireguard: WireguardConfig, context: BackendContext, key: KeyPair) {
    this.#wireguard = wireguard;
    this.#context = context;
    this.#key = key;
    this.deviceNames = this.#groups().map(([first]) => deviceNames[this.#tunnel(first)]);
  }

  leaseData(family: Family): JsonValue {
    return { PublicKey: this.#key.publicKey, Port: this.#port(family) };
  }

  isComplete(family: Family, data: JsonValue | undefined): boolean {
    return publicKeyIn(data) === this.#key.publicKey && portIn(data) === this.#port(family);
  }

  device(family: Family, host: HostFacts): WireguardDevicePlan | undefined {
    const group = this.#groups().find(([first]) => first === family);
    if (group === undefined) return undefined;
    const mtus = group.map((each) => innerMtu(each, host, overhead, 'WireGuard', this.#wireguard.mtu));
    return {
      kind: 'wireguard',
      name: deviceNames[this.#tunnel(family)],
      family,
      mtu: Math.min(...mtus),
      addresses: [],
      routes: [],
      listenPort: this.#port(family),
      privateKey: this.#key.privateKey,
      peers: [],
    };
  }

  plan(input: PlanInput): Plan {
    const warnings = new Set<string>();
    const known: PlannedPeer[] = [];
    const devices: WireguardDevicePlan[] = [];
    const networks = overlayNetworks(this.#context.config, input.own);
    for (const group of this.#groups()) {
      const overlays = networks.filter(({ family }) => group.includes(family));
      const device = this.device(group[0], input.host);
      if (device === undefined) continue;
      const remotes = this.#remotes(input, overlays, warnings);
      const peers = this.#peers(input, remotes, warnings, known);
      devices.push({
        ...device,
        addresses: overlays.map(({ subnet }) => vtepAddress(subnet)),
        routes: overlays.map(({ network }) => ({ dst: formatCidr(network), scope: 'link' })),
        peers,
      });
    }
    const mtu = Math.min(...devices.map((device) => device.mtu));
    return { devices, routes: [], peers: known, mtu, warnings: [...warnings].sort() };
  }

  /** The families of each device. */
  #groups(): readonly (readonly [Family, ...Family[]])[] {
    const [first, ...rest] = enabledFamilies(this.#context.config);
    if (first === undefined) return [];
    if (this.#wireguard.mode !== 'separate') return [[first, ...rest]];
    return [[first], ...rest.map((family): readonly [Family] => [family])];
  }

  /** Of the device that serves the family: the one whose name and port it has. */
  #tunnel(family: Family): Family {
    return this.#wireguard.mode === 'separate' ? family : 4;
  }

  #port(family: Family): number {
    const tunnel = this.#tunnel(family);
    const port = tunnel === 4 ? this.#wireguard.listenPort : this.#wireguard.listenPortV6;
    return port === 0 ? defaultPorts[tunnel] : port;
  }

  /** The leases that may be used, once for all their families, in the order of their subnets. */
  #remotes(input: PlanInput, overlays: readonly OverlayNetwork[], warnings: Set<string>): readonly Remote[] {
    const remotes = new Map<Lease, Remote>();
    for (const overlay of overlays) {
      const { family } = overlay;
      const peers = peersOf(input, {
        ...overlay,
        leaseType: this.leaseType,
        read: (lease) => this.#read(family, lease),
        onWarning: (warning) => warnings.add(warning),
      });
      for (const { prefix, outer, data } of peers) {
        const before = remotes.get(data.lease);
        remotes.set(data.lease, {
          ...data,
          outer: { ...before?.outer, [family]: outer },
          prefixes: [...(before?.prefixes ?? []), formatCidr(prefix)],
        });
      }
    }
    return [...remotes.values()];
  }

  #read(family: Family, lease: Lease): { readonly data: Pick<Remote, 'lease' | 'publicKey'> } | string {
    const { backendData, backendV6Data } = lease.attrs;
    const own = family === 4 ? backendData : backendV6Data;
    // With one device a host has one key, and either member may say it.
    const other = family === 4 ? backendV6Data : backendData;
    const publicKey =
      publicKeyIn(own) ?? (this.#wireguard.mode === 'separate' ? undefined : publicKeyIn(other));
    if (publicKey === undefined) {
      return `${family === 4 ? 'BackendData' : 'BackendV6Data'}.PublicKey is missing or not a WireGuard key`;
    }
    if (publicKey === this.#key.publicKey) {
      return 'its public key is our own; two hosts have the same key file, or it is an old lease of this host';
    }
    return { data: { lease, publicKey } };
  }

  #peers(
    input: PlanInput,
    remotes: readonly Remote[],
    warnings: Set<string>,
    known: PlannedPeer[],
  ): readonly WireguardPeer[] {
    const { psk, keepalive } = this.#wireguard;
    const peers = new Map<string, WireguardPeer>();
    for (const { lease, publicKey, outer, prefixes } of remotes) {
      const over = this.#over(input, outer);
      const address = over === undefined ? undefined : outer[over];
      if (over === undefined || address === undefined) {
        warnings.add(
          `the lease ${prefixes.join(', ')} is ignored: it has no public address for Mode "${this.#wireguard.mode}"`,
        );
        continue;
      }
      const data = over === 4 ? lease.attrs.backendData : lease.attrs.backendV6Data;
      const port = portIn(data) ?? this.#port(over);
      const endpoint = over === 4 ? `${address}:${port}` : `[${address}]:${port}`;
      const same = peers.get(publicKey);
      if (same !== undefined && same.endpoint !== endpoint) {
        warnings.add(
          `the leases ${[...same.allowedIps, ...prefixes].join(', ')} have one public key and are at ` +
            `${same.endpoint} and ${endpoint}; the first is used until the peer is heard from elsewhere`,
        );
      }
      peers.set(publicKey, {
        publicKey,
        endpoint: same?.endpoint ?? endpoint,
        allowedIps: [...(same?.allowedIps ?? []), ...prefixes],
        ...(psk !== undefined && { presharedKey: psk }),
        keepalive,
      });
      for (const prefix of prefixes) known.push({ prefix, outer: address, detail: publicKey });
    }
    return [...peers.values()];
  }

  /** Over which of a peer's addresses the tunnel runs, as flannel chooses. */
  #over({ own, host }: PlanInput, outer: Remote['outer']): Family | undefined {
    switch (this.#wireguard.mode) {
      case 'separate':
        return outer[4] === undefined ? (outer[6] === undefined ? undefined : 6) : 4;
      case 'ipv4':
        return outer[4] === undefined ? undefined : 4;
      case 'ipv6':
        return outer[6] === undefined ? undefined : 6;
      case 'auto': {
        const ours = { 4: own.attrs.publicIP ?? host.address4, 6: own.attrs.publicIPv6 ?? host.address6 };
        if (outer[6] === undefined) return outer[4] === undefined ? undefined : 4;
        if (outer[4] === undefined) return 6;
        const narrow = ours[4] === undefined || isPrivate(outer[4]);
        return narrow && ours[6] !== undefined && !isPrivate(ours[6]) && !isPrivate(outer[6]) ? 6 : 4;
      }
    }
  }
}

function publicKeyIn(data: JsonValue | undefined): string | undefined {
  const text = isJsonObject(data) ? data['PublicKey'] : undefined;
  return typeof text === 'string' && decodeKey(text) !== undefined ? text : undefined;
}

/** undefined where flannel before 0.26.6 says none, or where it is none. */
function portIn(data: JsonValue | undefined): number | undefined {
  const port = isJsonObject(data) ? data['Port'] : undefined;
  return typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

function isPrivate(address: string): boolean {
  const ip = tryParseIp(address);
  return ip !== undefined && privateNetworks.some((network) => cidrContains(network, ip));
}
