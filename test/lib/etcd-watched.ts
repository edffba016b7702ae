// A watch of a test: what it says, in short.

import type { EtcdKv, WatchMessage } from '../../src/store/etcd/kv.ts';

export class Watched {
  readonly stop = new AbortController();
  readonly #messages: AsyncIterator<WatchMessage>;

  constructor(kv: EtcdKv, prefix: string, fromRevision: bigint) {
    this.#messages = kv.watch(prefix, fromRevision, this.stop.signal)[Symbol.asyncIterator]();
  }

  /** The next message; undefined when the watch has ended. */
  async message(): Promise<WatchMessage | undefined> {
    const next = await this.#messages.next();
    return next.done === true ? undefined : next.value;
  }

  /** `connected`, `/a=1 -/b`, `compacted`, `lost CODE`, `end` */
  async next(): Promise<string> {
    const message = await this.message();
    if (message === undefined) return 'end';
    if (message.kind === 'lost') return `lost ${'code' in message.error ? String(message.error.code) : ''}`;
    if (message.kind !== 'events') return message.kind;
    return message.events
      .map((event) => (event.kind === 'put' ? `${event.kv.key}=${event.kv.value}` : `-${event.key}`))
      .join(' ');
  }

  /** All messages up to the first that is wanted, this included. */
  async until(wanted: string): Promise<string[]> {
    const messages: string[] = [];
    while (messages.at(-1) !== wanted && messages.at(-1) !== 'end') messages.push(await this.next());
    return messages;
  }
}
