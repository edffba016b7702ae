// The table of leases as etcd has it, kept up to date event by event.
//
// A row is decoded when its value comes and never again: an event costs its own row, whatever else the table holds.
// Renewals of peers write the same value once a day; they change nothing here but the row's revision.
//
// Rows are input from others. One that cannot be read is a warning and takes no other row with it; its subnet, where
// the key says one, still counts as taken.

import { decodeTable } from '../lease.ts';
import type { Lease, LeaseEntry } from '../lease.ts';
import { JsonSyntaxError, parseJson } from '../../config/json.ts';
import type { JsonValue } from '../../config/json.ts';
import { withoutOverlaps } from '../overlap.ts';
import type { KeyValue, WatchEvent } from './kv.ts';

export interface Row {
  readonly kv: KeyValue;
  /** undefined when the key is no subnet. */
  readonly entry: LeaseEntry | undefined;
  /** The usable lease in the entry; the same object as long as the value is the same. */
  readonly lease: Lease | undefined;
  readonly warnings: readonly string[];
}

export interface LeaseView {
  readonly leases: readonly Lease[];
  readonly warnings: readonly string[];
}

/** Somebody who fills the table with garbage shall not fill the log. */
const mostWarnings = 50;

export class EtcdTable {
  /** The store's revision that this is the state of. */
  revision = 0n;
  readonly #prefix: string;
  readonly #rows = new Map<string, Row>();

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get(key: string): Row | undefined {
    return this.#rows.get(key);
  }

  /** In the order in which the keys were made, so that of two that overlap the older comes first. */
  rows(): readonly Row[] {
    return [...this.#rows.values()].sort(
      (a, b) => compare(a.kv.createRevision, b.kv.createRevision) || (a.kv.key < b.kv.key ? -1 : 1),
    );
  }

  /** A fresh listing takes the place of everything. @returns whether any value differs */
  replace(kvs: readonly KeyValue[], revision: bigint): boolean {
    const listed = new Set<string>();
    let changed = false;
    for (const kv of kvs) {
      if (!kv.key.startsWith(this.#prefix)) continue;
      listed.add(kv.key);
      changed = this.#put(kv) || changed;
    }
    for (const key of this.#rows.keys()) {
      if (!listed.has(key)) changed = this.#rows.delete(key) || changed;
    }
    this.revision = revision;
    return changed;
  }

  /** Events that are part of the listing already are passed over. @returns whether any value differs */
  apply(events: readonly WatchEvent[], revision: bigint): boolean {
    let changed = false;
    for (const event of events) {
      const key = event.kind === 'put' ? event.kv.key : event.key;
      const at = event.kind === 'put' ? event.kv.modRevision : event.modRevision;
      if (!key.startsWith(this.#prefix) || at <= this.revision) continue;
      changed = (event.kind === 'put' ? this.#put(event.kv) : this.#rows.delete(key)) || changed;
    }
    if (revision > this.revision) this.revision = revision;
    return changed;
  }

  /** @param ownKey of two that overlap this one stays */
  view(ownKey: string | undefined): LeaseView {
    const rows = this.rows();
    const leaseOf = new Map(rows.map(({ entry, lease }) => [entry, lease]));
    const own = ownKey?.slice(this.#prefix.length);
    const table = withoutOverlaps(
      rows.flatMap(({ entry }) => entry ?? []),
      (entry) => entry.key === own,
    );
    const warnings = [...rows.flatMap((row) => row.warnings), ...table.warnings];
    const more = warnings.length - mostWarnings;
    return {
      leases: table.entries.flatMap((entry) => leaseOf.get(entry) ?? []),
      warnings: more > 0 ? [...warnings.slice(0, mostWarnings), `and ${more} more like these`] : warnings,
    };
  }

  /** @returns whether the value differs */
  #put(kv: KeyValue): boolean {
    const before = this.#rows.get(kv.key);
    const same = before?.kv.value === kv.value;
    this.#rows.set(kv.key, same ? { ...before, kv } : decodeRow(kv, this.#prefix));
    return !same || before.kv.createRevision !== kv.createRevision;
  }
}

export function decodeRow(kv: KeyValue, prefix: string): Row {
  const key = kv.key.slice(prefix.length);
  const { entries, warnings } = decodeTable([[key, parsed(kv.value)]]);
  const [entry] = entries;
  const lease = entry?.attrs && { subnet: entry.subnet, subnet6: entry.subnet6, attrs: entry.attrs };
  return { kv, entry, lease, warnings };
}

/** What is no JSON comes back as the text it is, and is refused as a value that is no object. */
function parsed(text: string): JsonValue {
  try {
    return parseJson(text).value;
  } catch (error) {
    if (error instanceof JsonSyntaxError) return text;
    throw error;
  }
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
