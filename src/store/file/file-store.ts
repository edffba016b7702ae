// The `file` store: flannel's key space as one JSON file, for one machine, a demo, or a few hosts that share a
// directory or carry a table written by hand. A lease that somebody wrote is a static peer.
//
// Claiming is read, choose, write under the lock of the file, so two daemons never get the same subnet. Reading takes
// no lock: a write puts a whole new file in place. What others change in between, with an editor and without our lock,
// is noticed before writing, and the claim starts over.
//
// Leases here do not expire. Renewing would mean writing the file again and again for nobody; a host that is gone for
// good is taken out by hand.

import { isDeepStrictEqual } from 'node:util';
import type { JsonObject } from '../../config/json.ts';
import { parseNetworkConfig } from '../../config/network.ts';
import type { NetworkConfig } from '../../config/network.ts';
import { KerseyError } from '../../errors.ts';
import { allocate, isOwnEntry, isPrevious } from '../allocate.ts';
import type { Allocation, AllocationRequest } from '../allocate.ts';
import { decodeTable, encodeAttrs, foreignMembers, formatLeaseKey, isSameHost } from '../lease.ts';
import type { Lease, LeaseAttrs, LeaseEntry } from '../lease.ts';
import { refuseOverlaps, withoutOverlaps } from '../overlap.ts';
import type { AcquireRequest, StoreEvent, StoreHealth, SubnetManager } from '../subnet-manager.ts';
import { allocationRequest, movedLease, wantedAttrs } from '../wanted.ts';
import { fileChanges } from './changes.ts';
import { documentText, readDocument } from './document.ts';
import type { StoreDocument } from './document.ts';
import { editFile } from './edit.ts';
import type { Lock } from './lock.ts';

export interface FileStoreOptions {
  readonly lock: Lock;
  /** How long to wait for the lock, in milliseconds. */
  readonly lockTimeout?: number;
  /** From 0 to below 1; draws among free subnets. */
  readonly random?: () => number;
}

/** What a claim comes to: the lease, and the table with it when that differs from what the file has. */
interface Claim {
  readonly lease: Lease;
  readonly leases: JsonObject | undefined;
}

export class FileStore implements SubnetManager {
  readonly description: string;
  readonly shared = false;
  readonly #path: string;
  readonly #options: FileStoreOptions;
  readonly #closed = new AbortController();
  /** Key of the lease that this store acquired. */
  #ownKey: string | undefined;

  /** @param path absolute */
  constructor(path: string, options: FileStoreOptions) {
    this.description = `file:${path}`;
    this.#path = path;
    this.#options = options;
  }

  async config(): Promise<NetworkConfig> {
    this.#refuseClosed();
    return this.#configOf(await readDocument(this.#path));
  }

  async acquire(want: AcquireRequest, signal?: AbortSignal): Promise<Lease> {
    this.#refuseClosed();
    // A lease that is already as it should be needs no lock, and no right to write.
    const held = this.#claim(await readDocument(this.#path), want);
    const lease = held.leases === undefined ? held.lease : await this.#write(want, signal);
    this.#ownKey = formatLeaseKey(lease);
    return lease;
  }

  async *watch(signal: AbortSignal): AsyncGenerator<StoreEvent, void, undefined> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    let last: string | undefined;
    for await (const _change of fileChanges(this.#path, stop)) {
      const event = await this.#read();
      const content = JSON.stringify(event, (_key, value: unknown) =>
        typeof value === 'bigint' ? `${value}` : value,
      );
      if (content === last) continue;
      last = content;
      yield event;
    }
  }

  health(): StoreHealth {
    return { problems: [], warnings: [], disputed: false, term: undefined };
  }

  async close(): Promise<void> {
    this.#closed.abort();
  }

