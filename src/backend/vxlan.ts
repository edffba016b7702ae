// VXLAN, carried by the engine or by the kernel: the same leases, addresses, routes and packets either way.
//
// An overlay of IPv4 runs on an IPv4 underlay, one of IPv6 on an IPv6 underlay, each with a device of its own
// (`flannel.<VNI>`, `flannel-v6.<VNI>`), as flannel does it. Per peer there is one route, and in the kernel a neighbour
// and a forwarding entry besides; the engine has a table of its own. With DirectRouting peers on our own link get a
// route to their public address instead; the engine still takes VXLAN from them, should they send it.

import { isJsonObject } from '../config/json.ts';
import type { JsonValue } from '../config/json.ts';
import { vxlanOverhead } from '../config/backend.ts';
import type { VxlanConfig } from '../config/backend.ts';
import { formatCidr } from '../net/cidr.ts';
import { formatIp } from '../net/ip.ts';
import type { Family } from '../net/ip.ts';
import { formatMac, randomMac, tryParseMac } from '../net/mac.ts';
import { KerseyError } from '../errors.ts';
import type { Lease } from '../store/lease.ts';
import type { Backend, BackendContext, HostFacts, PlanInput } from './backend.ts';
import { enabledFamilies, innerMtu, overlayNetworks, underlayAddress, vtepAddress } from './overlay.ts';
import type { OverlayNetwork } from './overlay.ts';
import { peersOf } from './peers.ts';
import type { Peer } from './peers.ts';
import type { DevicePlan, DeviceRoute, GsoMaxSize, Plan, PlannedPeer, UnderlayRoute } from './plan.ts';

/** The kernel's default of 500 packets overflows in one burst of a few TCP streams, without backpressure. */
const txQueueLen = 2048;

export function vxlanDeviceName(family: Family, vni: number): string {
  return `${family === 4 ? 'flannel' : 'flannel-v6'}.${vni}`;
}

export class VxlanBackend implements Backend {
  readonly leaseType = 'vxlan';
  readonly needsOnLink: boolean;
  readonly deviceNames: readonly string[];
  readonly #vxlan: VxlanConfig;
  readonly #context: BackendContext;
  /** The VtepMACs that were drawn, by family: one draw for all tries to claim a lease. */
  readonly #drawn = new Map<Family, string>();

  /** @throws KerseyError BACKEND_UNSUPPORTED */
  constructor(vxlan: VxlanConfig, context: BackendContext) {
    if (vxlan.gbp && context.dataplane === 'engine') {
      throw new KerseyError(
        'BACKEND_UNSUPPORTED',
        'config.Backend.GBP is true, and only kernel vxlan has it',
        {
          remedy: 'set it to false, or load the vxlan module and use --dataplane kernel',
        },
      );
    }
    this.#vxlan = vxlan;
    this.#context = context;
    this.needsOnLink = vxlan.directRouting;
    this.deviceNames = enabledFamilies(context.config).map((family) => vxlanDeviceName(family, vxlan.vni));
  }

