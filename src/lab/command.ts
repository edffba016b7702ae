// Running other programs: to completion (`run`) or in the background (`Background`).

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { KerseyError } from '../errors.ts';
import { atExit } from './exit.ts';
import { killSync } from './kill.ts';

export interface RunOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Resolve also when the program fails; the caller looks at `exitCode`. */
  readonly anyExit?: boolean;
}

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  /** null when a signal ended the program. */
  readonly exitCode: number | null;
}

const packages: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  bridge: 'iproute2',
  iperf3: 'iperf3',
  ping: 'iputils-ping',
  ethtool: 'ethtool',
  tshark: 'tshark',
  sockperf: 'sockperf',
  nft: 'nftables',
  tc: 'iproute2',
};

/** The error for a program that is not installed. */
export function toolMissing(tool: string, cause?: unknown): KerseyError {
  const remedy = `install it (Debian: apt-get install ${packages[tool] ?? tool})`;
  return new KerseyError('TOOL_MISSING', `the program '${tool}' is not installed`, { remedy, cause });
}

/** Runs a program to its end. Rejects with what it wrote to stderr when it fails. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const background = Background.start(argv, { keep: Infinity });
  const stop = (): void => {
    background.kill('SIGKILL');
  };
  const timer = setTimeout(stop, options.timeoutMs ?? 30_000);
  options.signal?.addEventListener('abort', stop, { once: true });
  if (options.signal?.aborted === true) stop();
  try {
    background.close(options.input);
    const exitCode = await background.exited;
    options.signal?.throwIfAborted();
    const result = { stdout: background.stdout, stderr: background.stderr, exitCode };
    if (exitCode === 0 || options.anyExit === true) return result;
    throw background.failure();
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', stop);
  }
}

/** A program that keeps running. It leads a process group of its own, so a Ctrl-C at the terminal reaches us alone. */
export class Background {
  readonly argv: readonly string[];
  /** Resolves (never rejects, but for a missing program) with the exit code; null when a signal ended it. */
  readonly exited: Promise<number | null>;
  stdout = '';
  stderr = '';
  readonly #child: ChildProcess;
  readonly #forget: () => void;

  private constructor(argv: readonly string[], keep: number) {
    const [file = '', ...rest] = argv;
    this.argv = argv;
    this.#child = spawn(file, rest, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.#forget = atExit(() => {
      if (this.running && this.#child.pid !== undefined) killSync([-this.#child.pid]);
    });
    // A program may end without reading its input.
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = (this.stdout + text).slice(-keep);
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-keep);
    });
    this.exited = this.#end(file);
    // Whoever awaits `exited` sees the error; nobody has to.
    this.exited.catch(() => undefined);
  }

  /** `keep`: how many characters of each output stream are remembered. */
  static start(argv: readonly string[], options: { keep?: number } = {}): Background {
    return new Background(argv, options.keep ?? 65_536);
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  async #end(file: string): Promise<number | null> {
    try {
      await once(this.#child, 'close');
      return this.#child.exitCode;
    } catch (cause) {
      const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
      if (missing) throw toolMissing(file, cause);
      throw new KerseyError('COMMAND_FAILED', `cannot run '${file}'`, { remedy: 'see the cause', cause });
    } finally {
      this.#forget();
    }
  }

  /** Gives the program input; more may follow. */
  write(input: string): void {
    this.#child.stdin?.write(input);
  }

  /** Gives the program its last input, or none. */
  close(input = ''): void {
    this.#child.stdin?.end(input);
  }

  /** Signals the whole process group. */
  kill(signal: NodeJS.Signals): void {
    if (!this.running || this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, signal);
    } catch {
      // It ended in this very moment.
    }
  }

  /** SIGTERM, then SIGKILL when it has not ended in time. */
  async stop(graceMs = 3000): Promise<void> {
    this.kill('SIGTERM');
    const timer = setTimeout(() => {
      this.kill('SIGKILL');
    }, graceMs);
    await this.exited.catch(() => null);
    clearTimeout(timer);
  }

  /** `ended with code 1`. */
  get end(): string {
    if (this.running) return 'is still running';
    if (this.#child.signalCode !== null) return `was ended by ${this.#child.signalCode}`;
    return `ended with code ${String(this.#child.exitCode)}`;
  }

  /** The error that tells how the program ended and its last words. */
  failure(name = `'${this.argv.join(' ')}'`): KerseyError {
    const said = lastLines(this.stderr === '' ? this.stdout : this.stderr, 3);
    return new KerseyError('COMMAND_FAILED', `${name} ${this.end}${said === '' ? '' : `: ${said}`}`);
  }
}

/** The last non-empty lines, joined into one. */
export function lastLines(text: string, count: number): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-count).join(' | ');
}
