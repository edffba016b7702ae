// What Kersey asks of etcd v3: a few calls, and a watch that mends itself. `client.ts` does it over gRPC.
//
// Revisions and lease ids are 64-bit and therefore bigint. Keys and values are UTF-8 text: flannel writes nothing else.

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  readonly modRevision: bigint;
  readonly createRevision: bigint;
  /** 0n when the key does not expire. */
  readonly lease: bigint;
}

export interface RangeResult {
  readonly kvs: readonly KeyValue[];
  /** The store's revision at which this was read. */
  readonly revision: bigint;
}

export type Compare =
  | { readonly key: string; readonly modRevision: bigint }
  /** No key of the range was created or changed after the revision. */
  | { readonly prefix: string; readonly unchangedSince: bigint };

export type Operation =
  | { readonly kind: 'put'; readonly key: string; readonly value: string; readonly lease?: bigint }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'range'; readonly prefix: string };

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: bigint;
  /** What the range operations of the branch that ran have found, one after the other. */
  readonly kvs: readonly KeyValue[];
}

export type WatchEvent =
  | { readonly kind: 'put'; readonly kv: KeyValue }
  | { readonly kind: 'delete'; readonly key: string; readonly modRevision: bigint };

export type WatchMessage =
  /** The watch stands (again): everything from here on will be told. */
  | { readonly kind: 'connected' }
  /** All events of one or more revisions, never half of one. */
  | { readonly kind: 'events'; readonly events: readonly WatchEvent[]; readonly revision: bigint }
  /** The history was compacted away: list anew and start another watch. The iterable ends after it. */
  | { readonly kind: 'compacted'; readonly compactRevision: bigint }
  /** No stream to any endpoint; it is being tried again with back-off, nothing is lost by that. */
  | { readonly kind: 'lost'; readonly error: Error };

/**
 * Every call has a deadline, tries every endpoint before it fails, and throws KerseyError STORE_UNREACHABLE or
 * STORE_REFUSED; a txn has then done nothing. One that writes may also throw STORE_UNCERTAIN: it was sent and not answered.
 * An aborted signal rejects with its reason, and a txn may have been done then too.
 */
export interface EtcdKv {
  range(
    prefixOrKey: { readonly prefix: string } | { readonly key: string },
    signal?: AbortSignal,
  ): Promise<RangeResult>;
  txn(
    request: {
      readonly compare: readonly Compare[];
      readonly success: readonly Operation[];
      readonly failure?: readonly Operation[];
    },
    signal?: AbortSignal,
  ): Promise<TxnResult>;
  /** @param ttl seconds */
  grant(ttl: number, signal?: AbortSignal): Promise<bigint>;
  revoke(lease: bigint, signal?: AbortSignal): Promise<void>;
  /** Seconds left; undefined when there is no such lease (any more). */
  timeToLive(lease: bigint, signal?: AbortSignal): Promise<number | undefined>;
  /** Everything under the prefix from this revision on. Ends when the signal aborts, the client is closed, or after 'compacted'. */
  watch(prefix: string, fromRevision: bigint, signal: AbortSignal): AsyncIterable<WatchMessage>;
  close(): Promise<void>;
}
