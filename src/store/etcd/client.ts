// etcd v3 over gRPC: what kv.ts promises.
//
//     endpoint.ts    one endpoint, one connection         watch-stream.ts  one watch on one stream
//     calls.ts       calls that fail over                 watch.ts         a watch that goes on over streams
//     auth.ts        the token of a user                  history.ts       is it still the same store
//     verdict.ts     what a failure means                 messages.ts      kv.ts <-> protobuf
//
// Written for etcd 3.4 and newer. Not handled: members that are not in the list of endpoints, and DNS discovery.

import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { create } from '@bufbuild/protobuf';
import { KerseyError } from '../../errors.ts';
import { Login } from './auth.ts';
import { Calls } from './calls.ts';
import { Endpoint } from './endpoint.ts';
import {
  KV,
  Lease,
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
  LeaseTimeToLiveRequestSchema,
  TxnRequestSchema,
} from './gen/etcd_pb.ts';
import type { EtcdKv, RangeResult, TxnResult, WatchMessage } from './kv.ts';
import { compareMessage, keyValue, operationMessage, rangeRequest } from './messages.ts';
import { defaultTiming } from './options.ts';
import type { EtcdOptions, EtcdTiming } from './options.ts';
import { isServiceError } from './verdict.ts';
import { watchPrefix } from './watch.ts';

export class EtcdClient implements EtcdKv {
  readonly #endpoints: readonly Endpoint[];
  readonly #timing: EtcdTiming;
  readonly #login: Login;
  readonly #calls: Calls;
  readonly #closed = new AbortController();
  /** What is under way: each call and watch, ended by its caller's signal or by close(). */
  readonly #running = new Set<AbortController>();

  /**
   * Connects to nobody yet.
   *
   * @throws KerseyError USAGE for endpoints and certificate files that cannot be
   */
  constructor({ endpoints, tls, username = '', password = '', timing }: EtcdOptions) {
    if (endpoints.length === 0) {
      throw new KerseyError('USAGE', 'no endpoint of etcd is given', { remedy: 'write http://HOST:PORT' });
    }
    this.#endpoints = endpoints.map((text) => new Endpoint(text, tls));
    this.#timing = { ...defaultTiming, ...timing };
    const user = username !== '' && password !== '' ? { name: username, password } : undefined;
    setMaxListeners(0, this.#closed.signal);
    this.#login = new Login(user, this.#closed.signal);
    this.#calls = new Calls(this.#endpoints, this.#login, this.#timing);
  }

  async range(
    what: { readonly prefix: string } | { readonly key: string },
    signal?: AbortSignal,
  ): Promise<RangeResult> {
    const { header, kvs } = await this.#run(signal, (ended) =>
      this.#calls.call(KV.method.range, rangeRequest(what), { repeatable: true, signal: ended }),
    );
    return { kvs: kvs.map(keyValue), revision: header?.revision ?? 0n };
  }

  async txn(
    { compare, success, failure = [] }: Parameters<EtcdKv['txn']>[0],
    signal?: AbortSignal,
  ): Promise<TxnResult> {
    const request = create(TxnRequestSchema, {
      compare: compare.map(compareMessage),
      success: success.map(operationMessage),
      failure: failure.map(operationMessage),
    });
    const reads = [...success, ...failure].every(({ kind }) => kind === 'range');
    const { header, succeeded, responses } = await this.#run(signal, (ended) =>
      this.#calls.call(KV.method.txn, request, { repeatable: reads, signal: ended }),
    );
    const kvs = responses.flatMap(({ response }) =>
      response.case === 'responseRange' ? response.value.kvs.map(keyValue) : [],
    );
    return { succeeded, revision: header?.revision ?? 0n, kvs };
  }

  async grant(ttl: number, signal?: AbortSignal): Promise<bigint> {
    // With an id of our own the request can be repeated: when the lease exists already, the first attempt was done.
    const id = randomBytes(8).readBigUInt64BE() >> 1n || 1n;
    const request = create(LeaseGrantRequestSchema, { TTL: BigInt(ttl), ID: id });
    try {
      await this.#run(signal, (ended) =>
        this.#calls.call(Lease.method.leaseGrant, request, { repeatable: true, signal: ended }),
      );
    } catch (error) {
      if (!says(error, 'lease already exists')) throw error;
    }
    return id;
  }

  async revoke(lease: bigint, signal?: AbortSignal): Promise<void> {
    const request = create(LeaseRevokeRequestSchema, { ID: lease });
    try {
      await this.#run(signal, (ended) =>
        this.#calls.call(Lease.method.leaseRevoke, request, { repeatable: true, signal: ended }),
      );
    } catch (error) {
      // Expired, or revoked by an attempt whose answer was lost.
      if (!says(error, 'requested lease not found')) throw error;
    }
  }

  async timeToLive(lease: bigint, signal?: AbortSignal): Promise<number | undefined> {
    const request = create(LeaseTimeToLiveRequestSchema, { ID: lease });
    const { TTL } = await this.#run(signal, (ended) =>
      this.#calls.call(Lease.method.leaseTimeToLive, request, { repeatable: true, signal: ended }),
    );
    return TTL < 0n ? undefined : Number(TTL);
  }

  async *watch(
    prefix: string,
    fromRevision: bigint,
    signal: AbortSignal,
  ): AsyncGenerator<WatchMessage, void, undefined> {
    const { ended, release } = this.#start(signal);
    const context = { calls: this.#calls, login: this.#login, timing: this.#timing };
    try {
      yield* watchPrefix(context, prefix, fromRevision, ended);
    } finally {
      release();
    }
  }

  /** Ends every call and every watch. */
  async close(): Promise<void> {
    const reason = closed();
    this.#closed.abort(reason);
    for (const running of this.#running) running.abort(reason);
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  async #run<T>(signal: AbortSignal | undefined, work: (ended: AbortSignal) => Promise<T>): Promise<T> {
    const { ended, release } = this.#start(signal);
    try {
      ended.throwIfAborted();
      return await work(ended);
    } finally {
      release();
    }
  }

  /** A signal that aborts with the caller's and when the client is closed. */
  #start(signal: AbortSignal | undefined): { readonly ended: AbortSignal; readonly release: () => void } {
    const running = new AbortController();
    const end = (): void => {
      running.abort(signal?.reason);
    };
    if (this.#closed.signal.aborted) running.abort(closed());
    if (signal?.aborted === true) end();
    // A thousand calls may share one signal, and each takes its listener away again.
    if (signal !== undefined) setMaxListeners(0, signal);
    setMaxListeners(0, running.signal);
    signal?.addEventListener('abort', end, { once: true });
    this.#running.add(running);
    const release = (): void => {
      signal?.removeEventListener('abort', end);
      this.#running.delete(running);
    };
    return { ended: running.signal, release };
  }
}

function closed(): KerseyError {
  return new KerseyError('STORE_CLOSED', 'the connection to etcd was closed', { remedy: 'open it again' });
}

function says(error: unknown, words: string): boolean {
  return error instanceof KerseyError && isServiceError(error.cause) && error.cause.details.includes(words);
}
