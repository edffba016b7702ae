// The store file as it is read: `{"config": {...}, "leases": {"10.5.1.0-24": {...}}}`.
//
// Read as bytes that must be UTF-8 and JSON to the last one. A file that is not is never guessed at and never
// overwritten. Members that are not ours are kept for whoever wrote them.
//
// Not kept when we write: the layout, and digits of numbers beyond what a double holds.

import { constants } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { JsonSyntaxError, isJsonObject, keyPath, parseJson } from '../../config/json.ts';
import type { JsonObject, JsonText, JsonValue } from '../../config/json.ts';
import { KerseyError, errnoName, errnoText } from '../../errors.ts';

export interface StoreDocument {
  readonly root: JsonObject;
  /** undefined when the file has none. */
  readonly config: JsonValue | undefined;
  readonly leases: JsonObject;
  /** Top-level keys and lease keys that the file has twice. Writing would lose all but the last of each. */
  readonly duplicates: readonly string[];
  /** Which state of the file this was, to notice that it has changed. */
  readonly identity: string;
}

/** 65,536 leases take some 16 MiB. */
const maxBytes = 64 * 1024 * 1024;

const minimal = '{"config": {"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}}';

/** @throws KerseyError STORE_MISSING, STORE_UNREADABLE or STORE_MALFORMED */
export async function readDocument(path: string): Promise<StoreDocument> {
  const { bytes, identity } = await readBytes(path);
  const { value, duplicates } = parse(path, decode(path, bytes));
  if (!isJsonObject(value)) {
    throw malformed(path, 'it is not a JSON object', `write one such as ${minimal}`);
  }
  const leases = value['leases'] ?? {};
  if (!isJsonObject(leases)) {
    throw malformed(path, 'leases is not an object', 'write {"10.5.1.0-24": {...}}, or leave it out');
  }
  return {
    root: value,
    config: value['config'],
    leases,
    duplicates: duplicates
      .filter((keys) => keys.length === 1 || (keys.length === 2 && keys[0] === 'leases'))
      .map((keys) => keyPath(...keys)),
    identity,
  };
}

/** The text of the document with other leases, or another configuration. */
export function documentText(
  document: Pick<StoreDocument, 'root'>,
  change: { readonly leases: JsonObject } | { readonly config: JsonValue },
): string {
  return `${JSON.stringify({ ...document.root, ...change }, null, 2)}\n`;
}

/** Tells one state of a file from another without reading it. */
export function fileIdentity(stats: BigIntStats): string {
  return [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':');
}

async function readBytes(path: string): Promise<{ bytes: Buffer; identity: string }> {
  let handle: FileHandle | undefined;
  try {
    // Non-blocking, or opening a named pipe would wait for somebody to write to it.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile()) throw unreadable(path, 'it is not a regular file', 'name a file');
    if (stats.size > maxBytes) {
      throw unreadable(path, `it has more than ${maxBytes} bytes`, 'check that it is the right file');
    }
    return { bytes: await handle.readFile(), identity: fileIdentity(stats) };
  } catch (error) {
    if (error instanceof KerseyError) throw error;
    if (errnoName(error) === 'ENOENT') {
      throw new KerseyError('STORE_MISSING', `${path} does not exist`, {
        remedy: `create it, with at least ${minimal}`,
        cause: error,
      });
    }
    throw unreadable(path, errnoText(error), 'run as a user who may read it, or name another file', error);
  } finally {
    await handle?.close();
  }
}

function decode(path: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw malformed(path, 'it is not UTF-8 text', 'save it as UTF-8', error);
  }
}

function parse(path: string, text: string): JsonText {
  try {
    return parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new KerseyError('STORE_MALFORMED', `${path}:${error.line}:${error.column}: ${error.message}`, {
      remedy: 'correct it or restore a copy; it was not changed',
      cause: error,
    });
  }
}

function malformed(path: string, problem: string, remedy: string, cause?: unknown): KerseyError {
  return new KerseyError('STORE_MALFORMED', `${path}: ${problem}`, { remedy, cause });
}

function unreadable(path: string, problem: string, remedy: string, cause?: unknown): KerseyError {
  return new KerseyError('STORE_UNREADABLE', `${path} cannot be read: ${problem}`, { remedy, cause });
}
