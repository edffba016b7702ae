// Following the table: list, then watch from the next revision on.
//
// Whenever the watch stands again after it was lost, and when the history that it needs is compacted away, the table is
// listed anew and compared with what was known. That also finds out a store that was wiped or put back in time, whose
// revisions start over: a resumed watch would wait for ever for one that it has seen already.
//
// What is delivered is the state, not the events: many that come together are one delivery, and one that comes alone is
// delivered at once. Deliveries keep a small distance, so that the one who applies them is not kept busy by a thousand.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { KerseyError } from '../../errors.ts';
import { backoff } from './backoff.ts';
import type { Clock } from './clock.ts';
import type { EtcdKv, RangeResult, WatchMessage } from './kv.ts';
import type { EtcdTable } from './table.ts';

export interface FeedOptions {
  readonly kv: EtcdKv;
  readonly clock: Clock;
  readonly random: () => number;
  readonly prefix: string;
  /** Filled in and kept up to date. */
  readonly table: EtcdTable;
  /** Told after every listing and every event, also those that change no value. */
  readonly onSight: () => void;
}

export type FeedState = { readonly kind: 'current' } | { readonly kind: 'lost'; readonly error: KerseyError };

/** Between deliveries, in milliseconds. */
const distance = 25;
/** Waits after a listing or a watch that failed soon, and how long a sound one lives. In milliseconds. */
const waits = { from: 250, to: 10_000 };
const soundLife = 2000;

export class Feed {
  readonly #options: FeedOptions;
  /** How many listings or watches have failed soon, one after the other. */
  #failures = 0;
  #state: FeedState | undefined;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /** Delivers anew though nothing has changed in the table. */
  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Yields whenever the table or the state has changed, until the signal aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<FeedState, void, undefined> {
    const { clock } = this.#options;
    const stop = new AbortController();
    const all = AbortSignal.any([signal, stop.signal]);
    const end = (): void => {
      this.ring();
    };
    all.addEventListener('abort', end, { once: true });
    if (all.aborted) end();
    const pump = this.#pump(all);
    try {
      for (let last = -Infinity; ; last = clock.now()) {
        if (!this.#rung) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = undefined;
        }
        const rest = last + distance - clock.now();
        // What has arrived together is read together.
        await (rest > 0 ? clock.sleep(rest, all) : nextTurn());
        if (all.aborted) return;
        this.#rung = false;
        if (this.#state !== undefined) yield this.#state;
      }
    } finally {
      stop.abort();
      all.removeEventListener('abort', end);
      await pump;
    }
  }

  /** Never throws. */
  async #pump(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const over = (): boolean => signal.aborted;
    while (!over()) {
      const start = clock.now();
      try {
        await this.#listAndWatch(signal);
      } catch (error) {
        if (over()) return;
        this.#lose(error);
      }
      if (clock.now() - start >= soundLife) this.#failures = 0;
      else await clock.sleep(backoff(waits, ++this.#failures, random), signal);
    }
  }

  /** Returns when the table is to be listed anew. */
  async #listAndWatch(signal: AbortSignal): Promise<void> {
    const { kv, prefix, table, onSight } = this.#options;
    const listed = await kv.range({ prefix }, signal);
    this.#take(listed);
    const done = new AbortController();
    try {
      const messages = kv.watch(prefix, table.revision + 1n, AbortSignal.any([signal, done.signal]));
      let lost = false;
      for await (const message of messages) {
        if (signal.aborted || message.kind === 'compacted') return;
        if (message.kind === 'connected' && lost) return;
        lost ||= message.kind === 'lost';
        this.#hear(message, onSight);
      }
    } finally {
      done.abort();
    }
  }

  #hear(message: WatchMessage, onSight: () => void): void {
    if (message.kind === 'lost') this.#lose(message.error);
    if (message.kind !== 'events') return;
    const changed = this.#options.table.apply(message.events, message.revision);
    onSight();
    if (changed) this.ring();
  }

  #take({ kvs, revision }: RangeResult): void {
    const { table, onSight } = this.#options;
    const changed = table.replace(kvs, revision);
    const back = this.#state?.kind !== 'current';
    this.#state = { kind: 'current' };
    onSight();
    if (changed || back) this.ring();
  }

  #lose(error: unknown): void {
    const cause = KerseyError.from(error);
    const known = cause.code === 'INTERNAL' ? unreachable(error) : cause;
    const same = this.#state?.kind === 'lost' && this.#state.error.line === known.line;
    this.#state = { kind: 'lost', error: known };
    if (!same) this.ring();
  }
}

function unreachable(cause: unknown): KerseyError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new KerseyError('STORE_UNREACHABLE', `etcd cannot be watched: ${text}`, {
    remedy: 'see whether its endpoints answer; it is tried again',
    cause,
  });
}
