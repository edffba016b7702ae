// A host on KERNEL vxlan, set up as flannel's vxlan backend sets up its nodes.
//
// Device flannel.<VNI> (and flannel-v6.<VNI> on the IPv6 underlay): local address given, learning off, TTL and TOS 0,
// MTU 50 below the underlay's, address <subnet base>/32. Per peer a permanent neighbour (subnet base -> VtepMAC), a
// permanent forwarding entry (VtepMAC -> public IP) and the route `<subnet> via <subnet base> dev flannel.<VNI>
// onlink`. Nothing of Kersey's own is used here, so that it can serve as the other side of a test: even the leases
// are read from the store file by a reader of its own.

import { setTimeout as delay } from 'node:timers/promises';
import { run } from './command.ts';
import type { Host } from './host.ts';
import { leasesOf, readStoreFile } from './store-file.ts';

/** What one node of the network has in one address family. */
export interface VtepLease {
  /** `10.5.1.0/24` or `fd00:5:1::/64`. */
  readonly subnet: string;
  /** Underlay address. */
  readonly publicIp: string;
  readonly mac: string;
}

export interface KernelVxlanOptions {
  readonly family: 4 | 6;
  readonly vni?: number;
  readonly port?: number;
  readonly underlayMtu?: number;
  readonly own: VtepLease;
}

/** A kernel VTEP on a lab host; `setPeers` makes the kernel's tables equal to what it is given. */
export class KernelVxlan {
  readonly device: string;
  readonly #host: Host;
  readonly #family: 4 | 6;
  readonly #own: VtepLease;
  #peers: readonly VtepLease[] = [];

  private constructor(host: Host, options: KernelVxlanOptions, device: string) {
    this.#host = host;
    this.#family = options.family;
    this.#own = options.own;
    this.device = device;
  }

  static async open(host: Host, options: KernelVxlanOptions): Promise<KernelVxlan> {
    const { family, own, vni = 1, port = 8472, underlayMtu = 1500 } = options;
    const device = `${family === 4 ? 'flannel' : 'flannel-v6'}.${String(vni)}`;
    const address = `${baseOf(own.subnet)}/${family === 4 ? '32' : '128 nodad'}`;
    await host.ip(
      // flannel subtracts 50 in both families; the kernel lowers it to what an IPv6 underlay leaves room for.
      `link add ${device} mtu ${String(underlayMtu - 50)} address ${own.mac} type vxlan id ${String(vni)}` +
        ` dev ${host.device} local ${own.publicIp} dstport ${String(port)} nolearning ttl 0 tos 0`,
      `address add ${address} dev ${device}`,
      `link set ${device} up`,
    );
    return new KernelVxlan(host, options, device);
  }

  async setPeers(peers: readonly VtepLease[]): Promise<void> {
    const removed = difference(this.#peers, peers);
    const added = difference(peers, this.#peers);
    const dev = `dev ${this.device}`;
    if (removed.length > 0) {
      await this.#host.ip(
        ...removed.map((peer) => `route del ${peer.subnet} ${dev}`),
        ...removed.map((peer) => `neigh del ${baseOf(peer.subnet)} ${dev}`),
      );
      await this.#host.bridge(
        ...removed.map((peer) => `fdb del ${peer.mac} ${dev} dst ${peer.publicIp} self`),
      );
    }
    if (added.length > 0) {
      await this.#host.ip(
        ...added.map(
          (peer) => `neigh replace ${baseOf(peer.subnet)} lladdr ${peer.mac} ${dev} nud permanent`,
        ),
      );
      await this.#host.bridge(
        ...added.map((peer) => `fdb replace ${peer.mac} ${dev} dst ${peer.publicIp} self permanent`),
      );
      await this.#host.ip(
        ...added.map((peer) => `route replace ${peer.subnet} via ${baseOf(peer.subnet)} ${dev} onlink`),
      );
    }
    this.#peers = [...peers];
  }

  /** Keeps the peers equal to the other leases in a store file until the signal aborts. */
  async follow(storeFile: string, signal: AbortSignal): Promise<void> {
    let applied = '';
    for (;;) {
      const leases = leasesOf(readStoreFile(storeFile), this.#family);
      const peers = leases.filter((lease) => lease.subnet !== this.#own.subnet);
      const text = JSON.stringify(peers);
      if (text !== applied) await this.setPeers(peers);
      applied = text;
      try {
        await delay(50, undefined, { signal });
      } catch {
        return;
      }
    }
  }
}

function difference(these: readonly VtepLease[], others: readonly VtepLease[]): readonly VtepLease[] {
  const key = (lease: VtepLease): string => `${lease.subnet} ${lease.publicIp} ${lease.mac}`;
  const known = new Set(others.map(key));
  return these.filter((lease) => !known.has(key(lease)));
}

/** The address before the slash: of a subnet written with its host bits zero, the subnet base. */
export function baseOf(subnet: string): string {
  return subnet.slice(0, subnet.indexOf('/'));
}

/** Why this kernel cannot make vxlan devices, found by making one; undefined when it can. */
export async function probeKernelVxlan(host: Host): Promise<string | undefined> {
  const name = 'ky-probe';
  const add = `link add ${name} type vxlan id 1 dstport 8472 local ${host.address4} dev ${host.device}`;
  const { exitCode, stderr } = await run(['ip', '-n', host.netns, ...add.split(' ')], { anyExit: true });
  if (exitCode !== 0) return stderr.trim().replace(/^RTNETLINK answers: |^Error: /, '');
  await host.ip(`link del ${name}`);
  return undefined;
}
