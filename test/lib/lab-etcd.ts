// Real etcd inside a lab: its members run in the namespace of the underlay's bridge, so that the hosts reach them and
// nobody else does. Their data goes with the lab.
//
// Words: a black hole forwards nothing and says nothing, as a broken link does; the hosts still reach each other.

import { rmSync } from 'node:fs';
import path from 'node:path';

import { Background, run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Lab } from '../../src/lab/lab.ts';

const address = '192.168.78.254';
const clientUrl = (i: number): string => `http://${address}:${2379 + 10 * i}`;
const peerUrl = (i: number): string => `http://127.0.0.1:${2380 + 10 * i}`;

export class LabEtcd {
  readonly endpoints: readonly string[];
  readonly #members: Background[] = [];
  readonly #lab: Lab;

  private constructor(lab: Lab, count: number) {
    this.#lab = lab;
    this.endpoints = Array.from({ length: count }, (_, i) => clientUrl(i));
  }

  static async start(lab: Lab, count = 1): Promise<LabEtcd> {
    await run(['ip', '-n', lab.switchNetns, 'link', 'set', 'lo', 'up']);
    await run(['ip', '-n', lab.switchNetns, 'address', 'add', `${address}/24`, 'dev', 'br0']);
    const etcd = new LabEtcd(lab, count);
    await Promise.all(etcd.endpoints.map((_, i) => etcd.startMember(i)));
    return etcd;
  }

  get members(): readonly Background[] {
    return this.#members;
  }

  /** The command prefix that runs a program where etcd is. */
  get enter(): readonly string[] {
    return ['ip', 'netns', 'exec', this.#lab.switchNetns];
  }

  /**
   * Starts a member, on the data that it had. Resolves when it serves.
   * @param state `existing`: it joins a cluster that runs, with what `replace` has told the others
   */
  async startMember(i: number, state: 'new' | 'existing' = 'new'): Promise<void> {
    const member = Background.start([
      ...[...this.enter, 'setpriv', '--pdeathsig', 'KILL'],
      ...['env', '-i', `PATH=${process.env['PATH'] ?? ''}`, 'ETCD_UNSUPPORTED_ARCH=arm64', 'etcd'],
      ...['--name', `m${i}`, '--data-dir', this.#directory(i), '--logger=zap', '--log-outputs=stderr'],
      ...['--listen-client-urls', clientUrl(i), '--advertise-client-urls', clientUrl(i)],
      ...['--listen-peer-urls', peerUrl(i), '--initial-advertise-peer-urls', peerUrl(i)],
      ...['--initial-cluster', this.endpoints.map((_, n) => `m${n}=${peerUrl(n)}`).join(',')],
      ...['--initial-cluster-state', state, '--heartbeat-interval=50', '--election-timeout=500'],
    ]);
    this.#members[i] = member;
    await awaitCondition(
      'etcd that serves',
      () => {
        if (!member.running) throw member.failure();
        return /ready to serve client requests|serving client traffic/.test(member.stderr);
      },
      { timeoutMs: 30_000 },
    );
  }

  /** Kills a member; its data stays. */
  async kill(i: number): Promise<void> {
    const member = this.#members[i];
    member?.kill('SIGKILL');
    await member?.exited;
  }

  /** Removes the data of a member that was killed. */
  wipe(i: number): void {
    rmSync(this.#directory(i), { recursive: true, force: true });
  }

  /** As an operator replaces a member whose disk is gone: the same name and address, nothing else of the old one. */
  async replace(i: number): Promise<void> {
    await this.kill(i);
    this.wipe(i);
    const list = await this.ctl('member', 'list');
    const [id = ''] =
      list
        .split('\n')
        .find((line) => line.includes(peerUrl(i)))
        ?.split(',') ?? [];
    await this.ctl('member', 'remove', id);
    // Not before it has found out that the others have what it takes.
    await awaitCondition('a cluster that takes a member', () =>
      this.ctl('member', 'add', `m${i}`, `--peer-urls=${peerUrl(i)}`).catch(() => false as const),
    );
    await this.startMember(i, 'existing');
  }

  /** What a host asks of etcd, or is answered, is lost without a word. */
  async blackHole(): Promise<void> {
    await this.#nft(
      `table inet hole {
         chain in { type filter hook input priority 0; iifname "br0" tcp dport 2379-2399 drop; }
         chain out { type filter hook output priority 0; oifname "br0" tcp sport 2379-2399 drop; }
       }`,
    );
  }

  async heal(): Promise<void> {
    await this.#nft('delete table inet hole');
  }

  /** `etcdctl ...`, at the first member. */
  async ctl(...args: readonly string[]): Promise<string> {
    return (await run([...this.#ctl(), ...args])).stdout;
  }

  /** `etcdctl watch ...`, which runs until it is stopped. */
  watch(...args: readonly string[]): Background {
    return Background.start([...this.#ctl(), 'watch', ...args]);
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map((_, i) => this.kill(i)));
  }

  #directory(i: number): string {
    return path.join(this.#lab.directory, `etcd-${i}`);
  }

  async #nft(script: string): Promise<void> {
    await run([...this.enter, 'nft', '-f', '-'], { input: script });
  }

  #ctl(): readonly string[] {
    return [...this.enter, 'env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${this.endpoints[0] ?? ''}`];
  }
}
