// A network in real etcd with nodes of ours: each `flanneld`, in a host of its own.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Lab } from '../../src/lab/lab.ts';
import { Flanneld } from '../../test/lib/daemon.ts';
import { LabEtcd } from '../../test/lib/lab-etcd.ts';
import { RouteLog } from './route-log.ts';
import { Writer } from './writer.ts';

export interface ControlNode {
  readonly daemon: Flanneld;
  readonly pid: number;
  readonly routes: RouteLog;
  /** Of its VTEP. */
  readonly address: string;
}

export class ControlWorld {
  readonly lab: Lab;
  readonly etcd: LabEtcd;
  readonly writer: Writer;

  private constructor(lab: Lab, etcd: LabEtcd, writer: Writer) {
    this.lab = lab;
    this.etcd = etcd;
    this.writer = writer;
  }

  static async open(hosts: readonly string[], signal: AbortSignal): Promise<ControlWorld> {
    const lab = await Lab.open({ hosts, signal });
    let etcd: LabEtcd | undefined;
    try {
      etcd = await LabEtcd.start(lab);
      return new ControlWorld(lab, etcd, await Writer.open(etcd));
    } catch (error) {
      await etcd?.close();
      await lab.close();
      throw error;
    }
  }

  /** Starts a node; resolves when it forwards. */
  async node(name: string, nodeFlags: readonly string[] = []): Promise<ControlNode> {
    const host = this.lab.host(name);
    const endpoints = `--etcd-endpoints=${this.etcd.endpoints.join(',')}`;
    const daemon = new Flanneld(
      host,
      join(this.lab.directory, name),
      [endpoints, `--iface=${host.device}`],
      [],
      [...shebangFlags(), ...nodeFlags],
    );
    const { pid } = await daemon.ready();
    const address = await daemon.address();
    return { daemon, pid, address, routes: await RouteLog.open(host) };
  }

  async close(): Promise<void> {
    await this.writer.close();
    await this.etcd.close();
    await this.lab.close();
  }
}

/** What the program's first line gives to node, as when it is run by its name: `#!/usr/bin/env -S node FLAG...`. */
function shebangFlags(): readonly string[] {
  const program = readFileSync(new URL('../../src/cli/flanneld.ts', import.meta.url), 'utf8');
  return program.split('\n', 1)[0]?.split(' ').slice(3) ?? [];
}
