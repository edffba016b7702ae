// An engine on a host of a lab, without a daemon: for tables and address families that the daemon does not make.

import type { EngineConfig, PeerTable } from '../../src/engine/engine.ts';
import type { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import type { FeatureStatus, PeerStatus } from '../../src/observe/status.ts';
import { testProgram } from './program.ts';

export interface EngineCounts {
  readonly state: string;
  readonly counters: Readonly<Record<string, number>>;
  readonly drops: Readonly<Record<string, number>>;
  readonly features: readonly FeatureStatus[];
  readonly peerCount: number;
  /** Those that had traffic. */
  readonly peers: readonly PeerStatus[];
}

export class EngineProcess {
  readonly host: Host;
  readonly device: string;
  readonly #child: Background;
  #read = 0;

  private constructor(host: Host, device: string, child: Background) {
    this.host = host;
    this.device = device;
    this.#child = child;
  }

  /** Opens it and sets its device up, with the MTU of the engine and a queue as the daemon gives it. */
  static async open(host: Host, config: EngineConfig): Promise<EngineProcess> {
    const child = host.spawn(testProgram('engine-main'), { keep: Infinity });
    const engine = new EngineProcess(host, config.device, child);
    await engine.#ask(config);
    await host.ip(
      `link set ${config.device} mtu ${config.mtu} txqueuelen 2048 gso_max_size 60000`,
      `link set ${config.device} up`,
    );
    return engine;
  }

  async setPeers(peers: PeerTable): Promise<void> {
    await this.#ask({ peers });
  }

  async counts(): Promise<EngineCounts> {
    return (await this.#ask({ stats: true })) as EngineCounts;
  }

  /** What it dropped but for multicast, which no overlay of leases has. */
  async drops(): Promise<Readonly<Record<string, number>>> {
    const { drops } = await this.counts();
    return Object.fromEntries(
      Object.entries(drops).filter(([reason, count]) => count > 0 && reason !== 'tx_multicast'),
    );
  }

  async close(): Promise<void> {
    this.#child.close();
    await this.#child.exited;
  }

  async #ask(request: object): Promise<unknown> {
    this.#child.write(`${JSON.stringify(request)}\n`);
    const line = await awaitCondition(
      `the engine on ${this.host.name}`,
      () => {
        const end = this.#child.stdout.indexOf('\n', this.#read);
        if (end >= 0) return this.#child.stdout.slice(this.#read, end);
        if (!this.#child.running) throw this.#child.failure();
        return undefined;
      },
      { timeoutMs: 30_000, intervalMs: 10 },
    );
    this.#read += line.length + 1;
    return JSON.parse(line) as unknown;
  }
}
