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
  readonly dataplane: { readonly mode: 'engine'; readonly why: string };
  readonly store: StoreStatus;
  readonly lease: LeaseStatus;
  readonly underlay: UnderlayStatus;
  readonly overlays: readonly OverlayStatus[];
  readonly firewall: FirewallStatus;
  /** Times that something was put right that had been in order before. */
  readonly repairs: Readonly<Record<string, number>>;
}

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
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
  readonly state: 'running' | 'failed' | 'closed';
  /** Why it does not run; null when it does. */
  readonly reason: string | null;
  readonly vni: number;
  readonly port: number;
  readonly vtepMac: string;
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
  readonly txPackets: number;
  readonly txBytes: number;
  readonly rxPackets: number;
  readonly rxBytes: number;
}
