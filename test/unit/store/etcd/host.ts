// A host's store on the model of etcd, and what a test wants to know of it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { formatCidr } from '../../../../src/net/cidr.ts';
import { EtcdStore } from '../../../../src/store/etcd/store.ts';
import type { EtcdStoreOptions } from '../../../../src/store/etcd/store.ts';
import type { Lease } from '../../../../src/store/lease.ts';
import type { AcquireRequest, StoreEvent } from '../../../../src/store/subnet-manager.ts';
import { FakeClock, MemoryEtcd, settled } from '../../../lib/memory-etcd.ts';
import type { MemoryClient } from '../../../lib/memory-etcd.ts';

export const prefix = '/coreos.com/network';
export const configKey = `${prefix}/config`;
export const subnets = `${prefix}/subnets/`;
export const configText = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
export const hour = 3_600_000;

export interface World {
  readonly clock: FakeClock;
  readonly etcd: MemoryEtcd;
  readonly host: (number: number, options?: Partial<EtcdStoreOptions>) => MemoryHost;
}

export function world(t: Test, config = configText): World {
  const clock = new FakeClock();
  const etcd = new MemoryEtcd(clock);
  etcd.put(configKey, config);
  return {
    clock,
    etcd,
    host: (number, options) => new MemoryHost(t, etcd, clock, number, options),
  };
}

export function directory(t: Test): string {
  const made = mkdtempSync(path.join(tmpdir(), 'kersey-store-'));
  t.teardown(() => {
    rmSync(made, { recursive: true, force: true });
  });
  return made;
}

export class MemoryHost {
  readonly number: number;
  readonly client: MemoryClient;
  readonly store: EtcdStore;
  readonly events: StoreEvent[] = [];
  readonly #stop = new AbortController();
  #following: Promise<void> | undefined;

  constructor(
    t: Test,
    etcd: MemoryEtcd,
    clock: FakeClock,
    number: number,
    options: Partial<EtcdStoreOptions> = {},
  ) {
    this.number = number;
    this.client = etcd.client();
    this.store = new EtcdStore(this.client, {
      description: 'etcd:model',
      endpoints: ['http://model:2379'],
      clock,
      random: () => 0,
      ...options,
    });
    t.teardown(() => this.end());
  }

  get address(): string {
    return `192.168.64.${this.number}`;
  }

  want(more: Partial<AcquireRequest> = {}): AcquireRequest {
    return {
      publicIP: this.address,
      backendType: 'vxlan',
      backendData: (existing) =>
        existing ?? { VNI: 1, VtepMAC: `0e:00:00:00:00:${String(this.number).padStart(2, '0')}` },
      ...more,
    };
  }

  async acquire(more: Partial<AcquireRequest> = {}): Promise<string> {
    return subnetText(await this.store.acquire(this.want(more)));
  }

  /** Collects what watch() tells. */
  async follow(): Promise<void> {
    this.#following = (async () => {
      for await (const event of this.store.watch(this.#stop.signal)) this.events.push(event);
    })();
    await settled();
  }

  get last(): StoreEvent | undefined {
    return this.events.at(-1);
  }

  /** Subnets of the last table that was told. */
  get told(): readonly string[] {
    const table = [...this.events].reverse().find((event) => event.kind === 'leases');
    return table?.kind === 'leases' ? table.leases.map(subnetText) : [];
  }

  get problems(): readonly string[] {
    return this.store.health().problems.map(({ code }) => code);
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#following;
    await this.store.close();
  }
}

export function subnetText({ subnet, subnet6 }: Lease): string {
  return [subnet, subnet6].flatMap((cidr) => (cidr ? [formatCidr(cidr)] : [])).join(' ');
}
