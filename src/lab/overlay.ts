// A lab whose hosts are joined by an overlay network: some on Kersey's engine, some on kernel vxlan as flannel sets
// it up, all of them reading one store file.
//
// The leases of all other hosts are written into the store file by hand before any daemon starts; the daemons claim theirs.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KerseyError } from '../errors.ts';
import { awaitCondition } from './condition.ts';
import { EngineHost } from './engine-host.ts';
import type { Host } from './host.ts';
import { baseOf, KernelVxlan, type VtepLease } from './kernel-vxlan.ts';
import { Lab, type LabOptions } from './lab.ts';
import type { EngineTotals } from './losses.ts';
import { setOffloads, type OffloadProfile } from './offloads.ts';
import { leaseEntry, leasesOf, readStoreFile } from './store-file.ts';

/** 'none': a host with a lease and without a VTEP, for frames made by hand. */
export type Dataplane = 'engine' | 'kernel' | 'none';

export interface OverlayHost {
  readonly name: string;
  readonly dataplane: Dataplane;
  /** More arguments of `kersey up`. */
  readonly arguments?: readonly string[];
  readonly offloads?: OffloadProfile;
}

export interface OverlayOptions extends Omit<LabOptions, 'hosts'> {
  readonly hosts: readonly OverlayHost[];
  /** IPv6 inside and outside as well. */
  readonly dualStack?: boolean;
  readonly vni?: number;
  readonly port?: number;
  /** TCP's congestion control on all hosts, the machine's unless told. Every kernel lets a namespace have reno. */
  readonly congestion?: string;
}

/** One host of the overlay, once it has its leases. */
export interface Member {
  readonly host: Host;
  readonly dataplane: Dataplane;
  readonly lease4: VtepLease;
  readonly lease6: VtepLease | undefined;
  /** Its addresses inside the overlay: its subnets' bases, which the VTEP itself has. */
  readonly address4: string;
  readonly address6: string | undefined;
  /** Its daemon; undefined on kernel vxlan. */
  readonly engine: EngineHost | undefined;
}

const network4 = '10.5.0.0/16';
const network6 = 'fd05::/48';

export class Overlay {
  readonly lab: Lab;
  readonly storeFile: string;
  readonly vni: number;
  members: readonly Member[] = [];
  readonly #options: OverlayOptions;
  readonly #following = new AbortController();

  private constructor(lab: Lab, options: OverlayOptions) {
    this.lab = lab;
    this.#options = options;
    this.vni = options.vni ?? 1;
    mkdirSync(join(lab.directory, 'store'));
    this.storeFile = join(lab.directory, 'store', 'network.json');
  }

  /** Resolves when every host has routes to all the others. */
  static async open(options: OverlayOptions): Promise<Overlay> {
    const { hosts, ...rest } = options;
    const lab = await Lab.open({ ...rest, hosts: hosts.map((host) => host.name) });
    const overlay = new Overlay(lab, options);
    try {
      await overlay.#join();
      return overlay;
    } catch (error) {
      await overlay.close();
      throw error;
    }
  }

  member(name: string): Member {
    const member = this.members.find((candidate) => candidate.host.name === name);
    if (member !== undefined) return member;
    throw new RangeError(`no member '${name}'`);
  }

  /** How and why a daemon ended; undefined when all of them run. */
  failure(): KerseyError | undefined {
    const ended = this.members.find(({ engine }) => engine?.daemon.running === false);
    return ended?.engine?.failure();
  }

  /** What all engines together dropped, by reason. */
  async drops(): Promise<Readonly<Record<string, number>>> {
    return (await this.totals()).drops;
  }

  /** What all engines together counted. */
  async totals(): Promise<EngineTotals> {
    const engines = this.members.flatMap(({ engine }) => engine ?? []);
    const statuses = await Promise.all(engines.map((engine) => engine.status()));
    const overlays = statuses.flatMap((status) => status.overlays);
    const counters = sumOf(overlays.map((overlay) => overlay.counters));
    return {
      txPackets: counters['tx_packets'] ?? 0,
      rxPackets: counters['rx_packets'] ?? 0,
      drops: sumOf(overlays.map((overlay) => overlay.drops)),
    };
  }

  async close(): Promise<void> {
    this.#following.abort();
    await this.lab.close();
  }

