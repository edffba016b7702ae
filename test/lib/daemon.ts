// `kersey up` or `flanneld` on a host of a lab, and what a test wants to know of it.

import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';

import type { Background } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Host } from '../../src/lab/host.ts';
import { nodeCommand } from '../../src/lab/self.ts';
import { askDaemon } from '../../src/observe/control.ts';
import type { Status } from '../../src/observe/status.ts';

/** The command line of this checkout's `kersey`. */
export const kersey = nodeCommand('cli/main');

/** What a daemon writes, and where. */
interface Files {
  readonly runDir: string;
  readonly subnetFile: string;
  readonly stateDir: string;
}

class DaemonProcess {
  readonly host: Host;
  readonly process: Background;
  readonly runDir: string;
  readonly subnetFile: string;

  /** Starts it. `directory` holds its files; a later one with the same directory is the same node again. */
  constructor(host: Host, directory: string, command: (files: Files) => readonly string[]) {
    this.host = host;
    this.runDir = path.join(directory, 'run');
    this.subnetFile = path.join(directory, 'subnet.env');
    mkdirSync(directory, { recursive: true });
    const { runDir, subnetFile } = this;
    this.process = host.spawn(command({ runDir, subnetFile, stateDir: path.join(directory, 'state') }));
  }

  /** Resolves with its status when it forwards; rejects with its last words when it ends instead. */
  async ready(): Promise<Status> {
    return this.until('forwards', () => true);
  }

  /** Resolves when its status is as wanted. */
  async until(what: string, wanted: (status: Status) => boolean): Promise<Status> {
    return awaitCondition(
      `the daemon of ${this.host.name} that ${what}`,
      async () => {
        if (!this.process.running) throw this.process.failure();
        const status = await this.status();
        return status !== undefined && wanted(status) && status;
      },
      { timeoutMs: 60_000, intervalMs: 50 },
    );
  }

  async status(): Promise<Status | undefined> {
    const [socket] = this.sockets();
    return socket === undefined ? undefined : askDaemon(socket);
  }

  /** The control sockets that are there. */
  sockets(): readonly string[] {
    if (!existsSync(this.runDir)) return [];
    return readdirSync(this.runDir, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.sock'))
      .map((name) => path.join(this.runDir, name));
  }

  /** Its first subnet's base, which the VTEP itself has. */
  async address(): Promise<string> {
    const { lease } = await this.ready();
    return (lease.subnet ?? lease.subnet6 ?? '').split('/')[0] ?? '';
  }

  /** @returns the exit code */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.process.kill(signal);
    return this.process.exited;
  }
}

/**
 * Hosts of a lab share the file system, and wireguard-go has its control socket at one place: where that is, each has a
 * place of its own (`ip netns exec` gives a mount namespace).
 */
const ownWireguard = [
  ...['sh', '-c', 'test ! -d /run/wireguard || mount -t tmpfs tmpfs /run/wireguard; exec "$0" "$@"'],
] as const;

/** `kersey up`, on the engine unless `--dataplane` says otherwise. */
export class Daemon extends DaemonProcess {
  /** @param store `--store`, or the path of a store file */
  constructor(host: Host, store: string, directory: string, more: readonly string[] = []) {
    super(host, directory, ({ runDir, subnetFile, stateDir }) => [
      ...ownWireguard,
      ...['env', `WIREGUARD_KEY_FILE=${path.join(directory, 'wgkey')}`],
      ...[...kersey, 'up', '--store', store.startsWith('etcd:') ? store : `file:${store}`],
      ...['--subnet-file', subnetFile, '--run-dir', runDir, '--state-dir', stateDir],
      ...(more.includes('--dataplane') ? [] : ['--dataplane', 'engine']),
      ...more,
    ]);
  }
}

/** `flanneld`, on the engine unless KERSEY_DATAPLANE says otherwise, with these flags, `NAME=value` of its environment, and flags of node's. */
export class Flanneld extends DaemonProcess {
  constructor(
    host: Host,
    directory: string,
    flags: readonly string[],
    environment: readonly string[] = [],
    nodeFlags: readonly string[] = [],
  ) {
    const [node = '', ...program] = nodeCommand('cli/flanneld');
    super(host, directory, ({ runDir, subnetFile, stateDir }) => [
      ...['env', `KERSEY_RUN_DIR=${runDir}`, `KERSEY_STATE_DIR=${stateDir}`],
      ...['KERSEY_DATAPLANE=engine', ...environment],
      ...[node, ...nodeFlags, ...program, `--subnet-file=${subnetFile}`, ...flags],
    ]);
  }
}
