// What a backend wants of the host: devices of ours with everything that hangs on them, and routes over interfaces that
// are not ours. Data only: src/node/reconcile.ts makes it true and keeps it so, whichever backend asked.
//
// Words: a *device plan* is one device of ours, whatever makes it: the engine (a TUN device), the kernel (vxlan, ipip)
// or the kernel or wireguard-go (wireguard). A *neighbour* says which MAC address an overlay address has, a *forwarding
// entry* (FDB) on which underlay address the VTEP with that MAC address is. An *underlay route* leads a peer's subnet
// straight to the peer, over an interface of the host.

import type { CommandsPlan } from './extension/commands-plan.ts';
import type { EngineConfig, EnginePeer } from '../engine/engine.ts';
import type { Family } from '../net/ip.ts';

export interface Plan {
  readonly devices: readonly DevicePlan[];
  readonly routes: readonly UnderlayRoute[];
  readonly peers: readonly PlannedPeer[];
  /** What containers may use, in either family. */
  readonly mtu: number;
  /** Leases that are left out and why, and whatever else is odd. */
  readonly warnings: readonly string[];
  /** With the backend "extension". */
  readonly commands?: CommandsPlan;
}

export type DevicePlan = EngineDevicePlan | VxlanDevicePlan | IpipDevicePlan | WireguardDevicePlan;

interface CommonPlan {
  readonly name: string;
  /** Of the addresses inside; with wireguard in one device for both, of the first. */
  readonly family: Family;
  readonly mtu: number;
  /** The device's own addresses, each with its length: `10.5.1.0/32`. */
  readonly addresses: readonly string[];
  readonly routes: readonly DeviceRoute[];
  /** undefined: as the kernel has made it. */
  readonly txQueueLen?: number;
}

export interface DeviceRoute {
  readonly dst: string;
  /** With it the route is onlink. */
  readonly via?: string;
  /** Of a route without `via`. */
  readonly scope?: 'link' | 'global';
}

export interface UnderlayRoute {
  readonly family: Family;
  readonly dst: string;
  readonly via: string;
  /** Name of the interface. */
  readonly device: string;
  /** Whether `via` is taken for a neighbour unseen. */
  readonly onlink: boolean;
}

export interface EngineDevicePlan extends CommonPlan {
  readonly kind: 'engine';
  readonly engine: EngineConfig;
  readonly gsoMaxSize: GsoMaxSize;
  readonly peers: readonly EnginePeer[];
  /** Prefixes of this node: inner destinations that are let in. */
  readonly local: readonly string[];
}

/** The largest superpacket that the TUN shall hand over, in the terms of `ip link set gso_max_size`. */
export interface GsoMaxSize {
  /** While tunnel-gso is on: superpackets leave whole. */
  readonly whole: number;
  /** Otherwise: superpackets leave as runs of frames. */
  readonly runs: number;
}

export interface VxlanDevicePlan extends CommonPlan {
  readonly kind: 'vxlan';
  readonly vni: number;
  readonly port: number;
  /** Underlay address that frames leave from. */
  readonly local: string;
  /** Name of the underlay interface. */
  readonly underlay: string;
  readonly mac: string;
  readonly learning: boolean;
  readonly gbp: boolean;
  readonly peers: readonly VtepPeer[];
}

/** A peer as the kernel's tables need it. */
export interface VtepPeer {
  readonly prefix: string;
  /** The peer's overlay address, the gateway of its route: the base of its subnet. */
  readonly address: string;
  readonly outer: string;
  readonly vtepMac: string;
}

export interface IpipDevicePlan extends CommonPlan {
  readonly kind: 'ipip';
  readonly local: string;
  readonly underlay: string;
}

export interface WireguardDevicePlan extends CommonPlan {
  readonly kind: 'wireguard';
  readonly listenPort: number;
  /** Base64, as `wg` writes it. */
  readonly privateKey: string;
  readonly peers: readonly WireguardPeer[];
}

export interface WireguardPeer {
  readonly publicKey: string;
  /** `192.168.1.2:51820`, `[fd00::2]:51820` */
  readonly endpoint: string;
  readonly allowedIps: readonly string[];
  readonly presharedKey?: string;
  /** In seconds; 0 is off. */
  readonly keepalive: number;
}

/** A peer as the log and the status name it. */
export interface PlannedPeer {
  readonly prefix: string;
  readonly outer: string;
  /** What else is told of it when it changes: a VTEP's MAC address, a public key. */
  readonly detail?: string;
}