  async #join(): Promise<void> {
    await Promise.all(
      this.#options.hosts.map((spec) => setOffloads(this.lab.host(spec.name), spec.offloads ?? 'as is')),
    );
    await this.#setCongestion();
    this.#writeStore();
    const engines = this.#startEngines();
    await Promise.all(this.#options.hosts.map((spec, index) => this.#startKernel(spec, index)));
    await Promise.all([...engines.values()].map((engine) => engine.ready()));
    this.members = this.#options.hosts.map((spec) => this.#memberOf(spec, engines.get(spec.name)));
    await Promise.all(this.members.map((member) => this.#awaitRoutes(member)));
  }

  #writeStore(): void {
    const { hosts, dualStack = false, port } = this.#options;
    const backend = { Type: 'vxlan', VNI: this.vni, ...(port === undefined ? {} : { Port: port }) };
    const config = {
      Network: network4,
      ...(dualStack ? { EnableIPv6: true, IPv6Network: network6 } : {}),
      Backend: backend,
    };
    const leases = hosts.flatMap((spec, index) =>
      spec.dataplane === 'engine'
        ? []
        : [leaseEntry(this.vni, this.#writtenLease(4, index), this.#lease6(index))],
    );
    writeFileSync(this.storeFile, JSON.stringify({ config, leases: Object.fromEntries(leases) }, null, 2));
  }

  #startEngines(): ReadonlyMap<string, EngineHost> {
    const engines = new Map<string, EngineHost>();
    for (const spec of this.#options.hosts) {
      if (spec.dataplane !== 'engine') continue;
      const engine = EngineHost.start(this.lab.host(spec.name), {
        storeFile: this.storeFile,
        directory: join(this.lab.directory, spec.name),
        arguments: spec.arguments ?? [],
        ...(this.#options.signal === undefined ? {} : { signal: this.#options.signal }),
      });
      engines.set(spec.name, engine);
    }
    return engines;
  }

  async #setCongestion(): Promise<void> {
    const { congestion } = this.#options;
    if (congestion === undefined) return;
    await Promise.all(
      this.lab.hosts.map((host) => host.sysctl('net.ipv4.tcp_congestion_control', congestion)),
    );
  }

  async #startKernel(spec: OverlayHost, index: number): Promise<void> {
    if (spec.dataplane !== 'kernel') return;
    const host = this.lab.host(spec.name);
    for (const family of this.#options.dualStack === true ? ([4, 6] as const) : ([4] as const)) {
      const vxlan = await KernelVxlan.open(host, {
        family,
        vni: this.vni,
        port: this.#options.port ?? 8472,
        underlayMtu: this.#options.mtu ?? 1500,
        own: this.#writtenLease(family, index),
      });
      // It ends with the overlay; a failing `ip` shows as a route that never comes.
      vxlan.follow(this.storeFile, this.#following.signal).catch(() => undefined);
    }
  }

  /** The lease written by hand for the host with this index; far from where the allocator begins. */
  #writtenLease(family: 4 | 6, index: number): VtepLease {
    const { address4, address6 } = this.lab.hosts[index] ?? { address4: '', address6: '' };
    const mac = `02:6b:79:00:0${String(family)}:${(index + 1).toString(16).padStart(2, '0')}`;
    return family === 4
      ? { subnet: `10.5.${String(200 + index)}.0/24`, publicIp: address4, mac }
      : { subnet: `fd05:0:0:${(0x2000 + index).toString(16)}::/64`, publicIp: address6, mac };
  }

  #lease6(index: number): VtepLease | undefined {
    return this.#options.dualStack === true ? this.#writtenLease(6, index) : undefined;
  }

  #memberOf(spec: OverlayHost, engine: EngineHost | undefined): Member {
    const host = this.lab.host(spec.name);
    const store = readStoreFile(this.storeFile);
    const find = (family: 4 | 6, address: string): VtepLease | undefined =>
      leasesOf(store, family).find((lease) => lease.publicIp === address);
    const lease4 = find(4, host.address4);
    if (lease4 === undefined) throw new RangeError(`${spec.name} has no lease in ${this.storeFile}`);
    const lease6 = find(6, host.address6);
    return {
      ...{ host, dataplane: spec.dataplane, lease4, lease6, engine },
      address4: baseOf(lease4.subnet),
      address6: lease6 === undefined ? undefined : baseOf(lease6.subnet),
    };
  }

  async #awaitRoutes(member: Member): Promise<void> {
    if (member.dataplane === 'none') return;
    const others = this.members.filter((other) => other !== member);
    const wanted = others.flatMap(({ lease4, lease6 }) => [
      lease4.subnet,
      ...(lease6 ? [lease6.subnet] : []),
    ]);
    const { signal } = this.#options;
    const state = `the routes of ${member.host.name} to the other hosts`;
    await awaitCondition(
      state,
      async () => {
        if (member.engine?.daemon.running === false) throw member.engine.failure();
        const routes = [
          ...(await member.host.ipJson<{ dst: string }[]>('-4', 'route', 'show')),
          ...(await member.host.ipJson<{ dst: string }[]>('-6', 'route', 'show')),
        ].map((route) => route.dst);
        return wanted.every((subnet) => routes.includes(subnet));
      },
      { timeoutMs: 20_000, ...(signal === undefined ? {} : { signal }) },
    );
  }
}

function sumOf(counts: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
  const sum: Record<string, number> = {};
  for (const [name, count] of counts.flatMap((one) => Object.entries(one)))
    sum[name] = (sum[name] ?? 0) + count;
  return sum;
}
