// Writing a file so that whoever reads it sees the old content or the new, whole, whatever happens in between.
//
// A temporary file in the same directory, written and synced, then renamed over the old one, then the directory
// synced. The new file gets mode and owner of the old one; access lists and other extended attributes are not copied.
// A reader that keeps the old file open keeps the old content.
//
// The caller holds the lock of the file: the temporary file has one fixed name, so what a killed writer left behind is
// taken away by the next one instead of piling up.

import { constants } from 'node:fs';
import { link, open, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { KerseyError, errnoName, errnoText } from '../../errors.ts';
import { fileIdentity } from './document.ts';

/**
 * @param file no symbolic link, or the link would be replaced
 * @param expected the identity of what is to be replaced
 * @returns false, with nothing changed, when another file has taken its place meanwhile
 * @throws KerseyError STORE_UNWRITABLE, with nothing changed
 */
export async function replaceFile(file: string, text: string, expected: string): Promise<boolean> {
  const directory = path.dirname(file);
  const temporary = path.join(directory, `.${path.basename(file)}.kersey-new`);
  try {
    await rm(temporary, { force: true });
    const old = await stat(file, { bigint: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    await use(await open(temporary, flags, 0o600), async (handle) => {
      const fresh = await handle.stat({ bigint: true });
      if (fresh.uid !== old.uid || fresh.gid !== old.gid)
        await handle.chown(Number(old.uid), Number(old.gid));
      await handle.chmod(Number(old.mode) & 0o7777);
      await handle.writeFile(text);
      await handle.sync();
    });
    // An editor does not ask for our lock. What it saved since we read is not to be lost.
    if (fileIdentity(await stat(file, { bigint: true })) !== expected) {
      await rm(temporary, { force: true });
      return false;
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new KerseyError('STORE_UNWRITABLE', `${file} cannot be written: ${errnoText(error)}`, {
      remedy: remedies[errnoName(error) ?? ''] ?? 'check the file system; the old content is untouched',
      cause: error,
    });
  }
  await syncDirectory(directory);
  return true;
}

/**
 * Makes the file, whole or not at all.
 *
 * @returns false, with nothing changed, when there is one
 * @throws KerseyError STORE_UNWRITABLE, with nothing changed
 */
export async function createFile(file: string, text: string): Promise<boolean> {
  const directory = path.dirname(file);
  const temporary = path.join(directory, `.${path.basename(file)}.kersey-new`);
  try {
    await rm(temporary, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    await use(await open(temporary, flags, 0o644), async (handle) => {
      await handle.writeFile(text);
      await handle.sync();
    });
    // Unlike rename, this replaces nothing.
    await link(temporary, file);
  } catch (error) {
    if (errnoName(error) === 'EEXIST') return false;
    throw new KerseyError('STORE_UNWRITABLE', `${file} cannot be made: ${errnoText(error)}`, {
      remedy: remedies[errnoName(error) ?? ''] ?? 'make its directory first, and check the file system',
      cause: error,
    });
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
  await syncDirectory(directory);
  return true;
}

/**
 * Makes the rename last through a loss of power. The write has happened by now; where directories cannot be synced or
 * read, such a loss may bring the old content back, whole.
 */
async function syncDirectory(directory: string): Promise<void> {
  try {
    await use(await open(directory, constants.O_RDONLY | constants.O_DIRECTORY), (handle) => handle.sync());
  } catch {
    return;
  }
}

const remedies: Readonly<Record<string, string>> = {
  ENOSPC: 'free some space on its file system; the old content is untouched',
  EDQUOT: 'free some space of the quota; the old content is untouched',
  EROFS: 'its file system is read-only: remount it, or write the lease of this host into the store by hand',
  EACCES: 'make its directory writable for this user',
  EPERM: 'run as root, or as the owner of the file',
  EBUSY: 'the file itself is a mount point: mount its directory instead',
};

async function use(handle: FileHandle, action: (handle: FileHandle) => Promise<void>): Promise<void> {
  try {
    await action(handle);
  } finally {
    await handle.close();
  }
}
