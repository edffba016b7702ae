// A node's Status, from the parts that know.

import type { EngineStats } from '../engine/engine.ts';
import type { KerseyError } from '../errors.ts';
import type { FirewallKeeper } from '../firewall/keeper.ts';
import { formatCidr } from '../net/cidr.ts';
import type { OverlayStatus, Status } from '../observe/status.ts';
import type { Lease } from '../store/lease.ts';
import type { LeaseTerm } from '../store/subnet-manager.ts';
import type { Desired, DesiredOverlay, HostFacts } from './desired.ts';
import type { Underlay } from './iface.ts';
import type { EngineFace, Reconciler } from './reconcile.ts';

export type StoreState =
  | { readonly kind: 'readable'; readonly since: Date; readonly warnings: readonly string[] }
  | { readonly kind: 'unreadable'; readonly since: Date; readonly error: KerseyError };

export interface NodeSnapshot {
  readonly version: string;
  readonly since: Date;
  readonly storeDescription: string;
  readonly store: StoreState;
  readonly leases: readonly Lease[];
  readonly own: Lease;
  readonly term: LeaseTerm | undefined;
  readonly underlay: Underlay;
  readonly facts: HostFacts;
  readonly desired: Desired;
  readonly reconciler: Pick<Reconciler, 'engine' | 'repairs'>;
  readonly firewall: Pick<FirewallKeeper, 'state' | 'repairs'>;
  readonly problems: readonly KerseyError[];
  readonly warnings: readonly string[];
}

/** What a probe or a service manager wants to know. */
export interface NodeBrief {
  readonly own: Lease;
  readonly peers: number;
  /** Whether packets are forwarded and the subnet file is written. */
  readonly ready: boolean;
  readonly problems: readonly KerseyError[];
}

/** What the kernel would do, done in this process. */
const why = 'VXLAN in userspace, which needs no vxlan module';

export function nodeStatus(node: NodeSnapshot): Status {
  const { own, underlay, store } = node;
  const overlays = node.desired.overlays.map((overlay) =>
    overlayStatus(overlay, node.reconciler.engine(overlay.family)),
  );
  const broken = node.problems.length > 0 || overlays.some(({ state }) => state !== 'running');
  return {
    version: node.version,
    pid: process.pid,
    since: node.since.toISOString(),
    state: broken ? 'degraded' : 'ok',
    problems: node.problems.map((problem) => problem.toJSON()),
    warnings: node.warnings,
    dataplane: { mode: 'engine', why },
    store: {
      description: node.storeDescription,
      state: store.kind,
      since: store.since.toISOString(),
      leases: node.leases.length,
    },
    lease: {
      subnet: own.subnet ? formatCidr(own.subnet) : null,
      subnet6: own.subnet6 ? formatCidr(own.subnet6) : null,
      publicIP: own.attrs.publicIP,
      publicIPv6: own.attrs.publicIPv6,
      expires: node.term?.expires.toISOString() ?? null,
      renewal: node.term?.renewal.toISOString() ?? null,
    },
    underlay: {
      iface: underlay.link.name,
      mtu: node.facts.ifaceMtu,
      address: underlay.ipv4?.address ?? null,
      address6: underlay.ipv6?.address ?? null,
      why: underlay.why,
    },
    overlays,
    firewall: node.firewall.state,
    repairs: { ...node.reconciler.repairs, firewall: node.firewall.repairs },
  };
}

function overlayStatus(desired: DesiredOverlay, engine: EngineFace | undefined): OverlayStatus {
  const state = engine?.state() ?? { kind: 'closed' as const };
  const { device, port, mtu } = desired.engine;
  if (desired.engine.wire === 'udp') throw new Error('the udp wire is not offered yet');
  const { vni, vtepMac } = desired.engine;
  return {
    family: desired.family,
    device,
    state: state.kind,
    reason:
      state.kind === 'failed' ? state.reason : state.kind === 'closed' ? 'the engine is not open' : null,
    vni,
    port,
    vtepMac,
    address: desired.address,
    mtu,
    ...traffic(engine === undefined || state.kind === 'closed' ? undefined : engine.stats()),
  };
}

function traffic(
  stats: EngineStats | undefined,
): Pick<OverlayStatus, 'features' | 'peers' | 'counters' | 'drops'> {
  return {
    features: (stats?.features ?? []).map(({ name, on, reason }) => ({ name, on, reason })),
    peers: (stats?.peers ?? []).map((peer) => ({
      prefix: peer.prefix,
      outer: peer.outer,
      txPackets: Number(peer.txPackets),
      txBytes: Number(peer.txBytes),
      rxPackets: Number(peer.rxPackets),
      rxBytes: Number(peer.rxBytes),
    })),
    counters: numbers(stats?.counters),
    drops: numbers(stats?.drops),
  };
}

function numbers(counts: Readonly<Record<string, bigint>> = {}): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([name, value]) => [name, Number(value)]));
}
