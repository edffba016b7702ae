// wireguard-go: WireGuard in userspace, for kernels without it. One process for each device, a child of ours.
//
// It is started in the foreground, so that its process is ours to end, and in a process group of its own, so that a Ctrl-C
// at the terminal reaches us alone. Where setpriv can do it, it also ends when we are killed. Its device is a TUN that
// goes with it, so whoever looks for the device learns of its death.
//
// Starting waits for device and control socket, some 20 ms, in which nothing else happens here. Its output goes to an
// unnamed file, because it has to be read at once when it fails; of what it says later the file keeps little.
//
// Not handled: two devices of one name in two network namespaces that share /var/run. The place of the control socket
// is fixed by wireguard-go and by wg; the second one is refused and says so.

import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, fstatSync, ftruncateSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';

import { KerseyError } from '../../errors.ts';
import { openUnnamedFile } from './unnamed-file.ts';

const socketDirectory = '/var/run/wireguard';
/** In milliseconds. */
const patience = 5000;
const grace = 1000;
const step = 5;
const mostOutput = 65_536;

export class WireguardGo {
  readonly #name: string;
  readonly #child: ChildProcess;
  /** undefined once it was ended. */
  #output: number | undefined;
  #said = '';

  private constructor(name: string, child: ChildProcess, output: number) {
    this.#name = name;
    this.#child = child;
    this.#output = output;
  }

  /**
   * Starts it and waits until its device can be configured.
   * @param appeared whether the device is there
   * @throws KerseyError TOOL_MISSING, COMMAND_FAILED or TIMEOUT
   */
  static start(name: string, appeared: () => boolean, environment: NodeJS.ProcessEnv): WireguardGo {
    const output = openUnnamedFile();
    const argv = [...dyingWithUs(environment), 'wireguard-go', '-f', name];
    const [file = '', ...rest] = argv;
    const child = spawn(file, rest, {
      stdio: ['ignore', output, output],
      detached: true,
      env: { ...environment, LOG_LEVEL: 'error' },
    });
    // Known by its missing pid.
    child.on('error', () => undefined);
    child.unref();
    const process = new WireguardGo(name, child, output);
    try {
      process.#await(appeared);
      return process;
    } catch (error) {
      process.end();
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child.pid !== undefined && isRunning(this.#child.pid);
  }

  /** In one line; empty when it said nothing. */
  get lastWords(): string {
    if (this.#output === undefined) return this.#said;
    const said = Buffer.alloc(mostOutput);
    const length = readSync(this.#output, said, 0, mostOutput, 0);
    const lines = said
      .subarray(0, length)
      .toString('utf8')
      .split('\n')
      // It opens with a box of advice to use the kernel.
      .filter((line) => line.trim() !== '' && !/^[┌│└]/.test(line));
    return lines
      .slice(-2)
      .map((line) => line.replace(/^ERROR: \([^)]*\) \S+ \S+ /, ''))
      .join(' | ');
  }

  /** Keeps what it has said from filling the disk. */
  trim(): void {
    if (this.#output === undefined) return;
    if (fstatSync(this.#output).size > mostOutput) ftruncateSync(this.#output, 0);
  }

  /** Ends it and waits until it is gone, with its device and its control socket. */
  end(): void {
    if (this.#output === undefined) return;
    const { pid } = this.#child;
    if (pid !== undefined && isRunning(pid)) {
      // It removes its socket when it is asked to end; of one that does not answer the file stays, and is replaced.
      signalGroup(pid, 'SIGTERM');
      if (!waitUntil(() => !isRunning(pid), grace)) {
        signalGroup(pid, 'SIGKILL');
        waitUntil(() => !isRunning(pid), patience);
      }
    }
    this.#said = this.lastWords;
    closeSync(this.#output);
    this.#output = undefined;
  }

  #await(appeared: () => boolean): void {
    const { pid } = this.#child;
    if (pid === undefined) throw wireguardGoMissing();
    const socket = path.join(socketDirectory, `${this.#name}.sock`);
    const ready = waitUntil(() => !isRunning(pid) || (existsSync(socket) && appeared()), patience);
    if (!isRunning(pid)) {
      const said = this.lastWords;
      const why = said === '' ? 'it ended at once' : said;
      throw new KerseyError('COMMAND_FAILED', `wireguard-go cannot make the device ${this.#name}: ${why}`, {
        remedy: remedyFor(said, socket),
      });
    }
    if (!ready) {
      const message = `wireguard-go has not made the device ${this.#name} within ${patience / 1000} s`;
      throw new KerseyError('TIMEOUT', message, { remedy: `see what 'wireguard-go -f ${this.#name}' says` });
    }
  }
}

export function wireguardGoMissing(): KerseyError {
  return new KerseyError('TOOL_MISSING', "the program 'wireguard-go' is not installed", {
    remedy: 'install it (Debian: apt-get install wireguard-go)',
  });
}

/** Whether something answers for the device at the place where `wg` looks for userspace devices. */
export function hasControlSocket(name: string): boolean {
  return existsSync(path.join(socketDirectory, `${name}.sock`));
}

/** Waits without letting anything else run. @returns whether it came true */
export function waitUntil(condition: () => boolean, milliseconds: number): boolean {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const deadline = performance.now() + milliseconds;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    Atomics.wait(cell, 0, 0, step);
  }
  return true;
}

/** What has ended is a zombie until Node, which is busy with us, asks for its status. */
function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    return state !== 'Z' && state !== 'X';
  } catch {
    return false;
  }
}

/** The program before the program: has it killed when we are. */
function dyingWithUs(env: NodeJS.ProcessEnv): readonly string[] {
  const argv = ['--pdeathsig', 'KILL'];
  // BusyBox has a setpriv that cannot.
  const { status } = spawnSync('setpriv', [...argv, 'true'], { stdio: 'ignore', env, timeout: patience });
  return status === 0 ? ['setpriv', ...argv] : [];
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // It ended in this very moment.
  }
}

function remedyFor(said: string, socket: string): string {
  if (said.includes('in use')) return `see who holds ${socket}: another daemon that shares /var/run with us?`;
  if (said.includes('/dev/net/tun')) return 'make /dev/net/tun available to this host';
  return 'see what it says; it needs /dev/net/tun and CAP_NET_ADMIN';
}
