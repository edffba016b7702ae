// A client that is loaded when it is first used: gRPC takes a tenth of a second and some 20 MB, which a daemon on a store
// file, or a command line that was refused, has no use for.

import type { EtcdKv, RangeResult, TxnResult, WatchMessage } from './kv.ts';

export class LazyKv implements EtcdKv {
  readonly #open: () => Promise<EtcdKv>;
  #client: Promise<EtcdKv> | undefined;
  #closed = false;

  /** @param open is asked once; what it throws every call throws */
  constructor(open: () => Promise<EtcdKv>) {
    this.#open = open;
  }

  async range(...args: Parameters<EtcdKv['range']>): Promise<RangeResult> {
    return (await this.#get()).range(...args);
  }

  async txn(...args: Parameters<EtcdKv['txn']>): Promise<TxnResult> {
    return (await this.#get()).txn(...args);
  }

  async grant(...args: Parameters<EtcdKv['grant']>): Promise<bigint> {
    return (await this.#get()).grant(...args);
  }

  async revoke(...args: Parameters<EtcdKv['revoke']>): Promise<void> {
    await (await this.#get()).revoke(...args);
  }

  async timeToLive(...args: Parameters<EtcdKv['timeToLive']>): Promise<number | undefined> {
    return (await this.#get()).timeToLive(...args);
  }

  async *watch(...args: Parameters<EtcdKv['watch']>): AsyncGenerator<WatchMessage, void, undefined> {
    yield* (await this.#get()).watch(...args);
  }

  async close(): Promise<void> {
    this.#closed = true;
    // One that could not be opened has nothing to close.
    const client = await this.#client?.catch(() => undefined);
    await client?.close();
  }

  #get(): Promise<EtcdKv> {
    if (this.#client === undefined && this.#closed) throw new TypeError('the client was closed');
    return (this.#client ??= this.#open());
  }
}
