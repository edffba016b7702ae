// One host of a lab: a network namespace with an interface `eth0` on the underlay.

import { Background, run, type RunOptions, type RunResult } from './command.ts';

export const underlayDevice = 'eth0';

export class Host {
  readonly name: string;
  /** The namespace's name, as `ip netns` shows it. */
  readonly netns: string;
  readonly device = underlayDevice;
  /** Underlay addresses. */
  readonly address4: string;
  readonly address6: string;
  readonly #children = new Set<Background>();
  readonly #signal: AbortSignal | undefined;

  /** `signal` ends whatever runs to its end here. */
  constructor(name: string, netns: string, number: number, signal?: AbortSignal) {
    this.#signal = signal;
    this.name = name;
    this.netns = netns;
    this.address4 = `192.168.78.${String(number)}`;
    this.address6 = `fd78::${number.toString(16)}`;
  }

  /** Runs a program on this host to its end. */
  exec(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return run([...this.#enter(), ...argv], { ...this.#abortable(), ...options });
  }

  /** Starts a program on this host. It is ended with the host, if not before. */
  spawn(argv: readonly string[], options: { keep?: number } = {}): Background {
    const child = Background.start([...this.#enter(), ...argv], options);
    this.#children.add(child);
    const forget = (): void => {
      this.#children.delete(child);
    };
    child.exited.then(forget, forget);
    return child;
  }

  /** Runs `ip` commands, each without the leading word `ip`, in one go. The first that fails ends them. */
  async ip(...lines: readonly string[]): Promise<void> {
    await run(['ip', '-n', this.netns, '-batch', '-'], { input: lines.join('\n'), ...this.#abortable() });
  }

  /** Runs `bridge` commands, as `ip` does. */
  async bridge(...lines: readonly string[]): Promise<void> {
    await run(['bridge', '-n', this.netns, '-batch', '-'], { input: lines.join('\n'), ...this.#abortable() });
  }

  /** `ip -j ...`, parsed. The caller states the type, as documented by iproute2. */
  async ipJson<T>(...args: readonly string[]): Promise<T> {
    const { stdout } = await run(['ip', '-n', this.netns, '-j', ...args], this.#abortable());
    return (stdout.trim() === '' ? [] : JSON.parse(stdout)) as T;
  }

  async sysctl(key: string, value: string | number): Promise<void> {
    await this.exec(['sysctl', '-q', '-w', `${key}=${String(value)}`]);
  }

  /** Ends every program started here. */
  async stopPrograms(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.stop()));
  }

  #abortable(): { signal?: AbortSignal } {
    return this.#signal === undefined ? {} : { signal: this.#signal };
  }

  #enter(): readonly string[] {
    return ['ip', 'netns', 'exec', this.netns];
  }
}