  async #read(): Promise<StoreEvent> {
    try {
      const document = await readDocument(this.#path);
      const table = decodeTable(Object.entries(document.leases));
      const { entries, warnings } = withoutOverlaps(table.entries, (entry) => entry.key === this.#ownKey);
      return {
        kind: 'leases',
        leases: entries.flatMap(({ subnet, subnet6, attrs }) => (attrs ? [{ subnet, subnet6, attrs }] : [])),
        warnings: [
          ...document.duplicates.map((key) => `${key} is there twice; only the last one counts`),
          ...table.warnings,
          ...warnings,
        ],
      };
    } catch (error) {
      return { kind: 'unreadable', error: KerseyError.from(error) };
    }
  }

  async #write(want: AcquireRequest, signal: AbortSignal | undefined): Promise<Lease> {
    const stop = AbortSignal.any([this.#closed.signal, ...(signal === undefined ? [] : [signal])]);
    const lock = { lock: this.#options.lock, timeout: this.#options.lockTimeout ?? 10_000, signal: stop };
    return editFile(this.#path, lock, (document) => {
      const { lease, leases } = this.#claim(document, want);
      return { result: lease, text: leases && documentText(document, { leases }) };
    });
  }

  #claim(document: StoreDocument, want: AcquireRequest): Claim {
    const config = this.#configOf(document);
    const [duplicate] = document.duplicates;
    if (duplicate !== undefined) {
      throw new KerseyError('STORE_MALFORMED', `${this.#path}: ${duplicate} is there twice`, {
        remedy: 'remove one of them',
      });
    }
    const { entries } = decodeTable(Object.entries(document.leases));
    refuseOverlaps(entries, this.#path);

    const request = allocationRequest(config, want);
    const moved = movedLease(want, request);
    const allocation =
      moved === undefined
        ? allocate(config, previousFirst(entries, request), request, this.#options.random)
        : this.#move(config, entries, request, moved);
    const attrs = wantedAttrs(want, request, allocation.own?.attrs);
    const lease = { subnet: allocation.subnet, subnet6: allocation.subnet6, attrs };
    return { lease, leases: leasesWith(document.leases, allocation, lease) };
  }

  /**
   * Our entry stays ours under the new address. That it is still ours is told by the old one: a host that has got that
   * address meanwhile, and found the entry as it would write it, cannot be told from us.
   */
  #move(
    config: NetworkConfig,
    entries: readonly LeaseEntry[],
    request: AllocationRequest,
    moved: Lease,
  ): Allocation {
    const held = entries.find(
      (entry) =>
        entry.key === this.#ownKey &&
        entry.key === formatLeaseKey(moved) &&
        entry.attrs !== undefined &&
        (isSameHost(entry.attrs, moved.attrs) || isOwnEntry(entry, request)),
    );
    // What names our new address is the lease of whoever had it before, or has it still.
    const others = entries.map((entry) =>
      entry !== held && isOwnEntry(entry, request) ? { ...entry, attrs: undefined } : entry,
    );
    return allocate(config, others, { ...request, held }, this.#options.random);
  }

  #configOf(document: StoreDocument): NetworkConfig {
    if (document.config === undefined) {
      throw new KerseyError('CONFIG_INVALID', `${this.#path}: config is missing`, {
        remedy: 'add "config": {"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}',
      });
    }
    return parseNetworkConfig(document.config, this.#path);
  }

  #refuseClosed(): void {
    if (this.#closed.signal.aborted) {
      throw new KerseyError('STORE_CLOSED', `${this.description} was closed`, { remedy: 'open it again' });
    }
  }
}

function previousFirst(entries: readonly LeaseEntry[], request: AllocationRequest): readonly LeaseEntry[] {
  const rank = (entry: LeaseEntry): number => (isPrevious(entry, request) ? 0 : 1);
  return [...entries].sort((a, b) => rank(a) - rank(b));
}

/** The leases with this one in the place of the host's own entry, or at the end; undefined when nothing changes. */
function leasesWith(leases: JsonObject, { own }: Allocation, lease: Lease): JsonObject | undefined {
  const key = formatLeaseKey(lease);
  if (own === undefined) return { ...leases, [key]: encodeAttrs(lease.attrs) };
  if (isSame(own, key, lease.attrs)) return undefined;
  return Object.fromEntries(
    Object.entries(leases).map(([name, value]) =>
      name === own.key ? [key, { ...encodeAttrs(lease.attrs), ...foreignMembers(value) }] : [name, value],
    ),
  );
}

function isSame(own: LeaseEntry, key: string, attrs: LeaseAttrs): boolean {
  return (
    own.key === key &&
    own.attrs !== undefined &&
    isDeepStrictEqual(encodeAttrs(own.attrs), encodeAttrs(attrs))
  );
}
