// The private key of this host: made once, kept in a file that flannel would read too.
//
// The file holds 44 characters of base64 without a newline, mode 0400. It comes into being whole or not at all, and of
// two daemons that make it at once the second takes the first one's. The key itself stands in no message.

import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';

import { makeDirectory } from '../../directory.ts';
import { KerseyError, errnoName, errnoText } from '../../errors.ts';

const defaultFile = '/run/flannel/wgkey';
const keyLength = 32;
/** PKCS #8 around a raw X25519 key (RFC 8410): everything before the 32 bytes. */
const pkcs8Head = Buffer.from('302e020100300506032b656e04220420', 'hex');

export interface KeyPair {
  /** Both in base64, as `wg` writes them. */
  readonly privateKey: string;
  readonly publicKey: string;
}

/**
 * Reads the key, or makes one where there is no file.
 * @throws KerseyError CONFIG_INVALID, FILE_UNWRITABLE or PERMISSION, naming the file
 */
export function loadKey(file = process.env['WIREGUARD_KEY_FILE'] ?? defaultFile): KeyPair {
  const text = readKey(file) ?? makeKey(file);
  const bytes = decodeKey(text.trim());
  if (bytes === undefined) {
    throw new KerseyError('CONFIG_INVALID', `${file} does not hold a WireGuard key`, {
      remedy: 'write one with `wg genkey` into it, or remove it: a new one is made and peers are told',
    });
  }
  return keyPair(bytes);
}

/** The 32 bytes of a key in the one form that `wg` takes; undefined for anything else, and for all zeros. */
export function decodeKey(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== keyLength || bytes.toString('base64') !== text) return undefined;
  return bytes.every((byte) => byte === 0) ? undefined : bytes;
}

function keyPair(bytes: Buffer): KeyPair {
  const clamped = clamp(bytes);
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Head, clamped]), format: 'der', type: 'pkcs8' });
  // The public key is the end of its SubjectPublicKeyInfo.
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    privateKey: clamped.toString('base64'),
    publicKey: spki.subarray(-keyLength).toString('base64'),
  };
}

/** RFC 7748, section 5. A device shows its key in this form, whatever form it was given. */
function clamp(bytes: Buffer): Buffer {
  const clamped = Buffer.from(bytes);
  clamped[0] = (clamped[0] ?? 0) & 248;
  clamped[31] = ((clamped[31] ?? 0) & 127) | 64;
  return clamped;
}

function readKey(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return undefined;
    throw failed('read', file, error);
  }
}

/** @returns the content of the file, which another daemon may have been faster to make */
function makeKey(file: string): string {
  const text = clamp(randomBytes(keyLength)).toString('base64');
  const temporary = path.join(
    path.dirname(file),
    `.${path.basename(file)}.${process.pid}-${randomBytes(4).toString('hex')}`,
  );
  try {
    makeDirectory(path.dirname(file));
    const handle = openSync(temporary, 'wx', 0o400);
    try {
      writeSync(handle, text);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    // Unlike rename, this replaces nothing.
    linkSync(temporary, file);
    return text;
  } catch (error) {
    if (errnoName(error) === 'EEXIST') return readFileSync(file, 'latin1');
    throw failed('make', file, error);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function failed(what: 'read' | 'make', file: string, cause: unknown): KerseyError {
  const errno = errnoName(cause);
  const code = errno === 'EACCES' || errno === 'EPERM' ? 'PERMISSION' : 'FILE_UNWRITABLE';
  return new KerseyError(code, `cannot ${what} the WireGuard key ${file}: ${errnoText(cause)}`, {
    remedy: 'name another file by WIREGUARD_KEY_FILE, or check the file system',
    cause,
  });
}
