// Do the bytes that were sent arrive? Pseudo-random payloads between two hosts, compared end to end.

import type { Background } from './command.ts';
import { awaitCondition } from './condition.ts';
import type { Host } from './host.ts';
import { nodeCommand } from './self.ts';

/** From one byte to a stream that runs through every buffer on its way several times. */
export const payloadSizes = [1, 2, 63, 1397, 1398, 1399, 1449, 65_535, 1 << 20, 64 << 20] as const;

export interface PayloadReport {
  readonly bytes: number;
  readonly payloads: number;
  /** Payloads that arrived different, or did not arrive at all; in words. */
  readonly faults: readonly string[];
}

interface TcpLine {
  readonly size: number;
  readonly sha256: string;
}

export class PayloadReceiver {
  readonly #child: Background;
  readonly #address: string;
  readonly #ports: { readonly tcp: number; readonly udp: number };
  #seen = 0;

  private constructor(child: Background, address: string, ports: { tcp: number; udp: number }) {
    this.#child = child;
    this.#address = address;
    this.#ports = ports;
  }

  /** Listens on one of the host's addresses. */
  static async open(host: Host, address: string): Promise<PayloadReceiver> {
    const child = host.spawn([...nodeCommand('lab/payload-main'), 'receive', address], { keep: Infinity });
    const [ports] = await awaitCondition('the payload receiver', () => linesOf(child, 1), {
      timeoutMs: 20_000,
    });
    return new PayloadReceiver(child, address, ports as { tcp: number; udp: number });
  }

  /** Sends every size over one TCP connection and compares the digests of both ends. */
  async tcpFrom(
    sender: Host,
    sizes: readonly number[] = payloadSizes,
    timeoutMs = 60_000,
  ): Promise<PayloadReport> {
    const sent = (await this.#send(sender, 'tcp', sizes, timeoutMs)) as readonly TcpLine[];
    const got = await this.#received(sizes.length);
    const faults = sent.flatMap((line, index) =>
      line.size === got[index]?.size && line.sha256 === got[index].sha256
        ? []
        : [`TCP payload of ${String(line.size)} bytes arrived different`],
    );
    return { bytes: total(sizes), payloads: sizes.length, faults };
  }

  /** Sends every size over a TCP connection of its own, all at once, and compares the digests of both ends. */
  async streamsFrom(sender: Host, sizes: readonly number[], timeoutMs = 60_000): Promise<PayloadReport> {
    const sent = (await this.#send(sender, 'streams', sizes, timeoutMs)) as readonly TcpLine[];
    const got = new Set((await this.#received(sizes.length)).map(({ sha256 }) => sha256));
    const faults = sent
      .filter(({ sha256 }) => !got.has(sha256))
      .map(({ size }) => `TCP payload of ${String(size)} bytes arrived different`);
    return { bytes: total(sizes), payloads: sizes.length, faults };
  }

  /** Sends every size as one datagram, which the receiver returns; compares what comes back byte by byte. */
  async udpFrom(sender: Host, sizes: readonly number[], timeoutMs = 60_000): Promise<PayloadReport> {
    const lines = await this.#send(sender, 'udp', sizes, timeoutMs);
    const faults = (lines as readonly { size: number; state: string }[])
      .filter((line) => line.state !== 'same')
      .map((line) => `UDP datagram of ${String(line.size)} bytes: ${line.state}`);
    return { bytes: 2 * total(sizes), payloads: sizes.length, faults };
  }

  async close(): Promise<void> {
    await this.#child.stop();
  }

  /** The next payloads that came over TCP. */
  async #received(count: number): Promise<readonly TcpLine[]> {
    const want = this.#seen + count;
    const lines = await awaitCondition('the last payload', () => linesOf(this.#child, 1 + want));
    const got = lines.slice(1 + this.#seen, 1 + want) as readonly TcpLine[];
    this.#seen = want;
    return got;
  }

  async #send(
    sender: Host,
    kind: 'tcp' | 'streams' | 'udp',
    sizes: readonly number[],
    timeoutMs: number,
  ): Promise<unknown[]> {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const numbers = [this.#ports[kind === 'udp' ? 'udp' : 'tcp'], seed, ...sizes].map(String);
    const argv = [...nodeCommand('lab/payload-main'), kind, this.#address, ...numbers];
    const { stdout } = await sender.exec(argv, { timeoutMs });
    return parseLines(stdout);
  }
}

/** The child's first lines once there are that many; its failure when it ended before. */
function linesOf(child: Background, count: number): unknown[] | undefined {
  const lines = parseLines(child.stdout);
  if (lines.length >= count) return lines;
  if (!child.running) throw child.failure();
  return undefined;
}

function parseLines(text: string): unknown[] {
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  return complete
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
}

function total(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0);
}
