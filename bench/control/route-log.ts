// When routes came to a host and when they went, as the kernel tells `ip monitor`, to the microsecond.

import type { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';

/** Comes and goes to find out whether somebody listens. */
const probe = '198.51.100.0/24';

export class RouteLog {
  readonly #child: Background;
  /** Destination to the time of the last change, in milliseconds since 1970. */
  readonly #came = new Map<string, number>();
  #read = 0;

  private constructor(child: Background) {
    this.#child = child;
  }

  static async open(host: Host): Promise<RouteLog> {
    const log = new RouteLog(host.spawn(['ip', '-ts', 'monitor', 'route'], { keep: Infinity }));
    await awaitCondition('ip monitor', async () => {
      await host.ip(`route replace blackhole ${probe}`, `route delete blackhole ${probe}`);
      return log.#child.stdout.includes(probe);
    });
    return log;
  }

  /** Resolves with when the last of these came, as soon as all are there. */
  async whenThere(subnets: readonly string[], signal: AbortSignal, timeoutMs = 60_000): Promise<number> {
    await this.#until(() => subnets.every((subnet) => this.#came.has(subnet)), signal, timeoutMs);
    return Math.max(...subnets.map((subnet) => this.#came.get(subnet) ?? NaN));
  }

  async whenGone(subnets: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#until(() => !subnets.some((subnet) => this.#came.has(subnet)), signal, 60_000);
  }

  async close(): Promise<void> {
    await this.#child.stop();
  }

  async #until(wanted: () => boolean, signal: AbortSignal, timeoutMs: number): Promise<void> {
    await awaitCondition(
      'the routes',
      () => {
        if (!this.#child.running) throw this.#child.failure();
        this.#take();
        return wanted();
      },
      { signal, timeoutMs, intervalMs: 5 },
    );
  }

  #take(): void {
    const end = this.#child.stdout.lastIndexOf('\n') + 1;
    const news = this.#child.stdout.slice(this.#read, end);
    this.#read = end;
    // [2026-11-23T08:50:01.123456] Deleted 10.100.7.0/24 via 10.100.7.0 dev flannel.1 onlink
    for (const [, time = '', micros = '', gone, subnet = ''] of news.matchAll(
      /^\[(\S+)\.(\d{6})\] (Deleted )?(\d\S*) via /gm,
    )) {
      if (gone === undefined) this.#came.set(subnet, Date.parse(time) + Number(micros) / 1000);
      else this.#came.delete(subnet);
    }
  }
}
