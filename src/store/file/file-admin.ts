// The operator's side of the `file` store. Leases here have no end, so every one of them is a reservation.

import { JsonSyntaxError, parseJson } from '../../config/json.ts';
import type { JsonObject, JsonValue } from '../../config/json.ts';
import { KerseyError } from '../../errors.ts';
import { cidrEqual, cidrOverlaps } from '../../net/cidr.ts';
import type { Cidr } from '../../net/cidr.ts';
import type { AdminLeases, StoreAdmin } from '../admin.ts';
import { decodeTable, encodeAttrs, formatLeaseKey, isSameHost, parseLeaseKey } from '../lease.ts';
import type { LeaseAttrs, LeaseEntry, LeaseSubnets } from '../lease.ts';
import { withoutOverlaps } from '../overlap.ts';
import { fileChanges } from './changes.ts';
import { documentText, readDocument } from './document.ts';
import type { StoreDocument } from './document.ts';
import { editFile } from './edit.ts';
import { withFileLock } from './lock.ts';
import type { Lock, LockOptions } from './lock.ts';
import { createFile } from './replace.ts';

export interface FileAdminOptions {
  readonly lock: Lock;
  /** How long to wait for the lock, in milliseconds. */
  readonly lockTimeout?: number;
}

export class FileAdmin implements StoreAdmin {
  readonly description: string;
  readonly #path: string;
  readonly #options: FileAdminOptions;
  readonly #closed = new AbortController();

  /** @param path absolute */
  constructor(path: string, options: FileAdminOptions) {
    this.description = `file:${path}`;
    this.#path = path;
    this.#options = options;
  }

  async configText(): Promise<string | undefined> {
    const document = await this.#document();
    return document === undefined ? undefined : textOf(document);
  }

  async setConfig(text: string, expected: string | undefined): Promise<void> {
    const config = parse(text);
    if (expected === undefined && (await this.#create(config))) return;
    await editFile(this.#path, this.#lock(), (document) => {
      if (textOf(document) !== expected) throw changedMeanwhile(this.description);
      refuseDuplicates(document, this.#path);
      return { result: undefined, text: documentText(document, { config }) };
    });
  }

  async leases(): Promise<AdminLeases> {
    return tableOf(await readDocument(this.#path));
  }

  async *watchLeases(signal: AbortSignal): AsyncGenerator<AdminLeases, void, undefined> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    let last: AdminLeases = { entries: [], warnings: [] };
    for await (const _change of fileChanges(this.#path, stop)) {
      try {
        last = await this.leases();
        yield last;
      } catch (error) {
        // A file in the middle of being edited: what was known still counts.
        yield { entries: last.entries, warnings: [KerseyError.from(error).line] };
      }
    }
  }

  async reserve(subnets: LeaseSubnets, attrs: LeaseAttrs): Promise<void> {
    await editFile(this.#path, this.#lock(), (document) => {
      refuseDuplicates(document, this.#path);
      const { entries } = decodeTable(Object.entries(document.leases));
      const held = entries.find((entry) => sameSubnets(entry, subnets) && sameHost(entry, attrs));
      if (held !== undefined) return { result: undefined, text: undefined };
      const clash = entries.find((entry) => overlaps(entry, subnets));
      if (clash !== undefined) throw takenError(clash, subnets, this.description);
      const leases = { ...document.leases, [formatLeaseKey(subnets)]: encodeAttrs(attrs) };
      return { result: undefined, text: documentText(document, { leases }) };
    });
  }

  async release(subnets: LeaseSubnets): Promise<boolean> {
    return editFile(this.#path, this.#lock(), (document) => {
      refuseDuplicates(document, this.#path);
      const kept = Object.entries(document.leases).filter(([key]) => !isKeyOf(key, subnets));
      const found = kept.length < Object.keys(document.leases).length;
      const leases: JsonObject = Object.fromEntries(kept);
      return { result: found, text: found ? documentText(document, { leases }) : undefined };
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
  }

  async #document(): Promise<StoreDocument | undefined> {
    try {
      return await readDocument(this.#path);
    } catch (error) {
      if (error instanceof KerseyError && error.code === 'STORE_MISSING') return undefined;
      throw error;
    }
  }

  /** @returns false when there is a file */
  async #create(config: JsonValue): Promise<boolean> {
    if ((await this.#document()) !== undefined) return false;
    return withFileLock(this.#path, this.#lock(), () =>
      createFile(this.#path, documentText({ root: {} }, { config })),
    );
  }

  #lock(): LockOptions {
    const { lock, lockTimeout = 10_000 } = this.#options;
    return { lock, timeout: lockTimeout, signal: this.#closed.signal };
  }
}

/** The file holds the configuration as a value among others, so its layout is ours. */
function textOf({ config }: StoreDocument): string | undefined {
  return config === undefined ? undefined : JSON.stringify(config, null, 2);
}

function parse(text: string): JsonValue {
  try {
    return parseJson(text).value;
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new KerseyError('CONFIG_INVALID', `the configuration is not JSON: ${error.message}`, {
      remedy: 'correct it',
      cause: error,
    });
  }
}

function tableOf(document: StoreDocument): AdminLeases {
  const { entries, warnings } = decodeTable(Object.entries(document.leases));
  return {
    entries: entries.map((entry) => ({ ...entry, ttl: undefined })),
    warnings: [
      ...document.duplicates.map((key) => `${key} is there twice; only the last one counts`),
      ...warnings,
      ...withoutOverlaps(entries).warnings,
    ],
  };
}

function refuseDuplicates({ duplicates: [duplicate] }: StoreDocument, path: string): void {
  if (duplicate === undefined) return;
  throw new KerseyError('STORE_MALFORMED', `${path}: ${duplicate} is there twice`, {
    remedy: 'remove one of them',
  });
}

function sameSubnets(a: LeaseSubnets, b: LeaseSubnets): boolean {
  return cidrEqual(a.subnet, b.subnet) && cidrEqual(a.subnet6, b.subnet6);
}

function sameHost(entry: LeaseEntry, attrs: LeaseAttrs): boolean {
  return entry.attrs !== undefined && isSameHost(entry.attrs, attrs);
}

function overlaps(a: LeaseSubnets, b: LeaseSubnets): boolean {
  const pairs: readonly (readonly [Cidr | undefined, Cidr | undefined])[] = [
    [a.subnet, b.subnet],
    [a.subnet6, b.subnet6],
  ];
  return pairs.some(([x, y]) => x !== undefined && y !== undefined && cidrOverlaps(x, y));
}

/** Also of an entry whose value cannot be read. */
function isKeyOf(key: string, subnets: LeaseSubnets): boolean {
  try {
    return sameSubnets(parseLeaseKey(key), subnets);
  } catch (error) {
    if (error instanceof KerseyError) return false;
    throw error;
  }
}

function takenError(entry: LeaseEntry, subnets: LeaseSubnets, store: string): KerseyError {
  const holder = entry.attrs?.publicIP ?? entry.attrs?.publicIPv6 ?? 'a host that cannot be read';
  const message = `${store}: ${formatLeaseKey(subnets)} overlaps ${entry.key}, which is leased to ${holder}`;
  return new KerseyError('SUBNET_OVERLAP', message, {
    remedy: 'choose another subnet, or release that one first: kersey leases release',
  });
}

function changedMeanwhile(store: string): KerseyError {
  return new KerseyError('STORE_CONFLICT', `${store}: somebody else changed the configuration meanwhile`, {
    remedy: 'look at it with `kersey config get`, and try again',
  });
}
