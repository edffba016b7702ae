// A node's Status, from the parts that know.

import type { DevicePlan, PlannedPeer } from '../backend/plan.ts';
import type { PeerStats } from '../engine/engine.ts';
import type { KerseyError } from '../errors.ts';
import { formatCidr } from '../net/cidr.ts';
import type { OverlayStatus, PeerStatus, Status } from '../observe/status.ts';
import type { Lease } from '../store/lease.ts';
import type { Comparison } from './comparison.ts';
import type { Parts } from './parts.ts';
import type { Reconciler } from './reconcile.ts';

export type StoreState =
  | { readonly kind: 'readable'; readonly since: Date; readonly warnings: readonly string[] }
  | { readonly kind: 'unreadable'; readonly since: Date; readonly error: KerseyError };

/** What a probe or a service manager wants to know. */
export interface NodeBrief {
  readonly own: Lease;
  readonly peers: number;
  /** Whether packets are forwarded and the subnet file is written. */
  readonly ready: boolean;
  readonly problems: readonly KerseyError[];
}

export function nodeStatus(
  { options, underlay: { current: underlay }, reconciler, firewall, notices, config }: Parts,
  { own, leases, store, facts, plan, choice }: Comparison,
  since: Date,
): Status {
  const overlays = (plan?.devices ?? []).map((device) =>
    overlayStatus(device, plan?.peers ?? [], reconciler),
  );
  const broken = notices.problems.length > 0 || overlays.some(({ state }) => state !== 'running');
  const { term } = options.store.health();
  return {
    version: options.version,
    pid: process.pid,
    since: since.toISOString(),
    state: broken ? 'degraded' : 'ok',
    problems: notices.problems.map((problem) => problem.toJSON()),
    warnings: notices.warnings,
    backend: config.backend.type,
    dataplane: choice,
    store: {
      description: options.store.description,
      state: store.kind,
      since: store.since.toISOString(),
      leases: leases.length,
    },
    lease: {
      subnet: own.subnet ? formatCidr(own.subnet) : null,
      subnet6: own.subnet6 ? formatCidr(own.subnet6) : null,
      publicIP: own.attrs.publicIP,
      publicIPv6: own.attrs.publicIPv6,
      expires: term?.expires.toISOString() ?? null,
      renewal: term?.renewal.toISOString() ?? null,
    },
    underlay: {
      iface: underlay.link.name,
      mtu: facts.ifaceMtu,
      address: underlay.ipv4?.address ?? null,
      address6: underlay.ipv6?.address ?? null,
      why: underlay.why,
    },
    overlays,
    routes: (plan?.routes ?? []).map(({ dst, via, device }) => ({ dst, via, device })),
    firewall: firewall.state,
    repairs: { ...reconciler.repairs, firewall: firewall.repairs },
  };
}

function overlayStatus(
  plan: DevicePlan,
  peers: readonly PlannedPeer[],
  reconciler: Reconciler,
): OverlayStatus {
  const state = reconciler.state(plan.name);
  const stats = reconciler.driver(plan.name)?.stats();
  return {
    family: plan.family,
    device: plan.name,
    kind: plan.kind,
    state: state.kind,
    reason:
      state.kind === 'failed' ? state.reason : state.kind === 'closed' ? 'the device is not open' : null,
    ...wireOf(plan),
    address: plan.addresses.join(' '),
    mtu: plan.mtu,
    features: (stats?.features ?? []).map(({ name, on, reason }) => ({ name, on, reason })),
    peers: stats === undefined ? uncounted(plan, peers) : stats.peers.map(counted),
    counters: numbers(stats?.counters),
    drops: numbers(stats?.drops),
  };
}

function wireOf(plan: DevicePlan): Pick<OverlayStatus, 'vni' | 'port' | 'vtepMac'> {
  switch (plan.kind) {
    case 'engine': {
      const { engine } = plan;
      return engine.wire === 'udp'
        ? { vni: null, port: engine.port, vtepMac: null }
        : { vni: engine.vni, port: engine.port, vtepMac: engine.vtepMac };
    }
    case 'vxlan':
      return { vni: plan.vni, port: plan.port, vtepMac: plan.mac };
    case 'ipip':
      return { vni: null, port: null, vtepMac: null };
    case 'wireguard':
      return { vni: null, port: plan.listenPort, vtepMac: null };
  }
}

function counted(peer: PeerStats): PeerStatus {
  return {
    prefix: peer.prefix,
    outer: peer.outer,
    txPackets: Number(peer.txPackets),
    txBytes: Number(peer.txBytes),
    rxPackets: Number(peer.rxPackets),
    rxBytes: Number(peer.rxBytes),
  };
}

/** The device's peers are those that its routes lead to, or that it has keys of. */
function uncounted(plan: DevicePlan, peers: readonly PlannedPeer[]): readonly PeerStatus[] {
  const led = new Set(
    plan.kind === 'wireguard'
      ? plan.peers.flatMap(({ allowedIps }) => allowedIps)
      : plan.routes.map(({ dst }) => dst),
  );
  return peers
    .filter(({ prefix }) => led.has(prefix))
    .map(({ prefix, outer }) => ({
      ...{ prefix, outer },
      ...{ txPackets: null, txBytes: null, rxPackets: null, rxBytes: null },
    }));
}

function numbers(counts: Readonly<Record<string, bigint>> = {}): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([name, value]) => [name, Number(value)]));
}
