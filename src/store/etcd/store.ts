// The `etcd` store: flannel's keys in etcd v3, shared by all hosts.
//
//   claim.ts     how a subnet is claimed so that it has one owner
//   keeper.ts    how it is renewed, and who else writes to it
//   feed.ts      how the table is followed; table.ts keeps it
//   snapshot.ts  the last known state on disk, for a start while etcd is away
//   admin.ts     what operators do
//
// While etcd is away: watching goes on by itself, and the node with what it knows. A start takes config and lease from
// the snapshot, without asking anybody; as soon as etcd answers the lease is renewed if it is still ours there, and
// otherwise the node sees in the table what has become of it.

import { JsonSyntaxError, parseJson } from '../../config/json.ts';
import { parseNetworkConfig } from '../../config/network.ts';
import type { NetworkConfig } from '../../config/network.ts';
import { KerseyError } from '../../errors.ts';
import type { AdminLeases, StoreAdmin } from '../admin.ts';
import { allocate } from '../allocate.ts';
import { formatLeaseValue } from '../lease.ts';
import type { Lease, LeaseAttrs, LeaseSubnets } from '../lease.ts';
import type { AcquireRequest, StoreEvent, StoreHealth, SubnetManager } from '../subnet-manager.ts';
import { allocationRequest, wantedAttrs } from '../wanted.ts';
import { EtcdAdmin } from './admin.ts';
import { claimSubnet } from './claim.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { Feed } from './feed.ts';
import { Keeper } from './keeper.ts';
import type { EtcdKv } from './kv.ts';
import { layoutOf } from './layout.ts';
import type { Layout } from './layout.ts';
import { SnapshotFile } from './snapshot.ts';
import type { Snapshot } from './snapshot.ts';
import { EtcdTable } from './table.ts';

export interface EtcdStoreOptions {
  /** What the operator wrote: `etcd:http://10.0.0.1:2379`. No password. */
  readonly description: string;
  /** As the operator gave them; they tell whether a snapshot belongs to this store. */
  readonly endpoints: readonly string[];
  /** flannel's /coreos.com/network unless told. */
  readonly prefix?: string;
  /** Where the snapshot is kept; undefined keeps none. */
  readonly stateDir?: string | undefined;
  /** How long before its end a lease is renewed, in minutes. */
  readonly renewMargin?: number;
  /** How long a lease lasts, in seconds. flannel's nodes take a day. */
  readonly ttl?: number;
  /** How long to go on losing races for a subnet, in milliseconds. */
  readonly patience?: number;
  readonly clock?: Clock;
  /** From 0 to below 1. */
  readonly random?: () => number;
}

export const defaultPrefix = '/coreos.com/network';
export const defaultStateDir = '/var/lib/kersey';
const day = 86_400;

/** What is known of the store while it cannot be asked. */
interface Memory {
  config: string | undefined;
  table: EtcdTable | undefined;
}

export class EtcdStore implements SubnetManager, StoreAdmin {
  readonly description: string;
  readonly shared = true;
  readonly #kv: EtcdKv;
  readonly #layout: Layout;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #ttl: number;
  readonly #patience: number;
  readonly #keeper: Keeper;
  readonly #admin: EtcdAdmin;
  readonly #snapshot: SnapshotFile | undefined;
  readonly #closed = new AbortController();
  readonly #feeds = new Set<Feed>();
  readonly #memory: Memory = { config: undefined, table: undefined };
  #keeping: Promise<void> | undefined;
  /** The last config came from memory, and so shall the lease that is claimed for it. */
  #offline = false;
  /** The lease came from memory. */
  #recalled = false;

