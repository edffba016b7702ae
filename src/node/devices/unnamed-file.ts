// A file without a name: for what a program shall read or write by a descriptor, and nobody else.

import { existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** In memory where there is such a place: what goes through may be a key. */
const memory = '/dev/shm';

/** @returns a descriptor for reading and appending, which the caller closes */
export function openUnnamedFile(): number {
  const directory = mkdtempSync(path.join(existsSync(memory) ? memory : tmpdir(), 'kersey-'));
  try {
    return openSync(path.join(directory, 'file'), 'ax+', 0o600);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
