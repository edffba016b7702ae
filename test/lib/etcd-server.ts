// Real etcd for tests: one member or several, on ports of 127.0.0.1 that were free a moment ago, with its data in a
// directory of its own. An etcd that the machine runs itself is neither used nor disturbed: no default port, no
// environment, no default data directory.
//
// Every member dies with the test process, also when that is killed. Whoever starts a cluster closes it.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Background, run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import { makeCertificates } from './certificates.ts';
import type { Certificates } from './certificates.ts';
import { freeze } from './freeze.ts';

export interface EtcdOptions {
  /** How many members; 1 unless told. */
  readonly members?: number;
  /** Clients speak TLS and show a certificate of `certificates`. */
  readonly tls?: boolean;
  /** More arguments for every member: `--auth-token-ttl=1`. */
  readonly args?: readonly string[];
  /** The program; Debian's unless told. */
  readonly program?: string;
}

export class EtcdCluster {
  readonly members: readonly EtcdMember[];
  /** Present with `tls`. */
  readonly certificates: Certificates | undefined;
  readonly #directory: string;

  private constructor(directory: string, members: readonly EtcdMember[], certificates?: Certificates) {
    this.#directory = directory;
    this.members = members;
    this.certificates = certificates;
  }

  /** Resolves when every member serves. */
  static async start(options: EtcdOptions = {}): Promise<EtcdCluster> {
    const directory = mkdtempSync(path.join(tmpdir(), 'kersey-etcd-'));
    try {
      const certificates = options.tls === true ? await makeCertificates(directory) : undefined;
      for (let attempt = 1; ; attempt++) {
        const cluster = new EtcdCluster(
          directory,
          await layOut(directory, options, certificates),
          certificates,
        );
        try {
          await Promise.all(cluster.members.map((member) => member.start()));
          return cluster;
        } catch (error) {
          await Promise.all(cluster.members.map((member) => member.stop('SIGKILL')));
          // Somebody else took a port in between.
          if (attempt === 5 || !String(error).includes('address already in use')) throw error;
        }
      }
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  get endpoints(): readonly string[] {
    return this.members.map(({ endpoint }) => endpoint);
  }

  /** The first member, which is all there is of a single node. */
  get first(): EtcdMember {
    const [first] = this.members;
    if (first === undefined) throw new Error('a cluster has members');
    return first;
  }

  /** The member that leads now, among those that answer. */
  async leader(): Promise<EtcdMember> {
    return awaitCondition('a leader', async () => {
      for (const member of this.members) {
        const status = await member.status().catch(() => undefined);
        if (status?.isLeader === true) return member;
      }
      return false;
    });
  }

  /** `etcdctl` at the first member that runs. */
  async ctl(args: readonly string[], input?: string): Promise<string> {
    return (this.members.find(({ running }) => running) ?? this.first).ctl(args, input);
  }

  /** From now on only users get in; `ctl` is root. @param users name to password; each may do everything below / */
  async enableAuth(users: Readonly<Record<string, string>>): Promise<void> {
    const password = 'root-password';
    await this.ctl(['user', 'add', `root:${password}`]);
    await this.ctl(['user', 'grant-role', 'root', 'root']);
    await this.ctl(['role', 'add', 'below-slash']);
    await this.ctl(['role', 'grant-permission', 'below-slash', '--prefix=true', 'readwrite', '/']);
    for (const [user, secret] of Object.entries(users)) {
      await this.ctl(['user', 'add', `${user}:${secret}`]);
      await this.ctl(['user', 'grant-role', user, 'below-slash']);
    }
    await this.ctl(['auth', 'enable']);
    for (const member of this.members) member.root = `root:${password}`;
  }

  /** Ends every member and removes all data. */
  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop('SIGKILL')));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

interface MemberPlan {
  readonly name: string;
  readonly directory: string;
  readonly clientPort: number;
  readonly argv: readonly string[];
  readonly certificates: Certificates | undefined;
}

export class EtcdMember {
  readonly name: string;
  readonly port: number;
  readonly endpoint: string;
  /** `name:password` that ctl presents. */
  root: string | undefined;
  readonly #plan: MemberPlan;
  #process: Background | undefined;

  constructor(plan: MemberPlan) {
    this.#plan = plan;
    this.name = plan.name;
    this.port = plan.clientPort;
    this.endpoint = `${plan.certificates === undefined ? 'http' : 'https'}://127.0.0.1:${plan.clientPort}`;
  }

