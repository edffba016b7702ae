// Real etcd inside a lab: its members run in the namespace of the underlay's bridge, so that the hosts reach them and
// nobody else does. Their data goes with the lab.

import path from 'node:path';

import { Background, run } from '../../src/lab/command.ts';
import { awaitCondition } from '../../src/lab/condition.ts';
import type { Lab } from '../../src/lab/lab.ts';

const address = '192.168.78.254';

export class LabEtcd {
  readonly endpoints: readonly string[];
  readonly members: readonly Background[];
  readonly #lab: Lab;

  private constructor(lab: Lab, endpoints: readonly string[], members: readonly Background[]) {
    this.#lab = lab;
    this.endpoints = endpoints;
    this.members = members;
  }

  static async start(lab: Lab, count = 1): Promise<LabEtcd> {
    await run(['ip', '-n', lab.switchNetns, 'link', 'set', 'lo', 'up']);
    await run(['ip', '-n', lab.switchNetns, 'address', 'add', `${address}/24`, 'dev', 'br0']);
    const numbers = Array.from({ length: count }, (_, i) => i);
    const client = (i: number): string => `http://${address}:${2379 + 10 * i}`;
    const peer = (i: number): string => `http://127.0.0.1:${2380 + 10 * i}`;
    const cluster = numbers.map((i) => `m${i}=${peer(i)}`).join(',');
    const members = numbers.map((i) =>
      Background.start([
        ...['ip', 'netns', 'exec', lab.switchNetns, 'setpriv', '--pdeathsig', 'KILL'],
        ...['env', '-i', `PATH=${process.env['PATH'] ?? ''}`, 'ETCD_UNSUPPORTED_ARCH=arm64', 'etcd'],
        ...['--name', `m${i}`, '--data-dir', path.join(lab.directory, `etcd-${i}`)],
        ...['--logger=zap', '--log-outputs=stderr'],
        ...['--listen-client-urls', client(i), '--advertise-client-urls', client(i)],
        ...['--listen-peer-urls', peer(i), '--initial-advertise-peer-urls', peer(i)],
        ...['--initial-cluster', cluster, '--heartbeat-interval=50', '--election-timeout=500'],
      ]),
    );
    const etcd = new LabEtcd(lab, numbers.map(client), members);
    for (const member of members) {
      await awaitCondition(
        'etcd that serves',
        () => {
          if (!member.running) throw member.failure();
          return /ready to serve client requests|serving client traffic/.test(member.stderr);
        },
        { timeoutMs: 30_000 },
      );
    }
    return etcd;
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
    for (const member of this.members) member.kill('SIGKILL');
    await Promise.all(this.members.map((member) => member.exited));
  }

  #ctl(): readonly string[] {
    const enter = ['ip', 'netns', 'exec', this.#lab.switchNetns];
    return [...enter, 'env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${this.endpoints[0] ?? ''}`];
  }
}
