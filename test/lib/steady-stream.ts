// One TCP connection of iperf3 that carries a moderate stream until it is told to end. It ends by itself when it breaks.

import type { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';

export class SteadyStream {
  readonly #server: Background;
  readonly #client: Background;
  readonly #what: string;

  private constructor(server: Background, client: Background, what: string) {
    this.#server = server;
    this.#client = client;
    this.#what = what;
  }

  /** Resolves when bytes arrive. */
  static async start(from: Host, to: Host, address: string): Promise<SteadyStream> {
    const server = to.spawn(['iperf3', '-s', '-1', '-B', address, '-i', '0.2', '--forceflush'], {
      keep: Infinity,
    });
    await awaitCondition('iperf3 to listen', () => {
      if (!server.running) throw server.failure();
      return server.stdout.includes('Server listening');
    });
    const client = from.spawn(['iperf3', '-c', address, '-t', '3600', '-b', '50M']);
    const stream = new SteadyStream(server, client, `${from.name} -> ${address}`);
    await stream.next();
    return stream;
  }

  /** Resolves when bytes have arrived in a fifth of a second that began after now. */
  async next(): Promise<void> {
    const before = this.#intervals().length + 1;
    await awaitCondition(
      `${this.#what}: bytes over TCP`,
      () => {
        for (const end of [this.#client, this.#server]) if (!end.running) throw end.failure();
        return this.#intervals()
          .slice(before)
          .some((bytes) => bytes > 0);
      },
      { timeoutMs: 20_000 },
    );
  }

  async stop(): Promise<void> {
    await this.#client.stop();
    await this.#server.stop();
  }

  /** What the server received in each, in a unit of iperf3's choice. */
  #intervals(): readonly number[] {
    return [...this.#server.stdout.matchAll(/ sec +([\d.]+) [KMG]?Bytes/g)].map(([, bytes]) => Number(bytes));
  }
}
