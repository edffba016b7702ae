// Changing a store file: read, decide, write, under its lock. Who edits it without our lock, with an editor, is noticed
// before writing, and it starts over.

import { realpath } from 'node:fs/promises';
import { readDocument } from './document.ts';
import type { StoreDocument } from './document.ts';
import { withFileLock } from './lock.ts';
import type { LockOptions } from './lock.ts';
import { replaceFile } from './replace.ts';

export interface Edit<T> {
  readonly result: T;
  /** The new text of the file; undefined when it is to stay as it is. */
  readonly text: string | undefined;
}

/** @param change may be asked more than once; what it throws leaves the file as it was */
export async function editFile<T>(
  path: string,
  lock: LockOptions,
  change: (document: StoreDocument) => Edit<T>,
): Promise<T> {
  // The file itself, not a link to it: it is what gets replaced, and all who use it must lock the same lock.
  const file = await realpath(path).catch(() => path);
  return withFileLock(file, lock, async () => {
    for (;;) {
      lock.signal.throwIfAborted();
      const document = await readDocument(file);
      const { result, text } = change(document);
      if (text === undefined || (await replaceFile(file, text, document.identity))) return result;
    }
  });
}
