// Whether the store still has the history that a watch has followed.
//
// An etcd that was wiped, or restored from a backup, numbers its revisions anew. A watch that goes on there from its
// last revision would wait for ever, or miss what happened before the new store got that far. The cluster's id often
// stays the same (it is made of names and addresses), so we look for a key that we know: in the same history it was
// last changed where it was, or, if it was changed since, its old revision can still be read.
//
// Not noticed: a store in whose prefix nothing was ever seen, wiped and already beyond our revision again.

import { create } from '@bufbuild/protobuf';
import type { Calls } from './calls.ts';
import {
  KV,
  RangeRequest_SortOrder as Order,
  RangeRequest_SortTarget as Target,
  RangeRequestSchema,
} from './gen/etcd_pb.ts';
import type { KeyValue, ResponseHeader } from './gen/etcd_pb.ts';
import type { KeyValue as Known } from './kv.ts';
import { bytes, keyValue, rangeOf } from './messages.ts';
import { isServiceError } from './verdict.ts';

export class History {
  readonly #calls: Calls;
  readonly #signal: AbortSignal;
  #cluster: bigint | undefined;
  #known: Known | undefined;

  constructor(calls: Calls, signal: AbortSignal) {
    this.#calls = calls;
    this.#signal = signal;
  }

  /** Learns what is below the prefix before the first event. */
  async begin(prefix: string, nextRevision: bigint): Promise<void> {
    const newest = { sortOrder: Order.DESCEND, sortTarget: Target.MOD, limit: 1n };
    const { header, kvs } = await this.#range({ ...rangeOf(prefix), ...newest });
    this.#cluster = header?.clusterId;
    const [kv] = kvs;
    if (kv !== undefined && kv.modRevision < nextRevision) this.learn(keyValue(kv));
  }

  learn(kv: Known): void {
    this.#known = kv;
  }

  /** Whether a watch from this revision on goes on where the last one ended. Rejects like any call. */
  async continues(prefix: string, nextRevision: bigint): Promise<boolean> {
    const known = this.#known;
    const now = known === undefined ? { ...rangeOf(prefix), limit: 1n } : { key: bytes(known.key) };
    const { header, kvs } = await this.#range(now);
    if (!this.#isSame(header, nextRevision)) return false;
    if (known === undefined || this.#finds(kvs, known)) return true;
    try {
      const then = await this.#range({ key: bytes(known.key), revision: known.modRevision });
      return this.#finds(then.kvs, known);
    } catch (error) {
      // That revision was compacted, or is yet to come: nothing can be said, so whoever watches lists anew.
      if (error instanceof Error && isServiceError(error.cause)) return false;
      throw error;
    }
  }

  #isSame(header: ResponseHeader | undefined, nextRevision: bigint): boolean {
    if (header === undefined) return false;
    this.#cluster ??= header.clusterId;
    return header.clusterId === this.#cluster && header.revision >= nextRevision - 1n;
  }

  #finds(kvs: readonly KeyValue[], known: Known): boolean {
    return kvs
      .map(keyValue)
      .some(
        ({ key, value, modRevision, createRevision }) =>
          key === known.key &&
          value === known.value &&
          modRevision === known.modRevision &&
          createRevision === known.createRevision,
      );
  }

  async #range(init: Parameters<typeof create<typeof RangeRequestSchema>>[1]) {
    const request = create(RangeRequestSchema, init);
    return this.#calls.call(KV.method.range, request, { repeatable: true, signal: this.#signal });
  }
}
