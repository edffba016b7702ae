// A host with one node of `kersey up`, seven peers that are leases only, and things that are nobody's but the test's.

import { writeFileSync } from 'node:fs';
import path from 'node:path';

import type { Host } from '../../src/lab/host.ts';
import { probeKernelVxlan } from '../../src/lab/kernel-vxlan.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { Status } from '../../src/observe/status.ts';
import { macOf } from './breakage-kinds.ts';
import type { BreakageSuite } from './breakage-kinds.ts';
import { portrait } from './breakage.ts';
import type { BreakageTarget } from './breakage.ts';
import { Daemon } from './daemon.ts';

const peers = [2, 3, 4, 5, 6, 7, 8];
const dataplanes = { engine: 'engine', iptables: 'engine', kernel: 'kernel', 'host-gw': 'auto' } as const;

export class BreakageWorld implements BreakageTarget {
  readonly suite: BreakageSuite;
  readonly peers = peers;
  readonly host: Host;
  readonly daemon: Daemon;
  readonly #lab: Lab;
  readonly #foreign: readonly string[];

  private constructor(lab: Lab, suite: BreakageSuite, daemon: Daemon, foreign: readonly string[]) {
    this.#lab = lab;
    this.suite = suite;
    this.host = daemon.host;
    this.daemon = daemon;
    this.#foreign = foreign;
  }

  /** Resolves when the node has its peers; to why there can be none, in words, where the kernel lacks what it takes. */
  static async open(suite: BreakageSuite, signal?: AbortSignal): Promise<BreakageWorld | string> {
    const lab = await Lab.open({ hosts: ['h1'], ...(signal && { signal }) });
    try {
      const host = lab.host('h1');
      const lacks = suite === 'kernel' ? await probeKernelVxlan(host) : undefined;
      if (lacks !== undefined) {
        await lab.close();
        return `no kernel vxlan: ${lacks}`;
      }
      await addForeign(host);
      const foreign = (await portrait(host)).split('\n').filter((line) => isForeign.test(line));
      const store = path.join(lab.directory, 'network.json');
      const config = {
        Network: '10.5.0.0/16',
        Backend: suite === 'host-gw' ? { Type: 'host-gw' } : { Type: 'vxlan' },
      };
      writeFileSync(store, JSON.stringify({ config, leases: leases(suite) }));
      const daemon = new Daemon(host, store, path.join(lab.directory, 'd'), [
        ...['--iface', 'eth0', '--ip-masq', '--firewall', suite === 'iptables' ? 'iptables' : 'nft'],
        ...['--dataplane', dataplanes[suite]],
      ]);
      await daemon.until(
        'knows its peers',
        ({ overlays, routes }) =>
          [...overlays.flatMap((overlay) => overlay.peers), ...routes].length === peers.length,
      );
      return new BreakageWorld(lab, suite, daemon, foreign);
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  /** Of the foreign things, what is no more as it was. Empty only if there were some. */
  async foreignLost(): Promise<readonly string[]> {
    const left = (await portrait(this.host)).split('\n');
    if (this.#foreign.length === 0) return ['nothing foreign was there'];
    return this.#foreign.filter((line) => !left.includes(line));
  }

  /** Resolves when it has nothing to complain of. */
  async well(): Promise<Status> {
    return this.daemon.until('is well', ({ state }) => state === 'ok');
  }

  async close(): Promise<void> {
    await this.#lab.close();
  }
}

/** What the store holds: our own lease is the host's, 192.168.78.1. */
function leases(suite: BreakageSuite): object {
  const value = (n: number): object => ({
    PublicIP: `192.168.78.${n}`,
    PublicIPv6: null,
    ...(suite === 'host-gw'
      ? { BackendType: 'host-gw' }
      : { BackendType: 'vxlan', BackendData: { VNI: 1, VtepMAC: macOf(n) } }),
  });
  return Object.fromEntries([1, ...peers].map((n) => [`10.5.${n}.0-24`, value(n)]));
}

const isForeign = /foreign|198\.51|10\.250|203\.0|0e:aa/;

async function addForeign(host: Host): Promise<void> {
  await host.ip(
    'link add foreign0 type bridge',
    'address add 203.0.113.1/24 dev foreign0',
    'link set foreign0 up',
    'route add 198.51.100.0/24 via 203.0.113.9',
    'route add 10.250.0.0/16 via 203.0.113.10 proto static',
    'neigh replace 203.0.113.77 lladdr 0e:aa:aa:aa:aa:aa dev foreign0 nud permanent',
  );
  await host.exec([
    'nft',
    'add table inet foreign { chain c { type filter hook input priority 5; ip saddr 203.0.113.66 drop; }; }',
  ]);
  await host.exec(['iptables', '-A', 'INPUT', '-s', '203.0.113.67', '-j', 'DROP']);
  await host.exec(['iptables', '-A', 'FORWARD', '-s', '203.0.113.68', '-j', 'DROP']);
  await host.exec(['iptables', '-t', 'nat', '-A', 'POSTROUTING', '-s', '203.0.113.69', '-j', 'RETURN']);
  // All built-in chains, which a restore makes as well.
  await host.exec(['sh', '-c', 'iptables-save | iptables-restore']);
}
