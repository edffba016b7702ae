// What a running daemon says about itself. One value, handed out whole: as JSON on the control socket and by
// `kersey status -o json`, and as text by status-text.ts. Names are an interface; members are added, never renamed.
//
// Counters are numbers: exact to 2^53, which at 100 Gbit/s is eight days of bits, or 228 years of packets.

export interface Status {
  readonly version: string;
  readonly pid: number;
  /** ISO 8601, UTC. */
  readonly since: string;
  readonly state: 'ok' | 'degraded';
  /** What is wrong now, each with its remedy. */
  readonly problems: readonly Problem[];
  /** What is odd but does not stand in the way. */
  readonly warnings: readonly string[];
  /** The type in the network config. */
  readonly backend: string;
  readonly dataplane: DataplaneStatus;
  readonly store: StoreStatus;
  readonly lease: LeaseStatus;
  readonly underlay: UnderlayStatus;
  /** Devices of ours. */
  readonly overlays: readonly OverlayStatus[];
  /** Routes that lead straight to a peer, over an interface of the host. */
  readonly routes: readonly RouteStatus[];
  readonly firewall: FirewallStatus;
  /** Times that something was put right that had been in order before. */
  readonly repairs: Readonly<Record<string, number>>;
}

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

export interface DataplaneStatus {
  /** Who carries packets; `none` when the backend leaves that to others. */
  readonly mode: 'engine' | 'kernel' | 'none';
  readonly why: string;
  /** What was asked for. */
  readonly wish: 'auto' | 'engine' | 'kernel';
}

export interface RouteStatus {
  readonly dst: string;
  readonly via: string;
  readonly device: string;
}

export interface StoreStatus {
  readonly description: string;
  readonly state: 'readable' | 'unreadable';
  /** Since when it has been in this state. ISO 8601, UTC. */
  readonly since: string;
  /** Leases in the last table that could be read, our own included. */
  readonly leases: number;
}

export interface LeaseStatus {
  readonly subnet: string | null;
  readonly subnet6: string | null;
  readonly publicIP: string | null;
  readonly publicIPv6: string | null;
  /** ISO 8601, UTC; null when it does not expire, or when that is not known. */
  readonly expires: string | null;
  /** When it is renewed next. ISO 8601, UTC. */
  readonly renewal: string | null;
}

export interface UnderlayStatus {
  readonly iface: string;
  readonly mtu: number;
  readonly address: string | null;
  readonly address6: string | null;
  /** Why this interface. */
  readonly why: string;
}

export interface FirewallStatus {
  /** What makes the rules; `none` when nothing here can, `off` when nothing shall. */
  readonly mode: 'nft' | 'iptables' | 'none' | 'off';
  readonly why: string;
  readonly masquerade: boolean;
  readonly forward: boolean;
}

export interface OverlayStatus {
  readonly family: 4 | 6;
  readonly device: string;
  /** Who makes the device and moves its packets. */
  readonly kind: 'engine' | 'vxlan' | 'ipip' | 'wireguard';
  readonly state: 'running' | 'failed' | 'closed';
  /** Why it does not run; null when it does. */
  readonly reason: string | null;
  /** This and the next two are null where there is no such thing. */
  readonly vni: number | null;
  /** UDP. */
  readonly port: number | null;
  readonly vtepMac: string | null;
  /** Of the device; several are separated by spaces. */
  readonly address: string;
  readonly mtu: number;
  readonly features: readonly FeatureStatus[];
  readonly peers: readonly PeerStatus[];
  readonly counters: Readonly<Record<string, number>>;
  /** Every reason, also those with no drop. */
  readonly drops: Readonly<Record<string, number>>;
}

export interface FeatureStatus {
  readonly name: string;
  readonly on: boolean;
  readonly reason: string;
}

export interface PeerStatus {
  readonly prefix: string;
  readonly outer: string;
  /** This and the others are null where the kernel carries the packets, which does not count by peer. */
  readonly txPackets: number | null;
  readonly txBytes: number | null;
  readonly rxPackets: number | null;
  readonly rxBytes: number | null;
}