  get running(): boolean {
    return this.#process?.running === true;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts it, on the data it had. Resolves when it serves. */
  async start(): Promise<void> {
    const member = Background.start(this.#plan.argv);
    this.#process = member;
    await awaitCondition(
      `etcd ${this.name} that serves: ${member.stderr}`,
      () => {
        if (!member.running) throw member.failure();
        return /ready to serve client requests|serving client traffic/.test(member.stderr);
      },
      { timeoutMs: 30_000 },
    );
  }

  /** Ends it; its data stays. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.continue();
    this.#process?.kill(signal);
    // The leader of a cluster hands over first, and waits for members that are gone.
    const timer = setTimeout(() => this.#process?.kill('SIGKILL'), 5000);
    await this.#process?.exited;
    clearTimeout(timer);
  }

  async restart(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.stop(signal);
    await this.start();
  }

  /** Removes its data. It must have been stopped. */
  wipe(): void {
    if (this.running) throw new Error(`etcd ${this.name} still runs`);
    rmSync(this.#plan.directory, { recursive: true, force: true });
  }

  /** It keeps its connections and answers nothing. */
  async pause(): Promise<void> {
    if (this.pid !== undefined) await freeze(this.pid);
  }

  continue(): void {
    this.#process?.kill('SIGCONT');
  }

  /** What `etcdctl` prints, with the v3 API, at this member. */
  async ctl(args: readonly string[], input?: string): Promise<string> {
    const { certificates } = this.#plan;
    const tls = certificates && [
      ...['--cacert', certificates.ca],
      ...['--cert', certificates.client.cert, '--key', certificates.client.key],
    ];
    const command = ['etcdctl', `--endpoints=${this.endpoint}`, ...(tls ?? [])];
    const user = this.root === undefined ? [] : ['--user', this.root];
    const { stdout } = await run([...cleanEnvironment('ETCDCTL_API=3'), ...command, ...user, ...args], {
      ...(input !== undefined && { input }),
    });
    return stdout;
  }

  async status(): Promise<{ readonly revision: number; readonly isLeader: boolean }> {
    const text = await this.ctl([
      'endpoint',
      'status',
      '-w',
      'json',
      '--command-timeout=1s',
      '--dial-timeout=1s',
    ]);
    const [entry] = JSON.parse(text) as {
      Status: { header: { revision: number; member_id: number }; leader: number };
    }[];
    if (entry === undefined) throw new Error(`etcdctl says nothing of ${this.endpoint}`);
    const { header, leader } = entry.Status;
    // Member ids are beyond 2^53: both are rounded alike.
    return { revision: header.revision, isLeader: header.member_id === leader };
  }
}

async function layOut(
  directory: string,
  { members = 1, args = [], program = 'etcd' }: EtcdOptions,
  certificates: Certificates | undefined,
): Promise<EtcdMember[]> {
  const ports = await freePorts(members * 2);
  const names = Array.from({ length: members }, (_, i) => `m${i + 1}`);
  const peer = (i: number): string => `http://127.0.0.1:${ports[members + i] ?? 0}`;
  const initial = names.map((name, i) => `${name}=${peer(i)}`).join(',');
  return names.map((name, i) => {
    const data = path.join(directory, name);
    const clientPort = ports[i] ?? 0;
    const client = `${certificates === undefined ? 'http' : 'https'}://127.0.0.1:${clientPort}`;
    const argv = [
      // Ends with us whatever happens to us.
      ...['setpriv', '--pdeathsig', 'KILL', ...cleanEnvironment('ETCD_UNSUPPORTED_ARCH=arm64'), program],
      ...['--name', name, '--data-dir', data, '--logger=zap', '--log-outputs=stderr', '--log-level=info'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer(i), '--initial-advertise-peer-urls', peer(i)],
      ...['--initial-cluster', initial, '--initial-cluster-token', path.basename(directory)],
      // A new leader within a second.
      ...['--heartbeat-interval=50', '--election-timeout=500'],
      ...(certificates === undefined
        ? []
        : [
            ...['--cert-file', certificates.server.cert, '--key-file', certificates.server.key],
            ...['--client-cert-auth', '--trusted-ca-file', certificates.ca],
          ]),
      ...args,
    ];
    return new EtcdMember({ name, directory: data, clientPort, argv, certificates });
  });
}

/** The command prefix that hides variables such as ETCD_DATA_DIR or ETCDCTL_ENDPOINTS of whoever runs the tests. */
function cleanEnvironment(...variables: readonly string[]): readonly string[] {
  return ['env', '-i', `PATH=${process.env['PATH'] ?? ''}`, ...variables];
}

/** Ports that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = servers.map(
    (server) =>
      new Promise<number>((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, '127.0.0.1', () => {
          resolve((server.address() as AddressInfo).port);
        });
      }),
  );
  const found = await Promise.all(ports);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return found;
}
