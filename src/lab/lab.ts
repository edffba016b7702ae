// A lab: network namespaces that play hosts, joined by one underlay network.
//
//   join 'bridge'   every host's eth0 is a veth whose other end is a port of a bridge in a namespace of its own
//   join 'direct'   exactly two hosts, their eth0 are the two ends of one veth pair
//
// Underlay: 192.168.78.0/24 and fd78::/64; the first host is .1 and ::1. Nothing appears in the caller's own
// namespace: every interface is created inside the lab. A lab belongs to whoever opened it and is removed by close();
// exit.ts and sweep.ts take care of the cases where that never happens.
//
// What it does not imitate: queues, loss, delay, several underlay networks, separate file systems.

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KerseyError } from '../errors.ts';
import { run } from './command.ts';
import { atExit } from './exit.ts';
import { Host, underlayDevice } from './host.ts';
import { deleteNamespaceSync, sweepLeftovers } from './sweep.ts';

export interface LabOptions {
  /** Names of the hosts: short, lower case. */
  readonly hosts: readonly string[];
  readonly join?: 'bridge' | 'direct';
  /** MTU of the underlay; 1500 when not given. */
  readonly mtu?: number;
  /**
   * Ends the building of the lab and whatever runs in it. Who gives one also deals with SIGINT, SIGTERM and SIGHUP;
   * without one, those remove the lab and end the process.
   */
  readonly signal?: AbortSignal;
}

export class Lab {
  /** `ky-<pid>-<random>`: what every namespace of this lab begins with. */
  readonly id: string;
  readonly hosts: readonly Host[];
  /** A temporary directory that goes when the lab goes. */
  readonly directory: string;
  readonly #namespaces: readonly string[];
  readonly #forget: () => void;
  #closed = false;

  private constructor(options: LabOptions) {
    const random = Math.random().toString(36).slice(2, 8).padEnd(6, '0');
    this.id = `ky-${String(process.pid)}-${random}`;
    this.hosts = options.hosts.map(
      (name, index) => new Host(name, `${this.id}-${name}`, index + 1, options.signal),
    );
    this.#namespaces = this.hosts
      .map((host) => host.netns)
      .concat(options.join === 'direct' ? [] : [this.switchNetns]);
    this.directory = mkdtempSync(join(tmpdir(), `${this.id}-`));
    const remove = (): void => {
      this.#removeSync();
    };
    this.#forget = atExit(remove, { onSignals: options.signal === undefined });
  }

  /** The namespace of the bridge, where there is one; its ports are called as the hosts are. */
  get switchNetns(): string {
    return `${this.id}-switch`;
  }

  /** Builds the lab. What was built of one that fails half-way is removed again. */
  static async open(options: LabOptions): Promise<Lab> {
    if (process.geteuid?.() !== 0) {
      throw new KerseyError('PERMISSION', 'network namespaces may only be made by root', {
        remedy: 'run it as root',
      });
    }
    sweepLeftovers();
    const lab = new Lab(options);
    try {
      await lab.#build(options);
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  host(name: string): Host {
    const host = this.hosts.find((candidate) => candidate.name === name);
    if (host !== undefined) return host;
    throw new KerseyError('INTERNAL', `the lab has no host '${name}'`, { remedy: 'report this' });
  }

  /** Ends every program in the lab and removes all of it. Closing twice is allowed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await Promise.allSettled(this.hosts.map((host) => host.stopPrograms()));
    this.#removeSync();
  }

  #removeSync(): void {
    this.#closed = true;
    this.#namespaces.forEach(deleteNamespaceSync);
    rmSync(this.directory, { recursive: true, force: true });
    this.#forget();
  }

  async #build(options: LabOptions): Promise<void> {
    const mtu = String(options.mtu ?? 1500);
    const create = this.#namespaces.map((netns) => `netns add ${netns}`);
    if (options.join === 'direct') create.push(...this.#directVeth(mtu));
    else create.push(...this.#bridgeVeths(mtu));
    await run(['ip', '-batch', '-'], { input: create.join('\n'), ...pick(options.signal) });
    if (options.join !== 'direct') await this.#bridge();
    await Promise.all(this.hosts.map(configure));
    options.signal?.throwIfAborted();
  }

  #directVeth(mtu: string): readonly string[] {
    const [a, b] = this.hosts;
    if (a === undefined || b === undefined || this.hosts.length !== 2) {
      throw new KerseyError('INTERNAL', 'a direct lab has two hosts', { remedy: 'report this' });
    }
    return [
      `link add ${underlayDevice} netns ${a.netns} mtu ${mtu} type veth` +
        ` peer name ${underlayDevice} netns ${b.netns} mtu ${mtu}`,
    ];
  }

  #bridgeVeths(mtu: string): readonly string[] {
    return this.hosts.map(
      (host) =>
        `link add ${underlayDevice} netns ${host.netns} mtu ${mtu} type veth` +
        ` peer name ${host.name} netns ${this.switchNetns} mtu ${mtu}`,
    );
  }

  async #bridge(): Promise<void> {
    const ports = this.hosts.map((host) => `link set ${host.name} master br0 up`);
    const lines = ['link add br0 type bridge', 'link set br0 up', ...ports];
    await run(['ip', '-n', this.switchNetns, '-batch', '-'], { input: lines.join('\n') });
  }
}

async function configure(host: Host): Promise<void> {
  const lines = ['link set lo up', `address add ${host.address4}/24 dev ${underlayDevice}`];
  // A kernel without IPv6 (ipv6.disable=1) still makes labs for IPv4; a new namespace may have it switched off.
  if (existsSync('/proc/sys/net/ipv6')) {
    await host.sysctl('net.ipv6.conf.all.disable_ipv6', 0);
    lines.push(`address add ${host.address6}/64 dev ${underlayDevice} nodad`);
  }
  await host.ip(...lines, `link set ${underlayDevice} up`);
}

function pick(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
