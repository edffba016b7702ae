// A UDP socket on a host that collects what arrives.

import type { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { testProgram } from './program.ts';

export class Sink {
  readonly #child: Background;

  private constructor(child: Background) {
    this.#child = child;
  }

  static async open(host: Host, address: string, port: number): Promise<Sink> {
    const child = host.spawn([...testProgram('sink-main'), address, String(port)], { keep: Infinity });
    await awaitCondition('the sink', () => {
      if (!child.running) throw child.failure();
      return child.stdout.startsWith('ready\n');
    });
    return new Sink(child);
  }

  /** The payloads so far, as text. */
  get received(): readonly string[] {
    const lines = this.#child.stdout.split('\n').slice(1, -1);
    return lines.map((line) => Buffer.from(line, 'hex').toString('latin1'));
  }

  /** Waits for one payload; what came before it came before it, what did not come will not. */
  async awaitPayload(payload: string): Promise<void> {
    await awaitCondition(`the datagram '${payload}'`, () => this.received.includes(payload));
  }

  async close(): Promise<void> {
    await this.#child.stop();
  }
}
