// The lock of a store file: flock(2) on `<file>.lock`.
//
// Not on the file itself, because every write puts a new file in its place. The lock belongs to the open file, so the
// kernel takes it back when its holder dies, however it dies; the empty lock file stays, and means nothing by itself.

import { constants } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { KerseyError, errnoText } from '../../errors.ts';

/** What flock(2) offers; `src/native` has it for the product. */
export interface Lock {
  /** Takes the lock of the open file if nobody has it. Closing the file gives it back. */
  tryLock(fd: number): boolean;
}

export interface LockOptions {
  readonly lock: Lock;
  /** How long to wait for it, in milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal;
}

/**
 * Runs the action while holding the lock of the file.
 * @throws KerseyError STORE_LOCKED, naming the holder, when the lock is not to be had in time; STORE_UNWRITABLE
 */
export async function withFileLock<T>(
  file: string,
  options: LockOptions,
  action: () => Promise<T>,
): Promise<T> {
  const handle = await take(file, options);
  try {
    return await action();
  } finally {
    await handle.close();
  }
}

async function take(file: string, { lock, timeout, signal }: LockOptions): Promise<FileHandle> {
  const path = `${file}.lock`;
  const deadline = performance.now() + timeout;
  for (;;) {
    const handle = await openLockFile(path);
    let taken = false;
    try {
      for (;;) {
        signal.throwIfAborted();
        if (attempt(lock, handle, path)) break;
        if (performance.now() >= deadline) throw await lockedError(file, path, handle);
        // Uneven, so that several that wait do not ask in step.
        await delay(5 + Math.random() * 20, undefined, { signal });
      }
      taken = await isStillAt(path, handle);
    } finally {
      if (!taken) await handle.close();
    }
    if (taken) return handle;
  }
}

async function openLockFile(path: string): Promise<FileHandle> {
  try {
    // Nobody else may open it: whoever can, can lock the store.
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw new KerseyError('STORE_UNWRITABLE', `${path} cannot be opened: ${errnoText(error)}`, {
      remedy: 'make its directory writable, or write the lease of this host into the store by hand',
      cause: error,
    });
  }
}

function attempt(lock: Lock, handle: FileHandle, path: string): boolean {
  try {
    return lock.tryLock(handle.fd);
  } catch (error) {
    if (error instanceof KerseyError) throw error;
    throw new KerseyError('STORE_UNWRITABLE', `${path} cannot be locked: ${errnoText(error)}`, {
      remedy: 'keep the store on a file system with locks',
      cause: error,
    });
  }
}

/** Whether the lock file was not removed or replaced meanwhile: then others lock another one. */
async function isStillAt(path: string, handle: FileHandle): Promise<boolean> {
  const ours = await handle.stat();
  try {
    const there = await stat(path);
    return there.ino === ours.ino && there.dev === ours.dev;
  } catch {
    return false;
  }
}

async function lockedError(file: string, path: string, handle: FileHandle): Promise<KerseyError> {
  const holder = (await findHolder(handle)) ?? 'another process (not visible from here)';
  return new KerseyError('STORE_LOCKED', `${file} is locked by ${holder}`, {
    remedy: `let it finish or end it; it holds ${path}`,
  });
}

/** The process that has the lock, as the kernel knows it: `process 1234 (kersey)`. */
async function findHolder(handle: FileHandle): Promise<string | undefined> {
  const { ino } = await handle.stat();
  try {
    // 1: FLOCK  ADVISORY  WRITE 1234 00:2b:5678 0 EOF
    const locks = await readFile('/proc/locks', 'utf8');
    const pid = new RegExp(`^\\d+: FLOCK +\\S+ +\\S+ (\\d+) [\\da-f]+:[\\da-f]+:${ino} `, 'm').exec(
      locks,
    )?.[1];
    if (pid === undefined) return undefined;
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    return name === '' ? `process ${pid}` : `process ${pid} (${name.trim()})`;
  } catch {
    return undefined;
  }
}
