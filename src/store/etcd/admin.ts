// What an operator does to the key space: read and write the config, list, reserve and release subnets.
//
// Everything is a compare-and-swap; a reservation is guarded as a claim is (guard.ts).

import { KerseyError } from '../../errors.ts';
import { cidrEqual, cidrOverlaps, formatCidr } from '../../net/cidr.ts';
import type { Cidr } from '../../net/cidr.ts';
import type { AdminLeases } from '../admin.ts';
import { formatLeaseKey, formatLeaseValue } from '../lease.ts';
import type { LeaseAttrs, LeaseSubnets } from '../lease.ts';
import type { Clock } from './clock.ts';
import { Feed } from './feed.ts';
import { overlapGuard } from './guard.ts';
import type { EtcdKv, KeyValue, Operation } from './kv.ts';
import type { Layout } from './layout.ts';
import { EtcdTable } from './table.ts';
import type { Row } from './table.ts';

export interface AdminOptions {
  readonly kv: EtcdKv;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly random: () => number;
}

/** How many leases are asked for their end at a time. */
const askedAtOnce = 16;
/** How often a lost race is tried again. */
const mostTries = 20;

export class EtcdAdmin {
  readonly #options: AdminOptions;
  /** When leases end, by our clock; a lease that is not kept alive ends when it was first said to. */
  readonly #ends = new Map<bigint, number>();

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  async configText(signal?: AbortSignal): Promise<string | undefined> {
    return (await this.#config(signal))?.value;
  }

  async setConfig(text: string, expected: string | undefined): Promise<void> {
    const { kv, layout } = this.#options;
    const there = await this.#config();
    if (there?.value !== expected) throw conflict(layout.config);
    const { succeeded, kvs } = await kv.txn({
      compare: [{ key: layout.config, modRevision: there?.modRevision ?? 0n }],
      success: [{ kind: 'put', key: layout.config, value: text }],
      failure: [{ kind: 'range', prefix: layout.config }],
    });
    // A client that asks a second endpoint is refused by its own success at the first.
    if (!succeeded && find(kvs, layout.config)?.value !== text) throw conflict(layout.config);
  }

  async leases(signal?: AbortSignal): Promise<AdminLeases> {
    const table = await this.#table();
    await this.#askEnds(table, signal);
    return this.#described(table);
  }

  async *watchLeases(signal: AbortSignal): AsyncGenerator<AdminLeases, void, undefined> {
    const { layout } = this.#options;
    const table = new EtcdTable(layout.subnets);
    const feed = new Feed({ ...this.#options, prefix: layout.subnets, table, onSight: () => undefined });
    let lost = false;
    for await (const state of feed.follow(signal)) {
      if (state.kind === 'current') {
        lost = false;
        // Should etcd be away, the feed says so next.
        await this.#askEnds(table, signal).catch(() => undefined);
        yield this.#described(table);
      } else if (!lost) {
        lost = true;
        yield { ...this.#described(table), warnings: [state.error.line] };
      }
    }
  }

  async reserve(subnets: LeaseSubnets, attrs: LeaseAttrs): Promise<void> {
    const { kv, layout, clock, random } = this.#options;
    const key = layout.subnets + formatLeaseKey(subnets);
    for (let tries = 0; tries < mostTries; tries++) {
      const table = await this.#table();
      const own = table.rows().find((row) => isSame(row, subnets));
      const clash = table.rows().find((row) => row !== own && overlap(row, subnets) !== undefined);
      if (clash !== undefined) throw taken(clash, overlap(clash, subnets));
      if (own?.entry?.attrs !== undefined && !isOf(own, attrs)) {
        throw taken(own, subnets.subnet ?? subnets.subnet6);
      }
      // What the host has written of itself stays.
      const value = own?.lease?.attrs.backendType === undefined ? formatLeaseValue(attrs) : own.kv.value;
      if (own?.kv.lease === 0n && own.kv.value === value) return;
      const put: Operation = { kind: 'put', key: own?.kv.key ?? key, value };
      const { succeeded } = await kv.txn({
        compare: [
          { key: put.key, modRevision: own?.kv.modRevision ?? 0n },
          ...(own === undefined ? overlapGuard(subnets, layout.subnets, table.revision) : []),
        ],
        success: [put],
      });
      if (succeeded) return;
      await clock.sleep(random() * 50, new AbortController().signal);
    }
    throw conflict(key);
  }

  async release(subnets: LeaseSubnets): Promise<boolean> {
    const { kv } = this.#options;
    for (let tries = 0; tries < mostTries; tries++) {
      const row = (await this.#table()).rows().find((candidate) => isSame(candidate, subnets));
      if (row === undefined) return tries > 0;
      const { key, modRevision } = row.kv;
      const { succeeded } = await kv.txn({
        compare: [{ key, modRevision }],
        success: [{ kind: 'delete', key }],
      });
      if (succeeded) return true;
    }
    throw conflict(formatLeaseKey(subnets));
  }

  async #config(signal?: AbortSignal): Promise<KeyValue | undefined> {
    const { kv, layout } = this.#options;
    return find((await kv.range({ key: layout.config }, signal)).kvs, layout.config);
  }

  async #table(): Promise<EtcdTable> {
    const { kv, layout } = this.#options;
    const table = new EtcdTable(layout.subnets);
    const { kvs, revision } = await kv.range({ prefix: layout.subnets });
    table.replace(kvs, revision);
    return table;
  }

  #described(table: EtcdTable): AdminLeases {
    const rows = table.rows();
    const now = this.#options.clock.now();
    const ttlOf = ({ lease }: KeyValue): number | undefined =>
      lease === 0n ? undefined : Math.max(0, Math.round(((this.#ends.get(lease) ?? now) - now) / 1000));
    return {
      entries: rows.flatMap(({ entry, kv }) => (entry ? [{ ...entry, ttl: ttlOf(kv) }] : [])),
      warnings: rows.flatMap(({ warnings }) => warnings),
    };
  }

  async #askEnds(table: EtcdTable, signal?: AbortSignal): Promise<void> {
    const { kv, clock } = this.#options;
    const leases = new Set(table.rows().map((row) => row.kv.lease));
    for (const lease of this.#ends.keys()) if (!leases.has(lease)) this.#ends.delete(lease);
    const unknown = [...leases].filter((lease) => {
      return lease !== 0n && (this.#ends.get(lease) ?? -Infinity) <= clock.now();
    });
    const ask = async (): Promise<void> => {
      for (let lease = unknown.pop(); lease !== undefined; lease = unknown.pop()) {
        const ttl = await kv.timeToLive(lease, signal);
        this.#ends.set(lease, clock.now() + (ttl ?? 0) * 1000);
      }
    };
    await Promise.all(Array.from({ length: Math.min(askedAtOnce, unknown.length) }, ask));
  }
}

function find(kvs: readonly KeyValue[], key: string): KeyValue | undefined {
  return kvs.find((kv) => kv.key === key);
}

function isSame({ entry }: Row, { subnet, subnet6 }: LeaseSubnets): boolean {
  return entry !== undefined && cidrEqual(entry.subnet, subnet) && cidrEqual(entry.subnet6, subnet6);
}

function isOf({ entry }: Row, attrs: LeaseAttrs): boolean {
  return attrs.publicIP === null
    ? entry?.attrs?.publicIPv6 === attrs.publicIPv6
    : entry?.attrs?.publicIP === attrs.publicIP;
}

function overlap({ entry }: Row, { subnet, subnet6 }: LeaseSubnets): Cidr | undefined {
  if (entry?.subnet && subnet && cidrOverlaps(entry.subnet, subnet)) return subnet;
  return entry?.subnet6 && subnet6 && cidrOverlaps(entry.subnet6, subnet6) ? subnet6 : undefined;
}

function taken({ entry }: Row, subnet: Cidr | undefined): KerseyError {
  const holder = entry?.attrs?.publicIP ?? entry?.attrs?.publicIPv6 ?? 'nobody that can be read';
  const what = subnet === undefined ? 'the subnet' : formatCidr(subnet);
  return new KerseyError('SUBNET_OVERLAP', `${what} is taken: ${entry?.key ?? ''} belongs to ${holder}`, {
    remedy: 'choose another, or release that one first',
  });
}

function conflict(key: string): KerseyError {
  return new KerseyError('STORE_CONFLICT', `${key} was changed by somebody else meanwhile`, {
    remedy: 'look at it again and repeat the command',
  });
}
