// A ping every 10 ms for as long as it takes, and the longest time in which none was answered.

import type { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';

const intervalMs = 10;

export class SteadyPing {
  readonly #ping: Background;
  readonly #what: string;

  private constructor(ping: Background, what: string) {
    this.#ping = ping;
    this.#what = what;
  }

  /** Resolves when the first answer is there. */
  static async start(from: Host, address: string): Promise<SteadyPing> {
    const argv = ['ping', '-n', '-i', String(intervalMs / 1000), address];
    const steady = new SteadyPing(from.spawn(argv, { keep: Infinity }), `${from.name} -> ${address}`);
    await steady.next();
    return steady;
  }

  /** Resolves when a ping that was sent after now is answered: those under way are within the next hundred. */
  async next(): Promise<void> {
    const before = this.#answered().at(-1) ?? 0;
    await awaitCondition(
      `${this.#what}: answers`,
      () => {
        if (!this.#ping.running) throw this.#ping.failure();
        return (this.#answered().at(-1) ?? 0) > before + 100 / intervalMs;
      },
      { timeoutMs: 20_000 },
    );
  }

  /** In milliseconds, so far. */
  longestGap(): number {
    const answered = this.#answered();
    const steps = answered.map((seq, i) => seq - (answered[i - 1] ?? seq - 1) - 1);
    return Math.max(0, ...steps) * intervalMs;
  }

  async stop(): Promise<void> {
    await this.#ping.stop();
  }

  /** The numbers of those that were answered; ping begins anew after 65535, which is eleven minutes. */
  #answered(): readonly number[] {
    const numbers = [...this.#ping.stdout.matchAll(/ bytes from .*icmp_seq=(\d+) /g)].map(([, n]) =>
      Number(n),
    );
    return numbers.sort((a, b) => a - b);
  }
}
