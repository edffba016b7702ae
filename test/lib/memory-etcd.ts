// A small model of etcd for unit tests: revisions, transactions, leases on a clock of its own, watches, compaction.
// `test/etcd` runs the same behaviour against the real one.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { KerseyError } from '../../src/errors.ts';
import type { Clock } from '../../src/store/etcd/clock.ts';
import type {
  Compare,
  EtcdKv,
  KeyValue,
  Operation,
  RangeResult,
  TxnResult,
  WatchEvent,
  WatchMessage,
} from '../../src/store/etcd/kv.ts';

/** Time that passes when the test says so. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #sleepers = new Set<{ readonly until: number; readonly wake: () => void }>();

  now(): number {
    return this.#now;
  }

  async sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const sleeper = {
        until: this.#now + milliseconds,
        wake: (): void => {
          this.#sleepers.delete(sleeper);
          signal.removeEventListener('abort', sleeper.wake);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal.addEventListener('abort', sleeper.wake);
    });
  }

  /** Wakes whoever is due on the way, one after the other, and lets each do its work. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    await settled();
    for (;;) {
      const [next] = [...this.#sleepers]
        .filter(({ until }) => until <= end)
        .sort((a, b) => a.until - b.until);
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.until);
      next.wake();
      await settled();
    }
    this.#now = end;
    await settled();
  }
}

/** Everything that can go on without time passing has gone on. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await nextTurn();
}

interface Change {
  readonly revision: bigint;
  readonly events: readonly WatchEvent[];
}

export interface Write {
  readonly revision: bigint;
  readonly event: WatchEvent;
}

/** The store, shared by all its clients. */
export class MemoryEtcd {
  readonly #clock: Clock;
  revision = 1n;
  compacted = 0n;
  readonly keys = new Map<string, KeyValue>();
  readonly leases = new Map<bigint, number>();
  #history: Change[] = [];
  #nextLease = 1000n;
  readonly #listeners = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  client(): MemoryClient {
    return new MemoryClient(this);
  }

  grant(ttl: number): bigint {
    const lease = this.#nextLease++;
    this.leases.set(lease, this.#clock.now() + ttl * 1000);
    return lease;
  }

  secondsLeft(lease: bigint): number | undefined {
    this.expire();
    const end = this.leases.get(lease);
    return end === undefined ? undefined : Math.ceil((end - this.#clock.now()) / 1000);
  }

  revoke(lease: bigint): void {
    if (!this.leases.delete(lease)) return;
    const gone = [...this.keys.values()].filter((kv) => kv.lease === lease);
    if (gone.length === 0) return;
    this.#commit(gone.map(({ key }) => ({ kind: 'delete', key })));
  }

  /** As etcd does by itself, which nobody here does unasked. */
  expire(): void {
    for (const [lease, end] of this.leases) if (end <= this.#clock.now()) this.revoke(lease);
  }

  put(key: string, value: string, lease = 0n): void {
    this.#commit([{ kind: 'put', key, value, lease }]);
  }

  delete(key: string): void {
    this.#commit([{ kind: 'delete', key }]);
  }

  compact(): void {
    this.compacted = this.revision;
    this.#history = [];
    this.#notify();
  }

  /** Another, empty store takes this one's place. */
  wipe(): void {
    this.keys.clear();
    this.leases.clear();
    this.#history = [];
    this.revision = 1n;
    this.compacted = 0n;
  }

  range(matches: (key: string) => boolean): KeyValue[] {
    this.expire();
    return [...this.keys.values()].filter(({ key }) => matches(key)).sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  txn(compare: readonly Compare[], success: readonly Operation[], failure: readonly Operation[]): TxnResult {
    this.expire();
    const succeeded = compare.every((one) =>
      'key' in one
        ? (this.keys.get(one.key)?.modRevision ?? 0n) === one.modRevision
        : this.range((key) => key.startsWith(one.prefix)).every((kv) => kv.modRevision <= one.unchangedSince),
    );
    const operations = succeeded ? success : failure;
    const writes = operations.filter((one) => one.kind !== 'range');
    for (const write of writes) {
      if (write.kind === 'put' && write.lease !== undefined && !this.leases.has(write.lease)) {
        throw new KerseyError('STORE_REFUSED', 'requested lease not found');
      }
    }
    if (writes.length > 0) this.#commit(writes);
    const kvs = operations.flatMap((one) =>
      one.kind === 'range' ? this.range((key) => key.startsWith(one.prefix)) : [],
    );
    return { succeeded, revision: this.revision, kvs };
  }

  since(revision: bigint): readonly Change[] {
    return this.#history.filter((change) => change.revision >= revision);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #commit(writes: readonly Exclude<Operation, { kind: 'range' }>[]): void {
    const revision = this.revision + 1n;
    const events: WatchEvent[] = [];
    for (const write of writes) {
      const before = this.keys.get(write.key);
      if (write.kind === 'delete') {
        if (before === undefined) continue;
        this.keys.delete(write.key);
        events.push({ kind: 'delete', key: write.key, modRevision: revision });
      } else {
        const kv: KeyValue = {
          key: write.key,
          value: write.value,
          lease: write.lease ?? 0n,
          modRevision: revision,
          createRevision: before?.createRevision ?? revision,
        };
        this.keys.set(write.key, kv);
        events.push({ kind: 'put', kv });
      }
    }
    if (events.length === 0) return;
    this.revision = revision;
    this.#history.push({ revision, events });
    this.#notify();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** How the next transaction of a client goes wrong. */
export type Mishap =
  /** It happens, and the answer is lost. */
  | 'answer lost'
  /** It does not happen. */
  | 'request lost'
  /** It happens when the test says so (`deliver`). */
  | 'request delayed'
  /** etcd decides against it. */
  | 'refused';

export class MemoryClient implements EtcdKv {
  readonly #etcd: MemoryEtcd;
  readonly #wakers = new Set<() => void>();
  #away = false;
  #closed = false;
  #delayed: (() => void) | undefined;
  /** For the next transaction that writes. */
  mishap: Mishap | undefined;
  /** Run before the next transaction that writes. */
  before: (() => void) | undefined;
  calls = 0;

  constructor(etcd: MemoryEtcd) {
    this.#etcd = etcd;
    etcd.onChange(() => {
      this.#wake();
    });
  }

  /** No endpoint answers. */
  set away(away: boolean) {
    this.#away = away;
    this.#wake();
  }

  /** What was delayed arrives. */
  deliver(): void {
    this.#delayed?.();
    this.#delayed = undefined;
  }

  async range(what: { readonly prefix: string } | { readonly key: string }): Promise<RangeResult> {
    await this.#call();
    const kvs = this.#etcd.range((key) => ('key' in what ? key === what.key : key.startsWith(what.prefix)));
    return { kvs, revision: this.#etcd.revision };
  }

  async txn(
    { compare, success, failure = [] }: Parameters<EtcdKv['txn']>[0],
    signal?: AbortSignal,
  ): Promise<TxnResult> {
    await this.#call();
    signal?.throwIfAborted();
    const run = (): TxnResult => this.#etcd.txn(compare, success, failure);
    if (success.every(({ kind }) => kind === 'range')) return run();
    const { before, mishap } = this;
    this.before = undefined;
    this.mishap = undefined;
    before?.();
    if (mishap === undefined) {
      const result = run();
      // It was given up meanwhile, and done.
      signal?.throwIfAborted();
      return result;
    }
    if (mishap === 'refused') throw new KerseyError('STORE_REFUSED', 'permission denied');
    if (mishap === 'answer lost') run();
    if (mishap === 'request delayed') {
      this.#delayed = () => {
        try {
          run();
        } catch (error) {
          if (!(error instanceof KerseyError)) throw error;
        }
      };
    }
    throw new KerseyError('STORE_UNCERTAIN', 'no answer');
  }

  async grant(ttl: number): Promise<bigint> {
    await this.#call();
    return this.#etcd.grant(ttl);
  }

  async revoke(lease: bigint): Promise<void> {
    await this.#call();
    this.#etcd.revoke(lease);
  }

  async timeToLive(lease: bigint): Promise<number | undefined> {
    await this.#call();
    return this.#etcd.secondsLeft(lease);
  }

  async *watch(prefix: string, from: bigint, signal: AbortSignal): AsyncGenerator<WatchMessage> {
    let next = from;
    let standing = false;
    const wake = (): void => {
      this.#wake();
    };
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted && !this.#closed) {
        const woken = new Promise<void>((resolve) => this.#wakers.add(resolve));
        if (this.#away) {
          if (standing) yield { kind: 'lost', error: unreachable() };
          standing = false;
        } else if (next <= this.#etcd.compacted) {
          yield { kind: 'compacted', compactRevision: this.#etcd.compacted };
          return;
        } else {
          if (!standing) yield { kind: 'connected' };
          standing = true;
          for (const { revision, events } of this.#etcd.since(next)) {
            next = revision + 1n;
            const ours = events.filter((event) =>
              (event.kind === 'put' ? event.kv.key : event.key).startsWith(prefix),
            );
            if (ours.length > 0) yield { kind: 'events', events: ours, revision };
          }
        }
        await woken;
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    return Promise.resolve();
  }

  async #call(): Promise<void> {
    this.calls++;
    await nextTurn();
    if (this.#closed) throw new KerseyError('STORE_CLOSED', 'closed');
    if (this.#away) throw unreachable();
  }

  #wake(): void {
    for (const wake of [...this.#wakers]) wake();
    this.#wakers.clear();
  }
}

function unreachable(): KerseyError {
  return new KerseyError('STORE_UNREACHABLE', 'no endpoint answers');
}
