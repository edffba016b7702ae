// Somebody who writes to etcd, and knows when.

import { fileURLToPath } from 'node:url';
import { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { sourceCommand } from '../../src/lab/self.ts';
import type { LabEtcd } from '../../test/lib/lab-etcd.ts';

export interface Order {
  readonly what: 'put' | 'delete';
  /** Numbers of leases.ts. */
  readonly from: number;
  readonly count: number;
}

/** Milliseconds since 1970, with fractions. */
export interface Written {
  readonly sent: number;
  readonly done: number;
}

export class Writer {
  readonly #child: Background;
  #answers = 0;

  private constructor(child: Background) {
    this.#child = child;
  }

  /** Writes the network's config, too. */
  static async open(etcd: LabEtcd): Promise<Writer> {
    const program = sourceCommand(fileURLToPath(new URL('writer-main.ts', import.meta.url)));
    const writer = new Writer(
      Background.start([...etcd.enter, ...program, ...etcd.endpoints], { keep: Infinity }),
    );
    await writer.#line(0);
    return writer;
  }

  async carryOut(order: Order): Promise<Written> {
    this.#child.write(`${JSON.stringify(order)}\n`);
    this.#answers++;
    return JSON.parse(await this.#line(this.#answers)) as Written;
  }

  async close(): Promise<void> {
    await this.#child.stop();
  }

  async #line(number: number): Promise<string> {
    return awaitCondition(
      'the writer',
      () => {
        const lines = this.#child.stdout.split('\n');
        // The last one is not whole yet.
        if (number < lines.length - 1) return lines[number] ?? '';
        if (!this.#child.running) throw this.#child.failure();
        return false;
      },
      { timeoutMs: 60_000, intervalMs: 2 },
    );
  }
}