  leaseData(family: Family, existing: JsonValue | undefined): JsonValue {
    // The lease's own MAC, so that peers need not relearn it; else the one that an earlier try has drawn.
    const mac = vtepMacIn(existing) ?? this.#drawn.get(family) ?? randomMac();
    this.#drawn.set(family, mac);
    return { VNI: this.#vxlan.vni, VtepMAC: mac };
  }

  isComplete(_family: Family, data: JsonValue | undefined): boolean {
    return vtepMacIn(data) !== undefined;
  }

  device(family: Family, host: HostFacts, data: JsonValue | undefined): DevicePlan {
    const mac = vtepMacIn(data);
    if (mac === undefined) throw new KerseyError('INTERNAL', `our own lease has no VtepMAC for IPv${family}`);
    const { vni, port, learning, gbp } = this.#vxlan;
    const { options, dataplane } = this.#context;
    const mtu = innerMtu(family, host, vxlanOverhead[family], 'VXLAN', this.#vxlan.mtu);
    const local = underlayAddress(host, family);
    const name = vxlanDeviceName(family, vni);
    const common = { name, family, mtu, addresses: [], routes: [], peers: [] };
    if (dataplane === 'kernel') {
      return { ...common, kind: 'vxlan', vni, port, local, underlay: host.iface, mac, learning, gbp };
    }
    return {
      ...common,
      kind: 'engine',
      engine: { device: name, vni, port, local, vtepMac: mac, mtu, ...options },
      txQueueLen,
      gsoMaxSize: { whole: gsoMaxSizeWhole(family), runs: gsoMaxSizeOfRuns(mtu, family) },
      local: [],
    };
  }

  plan(input: PlanInput): Plan {
    const warnings = new Set<string>();
    const { learning } = this.#vxlan;
    if (learning && this.#context.dataplane === 'engine') {
      warnings.add(
        'config.Backend.Learning has no effect on the engine, which knows its peers from their leases',
      );
    }
    const parts = overlayNetworks(this.#context.config, input.own).map((overlay) =>
      this.#overlay(overlay, input, (warning) => warnings.add(warning)),
    );
    return {
      devices: parts.map(({ device }) => device),
      routes: parts.flatMap(({ direct }) => direct),
      peers: parts.flatMap(({ peers }) => peers),
      mtu: Math.min(...parts.map(({ device }) => device.mtu)),
      warnings: [...warnings].sort(),
    };
  }

  #overlay(overlay: OverlayNetwork, input: PlanInput, onWarning: (warning: string) => void): OverlayPart {
    const { family, subnet } = overlay;
    const { host, own } = input;
    const data = family === 4 ? own.attrs.backendData : own.attrs.backendV6Data;
    const read = (lease: Lease): { data: string } | string => {
      const mac = vtepMacOf(lease, family);
      const where = family === 4 ? 'BackendData' : 'BackendV6Data';
      return mac === undefined ? `${where}.VtepMAC is missing or not a unicast MAC address` : { data: mac };
    };
    const peers = peersOf(input, { ...overlay, leaseType: this.leaseType, read, onWarning });
    const [direct, tunnelled] = this.#vxlan.directRouting ? split(peers, host) : [[], peers];
    const bare = this.device(family, host, data);
    const common = {
      addresses: [vtepAddress(subnet)],
      routes: tunnelled.map(({ prefix }): DeviceRoute => {
        return { dst: formatCidr(prefix), via: formatIp(family, prefix.base) };
      }),
    };
    return {
      device: withPeers({ ...bare, ...common }, peers, tunnelled, formatCidr(subnet)),
      direct: direct.map(({ prefix, outer }): UnderlayRoute => {
        return { family, dst: formatCidr(prefix), via: outer, device: host.iface, onlink: false };
      }),
      peers: peers.map(({ prefix, outer, data: mac }) => ({
        prefix: formatCidr(prefix),
        outer,
        detail: mac,
      })),
    };
  }
}

interface OverlayPart {
  readonly device: DevicePlan;
  readonly direct: readonly UnderlayRoute[];
  readonly peers: readonly PlannedPeer[];
}

type VxlanPeer = Peer<string>;

function withPeers(
  device: DevicePlan,
  all: readonly VxlanPeer[],
  tunnelled: readonly VxlanPeer[],
  subnet: string,
): DevicePlan {
  if (device.kind === 'engine') {
    return {
      ...device,
      local: [subnet],
      peers: all.map(({ prefix, outer, data }) => ({ prefix: formatCidr(prefix), outer, vtepMac: data })),
    };
  }
  if (device.kind !== 'vxlan') return device;
  return {
    ...device,
    peers: tunnelled.map(({ prefix, outer, data }) => ({
      prefix: formatCidr(prefix),
      address: formatIp(prefix.family, prefix.base),
      outer,
      vtepMac: data,
    })),
  };
}

/** Those on our own link, and the others. */
function split(peers: readonly VxlanPeer[], host: HostFacts): [readonly VxlanPeer[], readonly VxlanPeer[]] {
  const near = ({ outer }: VxlanPeer): boolean => host.onLink?.has(outer) === true;
  return [peers.filter(near), peers.filter((peer) => !near(peer))];
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
function gsoMaxSizeOfRuns(mtu: number, family: Family): GsoMaxSize['runs'] {
  const frame = mtu + vxlanOverhead[family] - (family === 4 ? 28 : 48);
  const tcpHeaders = family === 4 ? 52 : 72;
  const frames = Math.min(64, Math.floor(65_507 / frame));
  return Math.min(65_536, frames * (mtu - tcpHeaders) + 321);
}

/** What fits a datagram as a whole: the length fields of outer IPv4, IPv6 and UDP headers end at 65535. */
function gsoMaxSizeWhole(family: Family): GsoMaxSize['whole'] {
  return 65_535 - (family === 4 ? vxlanOverhead[4] : vxlanOverhead[6] - 40);
}