  /** @param kv is the store's from here on, and closed with it */
  constructor(kv: EtcdKv, options: EtcdStoreOptions) {
    const { clock = systemClock, random = Math.random, prefix = defaultPrefix } = options;
    this.description = options.description;
    this.#kv = kv;
    this.#layout = layoutOf(prefix);
    this.#clock = clock;
    this.#random = random;
    this.#ttl = options.ttl ?? day;
    this.#patience = options.patience ?? 60_000;
    const common = { kv, layout: this.#layout, clock, random };
    this.#keeper = new Keeper({
      ...common,
      ttl: this.#ttl,
      margin: (options.renewMargin ?? 60) * 60_000,
      onChange: () => {
        for (const feed of this.#feeds) feed.ring();
      },
    });
    this.#admin = new EtcdAdmin(common);
    const { stateDir: directory, endpoints } = options;
    this.#snapshot =
      directory === undefined ? undefined : new SnapshotFile({ directory, prefix, endpoints, clock });
  }

  async config(signal?: AbortSignal): Promise<NetworkConfig> {
    this.#refuseClosed();
    try {
      const text = await this.#admin.configText(signal);
      this.#offline = false;
      const config = this.#configOf(text);
      this.#memory.config = text;
      return config;
    } catch (error) {
      if (!isUnreachable(error) || !(await this.#remembers())) throw error;
      this.#offline = true;
      return this.#configOf(this.#memory.config);
    }
  }

  async acquire(want: AcquireRequest, signal?: AbortSignal): Promise<Lease> {
    this.#refuseClosed();
    const stop = signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
    this.#keeping ??= this.#keeper.run(this.#closed.signal);
    if (this.#offline) {
      this.#offline = false;
      const lease = this.#recall(want);
      if (lease !== undefined) return lease;
    }
    try {
      return await this.#claim(want, stop);
    } catch (error) {
      const lease = isUnreachable(error) && (await this.#remembers()) ? this.#recall(want) : undefined;
      if (lease === undefined) throw error;
      return lease;
    }
  }

  async *watch(signal: AbortSignal): AsyncGenerator<StoreEvent, void, undefined> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    const table = new EtcdTable(this.#layout.subnets);
    const feed = new Feed({
      kv: this.#kv,
      clock: this.#clock,
      random: this.#random,
      prefix: this.#layout.subnets,
      table,
      onSight: () => {
        this.#see(table);
      },
    });
    this.#feeds.add(feed);
    try {
      // Perhaps for long the only thing that can be had.
      const { table: known } = this.#memory;
      if (this.#recalled && known !== undefined && !stop.aborted) yield this.#event(known);
      for await (const state of feed.follow(stop)) {
        if (state.kind === 'current') this.#remember(table);
        yield state.kind === 'current' ? this.#event(table) : { kind: 'unreadable', error: state.error };
      }
    } finally {
      this.#feeds.delete(feed);
    }
  }

  health(): StoreHealth {
    const failure = this.#snapshot?.failure;
    return { ...this.#keeper.health(), warnings: failure === undefined ? [] : [failure] };
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    await this.#keeping;
    await this.#snapshot?.close();
    await this.#kv.close();
  }

  configText(): Promise<string | undefined> {
    return this.#admin.configText();
  }

  setConfig(text: string, expected: string | undefined): Promise<void> {
    return this.#admin.setConfig(text, expected);
  }

  leases(): Promise<AdminLeases> {
    return this.#admin.leases();
  }

  watchLeases(signal: AbortSignal): AsyncIterable<AdminLeases> {
    return this.#admin.watchLeases(AbortSignal.any([signal, this.#closed.signal]));
  }

  reserve(subnets: LeaseSubnets, attrs: LeaseAttrs): Promise<void> {
    return this.#admin.reserve(subnets, attrs);
  }

  release(subnets: LeaseSubnets): Promise<boolean> {
    return this.#admin.release(subnets);
  }

  async #claim(want: AcquireRequest, signal: AbortSignal): Promise<Lease> {
    const claimed = await claimSubnet(
      want,
      {
        kv: this.#kv,
        layout: this.#layout,
        clock: this.#clock,
        random: this.#random,
        ttl: this.#ttl,
        patience: this.#patience,
        held: this.#keeper.key,
        wrote: (there) => this.#keeper.wrote(there),
        onGrant: (lease, host) => {
          this.#keeper.granted(lease, host);
        },
        readConfig: (config) => this.#configOf(config?.value),
      },
      signal,
    );
    this.#recalled = false;
    this.#keeper.keep(claimed);
    return claimed.lease;
  }

  /** The lease of this host as it is remembered; to be confirmed when the store can be asked again. */
  #recall(want: AcquireRequest): Lease | undefined {
    const { table, config: text } = this.#memory;
    // Nothing can be published from memory.
    if (table === undefined || want.held !== undefined) return undefined;
    const config = this.#configOf(text);
    const request = allocationRequest(config, want);
    const entries = table.rows().flatMap(({ entry }) => entry ?? []);
    const { own, subnet, subnet6 } = allocate(config, entries, request, this.#random);
    // A lease that the config has no use for cannot be exchanged for another now.
    if (own === undefined || own.subnet?.base !== subnet?.base || own.subnet6?.base !== subnet6?.base) {
      return undefined;
    }
    const lease = { subnet, subnet6, attrs: wantedAttrs(want, request, own.attrs) };
    this.#recalled = true;
    this.#keeper.keepUnconfirmed(own.key, lease, formatLeaseValue(lease.attrs));
    return lease;
  }

  /** Whether config and table are known without asking. */
  async #remembers(): Promise<boolean> {
    const memory = this.#memory;
    if (memory.config !== undefined && memory.table !== undefined) return true;
    const snapshot = await this.#snapshot?.read();
    if (snapshot === undefined) return false;
    memory.config = snapshot.config;
    memory.table = tableOf(snapshot, this.#layout);
    return true;
  }

  #remember(table: EtcdTable): void {
    this.#memory.table = table;
    this.#snapshot?.save(() => {
      const { config } = this.#memory;
      if (config === undefined) return undefined;
      const prefix = this.#layout.subnets.length;
      const leases = table.rows().map(({ kv }) => [kv.key.slice(prefix), kv.value] as const);
      return { config, leases, time: new Date().toISOString() };
    });
  }

  #see(table: EtcdTable): void {
    const { key } = this.#keeper;
    if (key !== undefined) this.#keeper.see(table.get(this.#layout.subnets + key)?.kv, table.revision);
  }

