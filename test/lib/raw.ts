// Sending packets made by hand from a host, through raw sockets: the whole IP header is ours.

import type { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { testProgram } from './program.ts';

export class RawSender {
  readonly #child: Background;

  private constructor(child: Background) {
    this.#child = child;
  }

  static async open(host: Host): Promise<RawSender> {
    const child = host.spawn(testProgram('raw-sender'));
    await awaitCondition('the raw sockets', () => {
      if (!child.running) throw child.failure();
      return child.stdout.startsWith('ready');
    });
    return new RawSender(child);
  }

  /** Sends them one after the other, some time soon. */
  send(packets: readonly Buffer[]): void {
    this.#child.write(packets.map((packet) => `${packet.toString('hex')}\n`).join(''));
  }
}
