// Which store a `--store` value means.

import path from 'node:path';
import { KerseyError } from '../errors.ts';
import { native } from '../native/loader.ts';
import { FileStore } from './file/file-store.ts';
import type { FileStoreOptions } from './file/file-store.ts';
import type { Lock } from './file/lock.ts';
import type { SubnetManager } from './subnet-manager.ts';

const remedy = 'write file:PATH, such as file:/etc/kersey/network.json';

/** flock(2) of the native library, which is loaded when a lock is first asked for. */
export const nativeLock: Lock = { tryLock: (fd) => native().tryLock(fd) };

/**
 * @param store `file:PATH`
 * @throws KerseyError USAGE
 */
export function openStore(store: string, options: Partial<FileStoreOptions> = {}): SubnetManager {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(store) ?? [];
  if (scheme === undefined) {
    throw new KerseyError('USAGE', `the store '${store}' does not say which kind it is`, { remedy });
  }
  if (scheme.toLowerCase() !== 'file') {
    throw new KerseyError('USAGE', `'${scheme}:' is not a kind of store; there is only file:`, { remedy });
  }
  if (rest === '' || rest.includes('\0')) {
    throw new KerseyError('USAGE', `the store '${store}' does not name a file`, { remedy });
  }
  return new FileStore(path.resolve(rest), { lock: nativeLock, ...options });
}