  #event(table: EtcdTable): StoreEvent {
    const { key } = this.#keeper;
    return { kind: 'leases', ...table.view(key && this.#layout.subnets + key) };
  }

  #configOf(text: string | undefined): NetworkConfig {
    const source = `etcd ${this.#layout.config}`;
    if (text === undefined) {
      throw new KerseyError('CONFIG_MISSING', `${source} does not exist`, {
        remedy: 'write it: kersey config init, or etcdctl put with {"Network": "10.5.0.0/16", ...}',
      });
    }
    try {
      return parseNetworkConfig(parseJson(text).value, source);
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      const message = `${source}: line ${error.line}, column ${error.column}: ${error.message}`;
      throw new KerseyError('CONFIG_INVALID', message, { remedy: 'correct it', cause: error });
    }
  }

  #refuseClosed(): void {
    if (this.#closed.signal.aborted) {
      throw new KerseyError('STORE_CLOSED', `${this.description} was closed`, { remedy: 'open it again' });
    }
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof KerseyError && error.code === 'STORE_UNREACHABLE';
}

function tableOf({ leases }: Snapshot, layout: Layout): EtcdTable {
  const table = new EtcdTable(layout.subnets);
  table.replace(
    leases.map(([key, value], index) => ({
      key: layout.subnets + key,
      value,
      modRevision: 0n,
      createRevision: BigInt(index),
      lease: 0n,
    })),
    0n,
  );
  return table;
}
