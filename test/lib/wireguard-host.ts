// A host of a lab with a WireGuard device, and `wg` to look at it. Control sockets of wireguard-go are files of a fixed
// name, so the host has a /run/wireguard of its own, as far as its driver and `wg` are concerned.

import type { WireguardDevicePlan } from '../../src/backend/plan.ts';
import type { Background, RunResult } from '../../src/lab/command.ts';
import { run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { testProgram } from './program.ts';
import type { Report } from './wireguard-main.ts';

const ownRun = 'mkdir -p /run/wireguard && mount -t tmpfs tmpfs /run/wireguard && exec "$0" "$@"';

export class WireguardHost {
  readonly host: Host;
  readonly #child: Background;
  #read = 0;

  private constructor(host: Host, child: Background) {
    this.host = host;
    this.#child = child;
  }

  /** @param environment of the driver: `PATH=/nowhere` */
  static open(host: Host, ...environment: readonly string[]): WireguardHost {
    const program = [
      ...(environment.length === 0 ? [] : ['env', ...environment]),
      ...testProgram('wireguard-main'),
    ];
    return new WireguardHost(host, host.spawn(['sh', '-c', ownRun, ...program], { keep: Infinity }));
  }

  /** One comparison. */
  apply(plan: WireguardDevicePlan): Promise<Report> {
    return this.#ask({ plan });
  }

  close(): Promise<Report> {
    return this.#ask({ close: true });
  }

  /** Ends the driver without a word, as the kernel's memory killer would. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#child.exited;
  }

  /** Runs a program where the driver runs. */
  exec(argv: readonly string[], anyExit = false): Promise<RunResult> {
    const target = ['--target', String(this.#child.pid), '--net', '--mount'];
    return run(['nsenter', ...target, ...argv], { anyExit });
  }

  /** What `wg show <device> <what>` prints: lines of fields. */
  async show(device: string, what: string): Promise<readonly (readonly string[])[]> {
    const { stdout } = await this.exec(['wg', 'show', device, what]);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'));
  }

  async #ask(request: object): Promise<Report> {
    this.#child.write(`${JSON.stringify(request)}\n`);
    const line = await awaitCondition(
      `the driver on ${this.host.name}`,
      () => {
        const end = this.#child.stdout.indexOf('\n', this.#read);
        if (end >= 0) return this.#child.stdout.slice(this.#read, end);
        if (!this.#child.running) throw this.#child.failure();
        return undefined;
      },
      { timeoutMs: 30_000, intervalMs: 10 },
    );
    this.#read += line.length + 1;
    return JSON.parse(line) as Report;
  }
}
