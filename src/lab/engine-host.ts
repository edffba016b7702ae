// A host on Kersey's engine: `kersey up` of this same package, started inside the host.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodes, KerseyError } from '../errors.ts';
import type { Background } from './command.ts';
import { awaitCondition } from './condition.ts';
import type { Host } from './host.ts';
import { nodeCommand } from './self.ts';

export interface EngineHostOptions {
  readonly storeFile: string;
  /** Where the daemon keeps its run-time files. */
  readonly directory: string;
  /** More arguments of `kersey up`. */
  readonly arguments?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface PeerCounts {
  readonly txPackets: number;
  readonly txBytes: number;
  readonly rxPackets: number;
  readonly rxBytes: number;
}

/** The parts of `kersey status -o json` that a lab looks at. */
export interface EngineStatus {
  readonly state: string;
  readonly overlays: readonly {
    readonly family: 4 | 6;
    readonly features: readonly { readonly name: string; readonly on: boolean; readonly reason: string }[];
    readonly counters: Readonly<Record<string, number>>;
    readonly drops: Readonly<Record<string, number>>;
    readonly peers: readonly ({ readonly prefix: string } & PeerCounts)[];
  }[];
}

export class EngineHost {
  readonly host: Host;
  readonly subnetFile: string;
  readonly #options: EngineHostOptions;
  #daemon: Background;

  private constructor(host: Host, options: EngineHostOptions) {
    this.host = host;
    this.#options = options;
    mkdirSync(options.directory, { recursive: true });
    this.subnetFile = join(options.directory, 'subnet.env');
    this.#daemon = this.#start();
  }

  /** Starts the daemon; `ready` tells when it has its lease. */
  static start(host: Host, options: EngineHostOptions): EngineHost {
    return new EngineHost(host, options);
  }

  get daemon(): Background {
    return this.#daemon;
  }

  #start(): Background {
    const { storeFile, directory, arguments: more = [] } = this.#options;
    const files = ['--subnet-file', this.subnetFile, '--run-dir', directory];
    const argv = [
      ...['up', '--dataplane', 'engine', '--store', `file:${storeFile}`, '--iface', this.host.device],
      ...[...files, ...more],
    ];
    return this.host.spawn([...nodeCommand('cli/main'), ...argv]);
  }

  /** Resolves when the daemon has written its subnet file; rejects with its last words when it ended instead. */
  async ready(timeoutMs = 20_000): Promise<ReadonlyMap<string, string>> {
    const { signal } = this.#options;
    return awaitCondition(`kersey up on ${this.host.name}`, () => this.#subnetEnvironment(), {
      timeoutMs,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  #subnetEnvironment(): ReadonlyMap<string, string> | undefined {
    if (!this.#daemon.running) throw this.failure();
    let text: string;
    try {
      text = readFileSync(this.subnetFile, 'utf8');
    } catch {
      return undefined;
    }
    return new Map(
      text
        .split('\n')
        .filter((line) => line.includes('='))
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** `kersey status -o json` on this host. */
  async status(): Promise<EngineStatus> {
    const { stdout } = await this.host.exec([
      ...nodeCommand('cli/main'),
      ...['status', '--run-dir', this.#options.directory, '-o', 'json'],
    ]);
    return JSON.parse(stdout) as EngineStatus;
  }

  /** Starts the daemon again after it ended. */
  restart(): void {
    this.#daemon = this.#start();
  }

  async stop(): Promise<void> {
    await this.#daemon.stop(10_000);
  }

  /** Why the daemon ended: its own error where it gave one, else its last words. */
  failure(): KerseyError {
    const name = `kersey up on ${this.host.name}`;
    const own = /^kersey: ([A-Z_]+): (.*?)(?:; (.*))?$/m.exec(this.#daemon.stderr);
    const code = errorCodes.find((known) => known.code === own?.[1])?.code;
    if (own === null || code === undefined) return this.#daemon.failure(name);
    return new KerseyError(code, `${name}: ${own[2] ?? ''}`, { remedy: own[3] ?? '' });
  }
}
