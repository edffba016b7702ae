// The last known state of the store, on disk: what a node starts from while etcd is away.
//
// Written after changes, at most every few seconds, whole and flushed, so that a loss of power leaves the old one or the
// new one. Read only when it belongs to this store: the same prefix, and an endpoint in common, for members of a
// cluster are replaced one by one.
//
// What it holds is as foreign as what etcd holds; leases and config are decoded by the same decoders. A file that
// cannot be read is as good as none.

import { createHash } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import { makeDirectory } from '../../directory.ts';
import { errnoText } from '../../errors.ts';
import type { Clock } from './clock.ts';

export interface Snapshot {
  /** Text of the network configuration. */
  readonly config: string;
  /** Keys without the prefix, in the order of their making. */
  readonly leases: readonly (readonly [key: string, value: string])[];
  /** ISO 8601, UTC. */
  readonly time: string;
}

export interface SnapshotOptions {
  readonly directory: string;
  readonly prefix: string;
  readonly endpoints: readonly string[];
  readonly clock: Clock;
  /** Between writes, in milliseconds. */
  readonly pause?: number;
}

const schema = v.object({
  version: v.literal(1),
  prefix: v.string(),
  endpoints: v.array(v.string()),
  config: v.string(),
  leases: v.array(v.tuple([v.string(), v.string()])),
  time: v.string(),
});

const usualPause = 3000;

export class SnapshotFile {
  readonly file: string;
  readonly #options: SnapshotOptions;
  /** What is to be written next. */
  #next: (() => Snapshot | undefined) | undefined;
  #writer: Promise<void> | undefined;
  readonly #closed = new AbortController();
  /** Why the last write failed. */
  #failure: string | undefined;

  constructor(options: SnapshotOptions) {
    const name = createHash('sha256').update(options.prefix).digest('hex').slice(0, 12);
    this.file = path.join(options.directory, `etcd-${name}.json`);
    this.#options = options;
  }

  get failure(): string | undefined {
    return this.#failure;
  }

  async read(): Promise<Snapshot | undefined> {
    const { prefix, endpoints } = this.#options;
    try {
      const stored = v.parse(schema, JSON.parse(await readFile(this.file, 'utf8')));
      const common = stored.endpoints.some((endpoint) => endpoints.includes(endpoint));
      return stored.prefix === prefix && common ? stored : undefined;
    } catch {
      return undefined;
    }
  }

  /** Writes it soon; of several only the last. @param make asked just before it is written */
  save(make: () => Snapshot | undefined): void {
    this.#next = make;
    this.#writer ??= this.#write();
  }

  /** Writes what is still to be written. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#writer;
  }

  async #write(): Promise<void> {
    const { clock, pause } = this.#options;
    for (let make = this.#next; make !== undefined; make = this.#next) {
      this.#next = undefined;
      const snapshot = make();
      if (snapshot !== undefined) await this.#replace(snapshot);
      await clock.sleep(pause ?? usualPause, this.#closed.signal);
    }
    this.#writer = undefined;
  }

  async #replace(snapshot: Snapshot): Promise<void> {
    const { directory, prefix, endpoints } = this.#options;
    const temporary = `${this.file}.${process.pid}`;
    try {
      makeDirectory(directory);
      const handle = await open(temporary, 'w', 0o600);
      try {
        await handle.chmod(0o600);
        await handle.writeFile(JSON.stringify({ version: 1, prefix, endpoints, ...snapshot }));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, this.file);
      const parent = await open(directory, 'r');
      try {
        await parent.sync();
      } finally {
        await parent.close();
      }
      this.#failure = undefined;
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      this.#failure =
        `the snapshot ${this.file} cannot be written: ${errnoText(error)}; ` +
        'without it no start is possible while etcd is away';
    }
  }
}
